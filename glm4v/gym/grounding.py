"""Domain `grounding`: give a thing's box in 0..1000. Tiers shrink the thing and add others, grain and a photograph."""

from dataclasses import dataclass

import numpy as np

from glm4v.gym.choice import pick, picks
from glm4v.gym.draw import finish, paper
from glm4v.gym.problem import Problem
from glm4v.gym.scene import Thing, paint, place, random_names, scatter

VERIFIER = "grounding"
QUESTIONS = ("Where is the {name}?", "Find the {name}.", "Give the box of the {name}.")
SIDE = 112


@dataclass(frozen=True)
class Tier:
    """grid: cells a side; things: fewest and most; fill: share of its cell that a thing takes."""

    grid: int
    things: tuple[int, int]
    fill: tuple[float, float]
    noise: float
    photo: float = 0.0


TIERS = {
    1: Tier(grid=1, things=(1, 1), fill=(0.5, 0.8), noise=4),
    2: Tier(grid=2, things=(1, 2), fill=(0.6, 0.9), noise=8),
    3: Tier(grid=2, things=(2, 4), fill=(0.6, 0.9), noise=16),
    4: Tier(grid=3, things=(3, 5), fill=(0.6, 0.95), noise=25, photo=0.3),
    5: Tier(grid=3, things=(6, 8), fill=(0.5, 0.9), noise=40, photo=0.6),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A scene and the box of one thing; the worked example says roughly where it is before it gives numbers."""
    spec = TIERS[tier]
    cells = scatter(rng, int(rng.integers(spec.things[0], spec.things[1] + 1)), spec.grid, spec.grid, spec.fill)
    names = random_names(rng, len(cells))
    things = [Thing(*name, box, row, column) for name, (row, column, box) in zip(names, cells, strict=True)]
    sheet = paper(rng, pool, SIDE, SIDE, spec.photo)
    paint(rng, sheet, things)
    target = pick(rng, things)
    told = picks(rng, things, min(2, len(things)))
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=pick(rng, QUESTIONS).format(name=target.name),
        truth={"boxes": [list(target.box)]},
        answer=_written(target),
        thought=f"{target.name} {place(target.box)}",
        caption="; ".join(f"{thing.name} {place(thing.box)} {_written(thing)}" for thing in told) + ".",
    )


def _written(thing: Thing) -> str:
    return "[" + ",".join(map(str, thing.box)) + "]"
