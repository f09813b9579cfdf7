"""Pools share no source: handwritten digits, photographs, printed strings."""

from itertools import combinations

import numpy as np
import pytest

from glm4v.gym.draw import PHOTOGRAPHS, photograph
from glm4v.gym.handwriting import Style, strip
from glm4v.gym.printing import pool_of, word
from glm4v.gym.problem import POOLS


def test_photographs_belong_to_one_pool() -> None:
    assert set(PHOTOGRAPHS) == set(POOLS)
    for first, second in combinations(POOLS, 2):
        assert not set(PHOTOGRAPHS[first]) & set(PHOTOGRAPHS[second])


def test_handwritten_digits_belong_to_one_pool() -> None:
    """Strips of one digit in black on white, exactly as scanned, so that equal scans give equal strips."""
    plain = Style(size=(28, 28), noise=0.0)
    seen = {pool: set() for pool in POOLS}
    for pool in POOLS:
        rng = np.random.default_rng(0)
        for _ in range(600):
            pixels, _ = strip(rng, pool, 2, plain)
            grey = pixels[:, :28].mean(axis=2)
            contrast = (grey - grey.min()) / (grey.max() - grey.min())
            seen[pool].add((contrast > 0.5).tobytes())
    assert all(len(shapes) > 50 for shapes in seen.values())
    shared = len(seen["train"] & seen["heldout"]) / len(seen["heldout"])
    assert shared < 0.02, "held-out strips repeat training scans"


@pytest.mark.parametrize("pool", POOLS)
def test_words_stay_in_their_pool(pool: str) -> None:
    rng = np.random.default_rng(1)
    assert all(pool_of(word(rng, pool, length)) == pool for length in (2, 3, 7) for _ in range(50))


def test_photograph_has_the_asked_size_and_detail() -> None:
    for pool in POOLS:
        crop = np.asarray(photograph(np.random.default_rng(2), pool, 84, 112))
        assert crop.shape == (84, 112, 3)
        assert crop.std() > 3
