"""Pretraining: from random weights or a folder, all text of packed captions, questions and answers is learned."""

from pathlib import Path

from glm4v.train.loop import train
from glm4v.train.recipe import PretrainRecipe


def run(recipe: PretrainRecipe) -> Path:
    """Pretrain; returns the run folder, whose model/ holds the result. Raises as `glm4v.train.loop.train`."""
    return train(recipe, "all")
