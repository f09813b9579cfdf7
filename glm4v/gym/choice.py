"""Random choices that return the options themselves, not NumPy scalars."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def picks(rng: np.random.Generator, options: Sequence[T], count: int, replace: bool = False) -> list[T]:
    """`count` of the options, all different unless `replace`."""
    return [options[i] for i in rng.choice(len(options), size=count, replace=replace).tolist()]
