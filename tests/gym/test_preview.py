"""The contact sheet: one picture for each domain and tier, readable as PNG, the same for the same seed."""

from pathlib import Path

import numpy as np
from PIL import Image

from glm4v.gym import preview
from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.preview import WIDTH


def test_every_tier_of_every_domain_is_shown(tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(preview(tmp_path / "sheets" / "gym.png", seed=1)))
    assert sheet.shape[1:] == (WIDTH * len(TIERS), 3)
    assert sheet.shape[0] > 120 * len(DOMAINS)
    cells = sheet.reshape(sheet.shape[0], len(TIERS), WIDTH, 3)
    colourful = cells.max(axis=3) - cells.min(axis=3) > 60  # [H, tiers, WIDTH]: coloured pixels, no text
    assert (colourful.sum(axis=(0, 2)) > 5000).all()


def test_sheets_repeat_with_their_seed(tmp_path: Path) -> None:
    first, second = (preview(tmp_path / name, seed=2, pool="heldout").read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert preview(tmp_path / "c.png", seed=3, pool="heldout").read_bytes() != first
