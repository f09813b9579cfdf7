"""Domain `attributes`: colours, shapes and neighbours. Tiers add things, then ask what lies next to what."""

from dataclasses import dataclass

import numpy as np

from glm4v.gym.choice import pick
from glm4v.gym.draw import finish, paper
from glm4v.gym.problem import Problem
from glm4v.gym.scene import Thing, caption, paint, place, random_names, scatter

VERIFIER = "vqa"


@dataclass(frozen=True)
class Tier:
    """side: of the picture, pixels; grid: cells a side; things: fewest and most;
    fill: share of its cell that a thing takes.
    """

    side: int
    grid: int
    things: tuple[int, int]
    fill: tuple[float, float]
    noise: float
    photo: float = 0.0


TIERS = {
    1: Tier(side=84, grid=1, things=(1, 1), fill=(0.5, 0.8), noise=4),
    2: Tier(side=84, grid=2, things=(2, 3), fill=(0.6, 0.9), noise=8),
    3: Tier(side=84, grid=3, things=(3, 5), fill=(0.7, 0.95), noise=16),
    4: Tier(side=112, grid=3, things=(4, 5), fill=(0.7, 0.95), noise=20),
    5: Tier(side=112, grid=3, things=(6, 8), fill=(0.6, 0.9), noise=35, photo=0.5),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A scene and a question about one thing; the worked example first says where that thing is."""
    spec = TIERS[tier]
    cells = scatter(rng, int(rng.integers(spec.things[0], spec.things[1] + 1)), spec.grid, spec.grid, spec.fill)
    names = random_names(rng, len(cells))
    things = [Thing(*name, box, row, column) for name, (row, column, box) in zip(names, cells, strict=True)]
    sheet = paper(rng, pool, spec.side, spec.side, spec.photo)
    paint(rng, sheet, things)
    question, thought, answer = _neighbour(rng, things) if tier >= 4 else _single(rng, things)
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=question,
        truth=answer,
        answer=answer,
        thought=thought,
        caption=caption(things),
    )


def _single(rng: np.random.Generator, things: list[Thing]) -> tuple[str, str, str]:
    """Question, thought and answer about the colour of a shape or the shape of a colour that occurs once."""
    options = []
    for thing in things:
        where = place(thing.box)
        if sum(other.shape == thing.shape for other in things) == 1:
            options.append((f"What colour is the {thing.shape}?", f"the {thing.shape} is {where}", thing.colour))
        if sum(other.colour == thing.colour for other in things) == 1:
            options.append((f"What shape is {thing.colour}?", f"{thing.colour} is {where}", thing.shape))
    if options:
        return pick(rng, options)
    thing = pick(rng, things)
    return f"What is {place(thing.box)}?", thing.name, thing.name


def _neighbour(rng: np.random.Generator, things: list[Thing]) -> tuple[str, str, str]:
    """Question, thought and answer about the next thing in a row or column: four things on 3 x 3 cells have one."""
    pairs = []
    for first in things:
        later = [other for other in things if other.row == first.row and other.column > first.column]
        if later:
            pairs += [("right of", first, later[0]), ("left of", later[0], first)]
        lower = [other for other in things if other.column == first.column and other.row > first.row]
        if lower:
            pairs += [("below", first, lower[0]), ("above", lower[0], first)]
    relation, known, asked = pick(rng, pairs)
    question = f"What is next {relation} the {known.name}?"
    return question, f"{known.name} {place(known.box)}, {asked.name} {place(asked.box)}", asked.name
