"""Supervised fine-tuning: the assistant's turns are learned, and with them the format of thinking and answering."""

from pathlib import Path

from glm4v.train.loop import train
from glm4v.train.recipe import SftRecipe


def run(recipe: SftRecipe) -> Path:
    """Fine-tune; returns the run folder, whose model/ holds the result. Raises as `glm4v.train.loop.train`."""
    return train(recipe, "assistant")
