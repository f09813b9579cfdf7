"""Scenes of coloured shapes on a grid with play: what counting, attributes, grounding and gui are drawn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from glm4v.gym.choice import picks
from glm4v.gym.draw import COLOURS, PLACES, SHAPES, draw_shape, shade, to_pixels
from glm4v.gym.problem import Box

STEP = 25
"""Boxes lie on multiples of STEP, so that a worked example can state them exactly with few different numbers."""


@dataclass(frozen=True)
class Thing:
    """A coloured shape and where it lies."""

    colour: str
    shape: str
    box: Box
    row: int
    column: int

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


def scatter(
    rng: np.random.Generator, count: int, rows: int, columns: int, fill: tuple[float, float]
) -> list[tuple[int, int, Box]]:
    """`count` (row, column, box) in different cells of a grid, in reading order.

    A box takes a share drawn from `fill` of its cell's sides and lies anywhere inside it, on multiples of STEP.
    """
    placed = []
    for cell in sorted(rng.choice(rows * columns, size=count, replace=False).tolist()):
        row, column = divmod(cell, columns)
        share = rng.uniform(*fill)
        left, right = _span(rng, column, columns, share)
        top, bottom = _span(rng, row, rows, share)
        placed.append((row, column, (left, top, right, bottom)))
    return placed


def _span(rng: np.random.Generator, index: int, cells: int, share: float) -> tuple[int, int]:
    """Start and end of a box along one axis inside cell `index` of `cells`."""
    first, last = math.ceil(1000 * index / cells / STEP), 1000 * (index + 1) // (cells * STEP)
    length = max(1, min(last - first, round(share * 1000 / (cells * STEP))))
    start = int(rng.integers(first, last - length + 1))
    return start * STEP, (start + length) * STEP


def place(box: Box) -> str:
    """Where the middle of the box lies, in words: one of nine places."""
    column, row = (min(2, 3 * (box[i] + box[i + 2]) // 2000) for i in (0, 1))
    return PLACES[row][column]


def random_names(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """`count` different (colour, shape)."""
    return picks(rng, [(colour, shape) for colour in COLOURS for shape in SHAPES], count)


def paint(rng: np.random.Generator, sheet: Image.Image, things: Sequence[Thing]) -> None:
    """Draws the things onto the sheet."""
    for thing in things:
        draw_shape(sheet, thing.shape, to_pixels(thing.box, sheet), shade(rng, thing.colour))


def caption(things: Sequence[Thing]) -> str:
    """A dense description: every thing with its place, in reading order."""
    return ", ".join(f"{thing.name} {place(thing.box)}" for thing in things) + "."
