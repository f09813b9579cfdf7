"""One engine for users, evaluation and rollouts: continuous batching over a paged key/value cache."""

from glm4v.generation.generate import generate
from glm4v.generation.settings import Completion

__all__ = ["Completion", "generate"]
