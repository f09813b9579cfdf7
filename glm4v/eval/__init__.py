"""A file of problems in, rewards by domain and tier out."""

from glm4v.eval.evaluate import Evaluation, evaluate, image_paths
from glm4v.eval.score import Score, opens_thinking, score
from glm4v.eval.summary import summarise
from glm4v.eval.table import table

__all__ = ["Evaluation", "Score", "evaluate", "image_paths", "opens_thinking", "score", "summarise", "table"]
