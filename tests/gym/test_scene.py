"""Scenes: boxes inside their cells on the coordinate step, names of places, shapes that fill their box."""

import numpy as np
import pytest
from PIL import Image

from glm4v.gym.draw import SHAPES, draw_shape
from glm4v.gym.scene import STEP, place, scatter


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 3), (4, 4), (4, 2)])
def test_boxes_lie_in_different_cells_on_the_step(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        placed = scatter(rng, rows * columns, rows, columns, (0.5, 1.0))
        assert [(row, column) for row, column, _ in placed] == [(r, c) for r in range(rows) for c in range(columns)]
        for row, column, (left, top, right, bottom) in placed:
            assert all(edge % STEP == 0 for edge in (left, top, right, bottom))
            assert column * 1000 / columns <= left < right <= (column + 1) * 1000 / columns
            assert row * 1000 / rows <= top < bottom <= (row + 1) * 1000 / rows


def test_places_are_named_by_the_middle() -> None:
    assert place((0, 0, 100, 100)) == "top left"
    assert place((450, 450, 550, 550)) == "centre"
    assert place((900, 400, 1000, 500)) == "right"
    assert place((400, 950, 500, 1000)) == "bottom"


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_touch_the_sides_of_their_box(shape: str) -> None:
    sheet = Image.new("RGB", (200, 200), (255, 255, 255))
    draw_shape(sheet, shape, (40, 60, 140, 160), (0, 0, 0))
    drawn = np.asarray(sheet.convert("L")) < 128
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert all(abs(edge - wanted) <= 2 for edge, wanted in zip(edges, (40, 60, 140, 160), strict=True))
