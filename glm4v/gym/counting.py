"""Domain `counting`: how many things of a kind? Tiers add things, other kinds, grain and a photograph behind."""

from dataclasses import dataclass

import numpy as np

from glm4v.gym.choice import pick, picks
from glm4v.gym.draw import COLOURS, SHAPES, finish, paper
from glm4v.gym.problem import Problem
from glm4v.gym.scene import Thing, paint, scatter

VERIFIER = "counting"
QUESTIONS = ("How many {kinds}?", "Count the {kinds}.", "How many {kinds} are there?")


@dataclass(frozen=True)
class Tier:
    """side: of the picture, pixels; grid: cells a side; things: fewest and most; shapes, colours: different ones."""

    side: int
    grid: int
    things: tuple[int, int]
    shapes: int
    colours: int
    noise: float
    photo: float = 0.0


TIERS = {
    1: Tier(side=84, grid=3, things=(1, 3), shapes=1, colours=1, noise=4),
    2: Tier(side=84, grid=3, things=(2, 5), shapes=1, colours=3, noise=8),
    3: Tier(side=84, grid=3, things=(4, 7), shapes=2, colours=3, noise=16),
    4: Tier(side=112, grid=3, things=(5, 9), shapes=3, colours=4, noise=25, photo=0.35),
    5: Tier(side=112, grid=4, things=(9, 14), shapes=3, colours=6, noise=40, photo=0.55),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A scene and the number of one of its shapes; the worked example counts row by row."""
    spec = TIERS[tier]
    shapes = picks(rng, SHAPES, spec.shapes)
    colours = picks(rng, tuple(COLOURS), spec.colours)
    cells = scatter(rng, int(rng.integers(spec.things[0], spec.things[1] + 1)), spec.grid, spec.grid, (0.6, 0.9))
    kinds = picks(rng, shapes, len(cells), replace=True)
    things = [
        Thing(pick(rng, colours), kind, box, row, column) for kind, (row, column, box) in zip(kinds, cells, strict=True)
    ]
    sheet = paper(rng, pool, spec.side, spec.side, spec.photo)
    paint(rng, sheet, things)

    kind = kinds[0]
    rows = [sum(thing.shape == kind and thing.row == row for thing in things) for row in range(spec.grid)]
    total = str(sum(rows))
    listing = [", ".join(thing.name for thing in things if thing.row == row) or "nothing" for row in range(spec.grid)]
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=pick(rng, QUESTIONS).format(kinds=kind + ("es" if kind == "cross" else "s")),
        truth=total,
        answer=total,
        thought=f"rows {'+'.join(map(str, rows))}={total}",
        caption=f"Row by row: {'; '.join(listing)}.",
    )
