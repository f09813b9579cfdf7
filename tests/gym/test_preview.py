"""The contact sheet: one picture for each domain and tier, readable as PNG."""

from pathlib import Path

import numpy as np
from PIL import Image

from glm4v.gym import preview
from glm4v.gym.domains import DOMAINS
from glm4v.gym.preview import CELL_HEIGHT, CELL_WIDTH


def test_every_cell_shows_something(tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(preview(tmp_path / "sheets" / "gym.png", seed=1)))
    assert sheet.shape == (CELL_HEIGHT * len(DOMAINS), CELL_WIDTH * 5, 3)
    cells = sheet.reshape(len(DOMAINS), CELL_HEIGHT, 5, CELL_WIDTH, 3)
    assert (cells.std(axis=(1, 3, 4)) > 5).all()


def test_sheets_repeat_with_their_seed(tmp_path: Path) -> None:
    first, second = (preview(tmp_path / name, seed=2, pool="heldout").read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert preview(tmp_path / "c.png", seed=3, pool="heldout").read_bytes() != first
