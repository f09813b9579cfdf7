"""Strips of handwritten digits (scikit-learn's scans of 8x8 pixels): what digits and sums are read from."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from glm4v.gym.draw import photograph

CELL = 28
"""Pixels a digit takes at the closest spacing that keeps digits apart: one merged vision token."""


@dataclass(frozen=True)
class Style:
    """How hard a strip is to read.

    height: of the strip, pixels; size: smallest and largest digit, pixels; tilt: largest shear and turn;
    noise: grain in grey levels; photo: 0..1, how strongly a photograph shines through; inverted: light ink may occur.
    """

    height: int = CELL
    size: tuple[int, int] = (24, 26)
    tilt: float = 0.0
    noise: float = 4.0
    photo: float = 0.0
    inverted: bool = False


@lru_cache
def _scans(pool: str) -> tuple[np.ndarray, np.ndarray]:
    """The pool's digits, uint8 [n, 8, 8] with ink 255, and labels. Two in ten are held out, one in ten validates."""
    from sklearn.datasets import load_digits  # here, not above: only drawing needs the extra packages

    scans = load_digits()
    turn = np.arange(len(scans.target)) % 10
    mine = {"heldout": turn < 2, "validation": turn == 2, "train": turn > 2}[pool]
    return np.minimum(255, scans.images[mine] * 16).astype(np.uint8), scans.target[mine]


def strip(rng: np.random.Generator, pool: str, count: int, style: Style) -> tuple[np.ndarray, list[int]]:
    """Writes `count` digits of the pool side by side: uint8 [style.height, 28 n, 3] with n >= 2, and the digits."""
    images, labels = _scans(pool)
    chosen = rng.integers(len(labels), size=count)
    height, width = style.height, CELL * max(2, count)
    ink = np.zeros((height, width), np.float32)  # [H, W], 0 paper .. 1 ink
    start = int(rng.integers(0, width - count * CELL + 1))
    for place, index in enumerate(chosen):
        side = int(rng.integers(style.size[0], style.size[1] + 1))
        left = start + place * CELL + int(rng.integers(0, CELL - side + 1))
        top = int(rng.integers(0, height - side + 1))
        glyph = _glyph(rng, images[index], side, style.tilt)
        ink[top : top + side, left : left + side] = np.maximum(ink[top : top + side, left : left + side], glyph)
    return _print(rng, pool, ink, style), labels[chosen].tolist()


def _glyph(rng: np.random.Generator, scan: np.ndarray, side: int, tilt: float) -> np.ndarray:
    """One digit enlarged to [side, side], sheared and turned by up to `tilt`; float32 in 0..1."""
    a, b = rng.uniform(-tilt, tilt, size=2) if tilt else (0.0, 0.0)
    step = 8 / side
    matrix = (step, a * step, -a * 4, b * step, step, -b * 4)  # about the middle of the scan
    image = Image.fromarray(scan).transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 255


def _print(rng: np.random.Generator, pool: str, ink: np.ndarray, style: Style) -> np.ndarray:
    """Puts ink [H, W] in a dark colour on light paper, or the other way round, with photograph and grain."""
    height, width = ink.shape
    light = rng.uniform(215, 255, size=3).astype(np.float32)
    dark = rng.uniform(0, 80, size=3).astype(np.float32)
    pen, sheet = (light, dark) if style.inverted and rng.random() < 0.5 else (dark, light)
    ground = np.broadcast_to(sheet, (height, width, 3))
    if style.photo:
        ground = ground * (1 - style.photo) + np.asarray(photograph(rng, pool, height, width), np.float32) * style.photo
    pixels = ground + (pen - ground) * ink[..., None]
    pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(style.noise)
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
