"""Drawing that several domains share: paper and photographs to draw on, coloured shapes, grain.

Pictures are drawn at twice their size and halved at the end, which smooths every edge.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from glm4v.gym.problem import Box

COLOURS = {
    "red": (214, 40, 40),
    "green": (30, 150, 60),
    "blue": (40, 80, 215),
    "yellow": (245, 205, 30),
    "purple": (140, 50, 170),
    "orange": (245, 130, 20),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
PLACES = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)
PHOTOGRAPHS = {  # only what the two packages' wheels hold: nothing is ever downloaded
    "train": ("astronaut", "coffee", "rocket", "immunohistochemistry", "brick", "grass", "camera"),
    "validation": ("flower.jpg", "coins"),
    "heldout": ("chelsea", "china.jpg", "retina", "gravel", "moon"),
}
SCALE = 2

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of a sheet."""


@lru_cache
def _photographs(pool: str) -> tuple[Image.Image, ...]:
    """The pool's photographs as RGB, the short side 256 pixels."""
    import skimage.data  # here, not above: only drawing needs the extra packages
    from sklearn.datasets import load_sample_image

    photographs = []
    for name in PHOTOGRAPHS[pool]:
        pixels = load_sample_image(name) if name.endswith(".jpg") else getattr(skimage.data, name)()
        image = Image.fromarray(pixels).convert("RGB")
        ratio = 256 / min(image.size)
        photographs.append(image.resize((round(image.width * ratio), round(image.height * ratio))))
    return tuple(photographs)


def photograph(rng: np.random.Generator, pool: str, height: int, width: int) -> Image.Image:
    """A random crop of one of the pool's photographs, RGB of [height, width], sometimes mirrored."""
    photographs = _photographs(pool)
    image = photographs[rng.integers(len(photographs))]
    share = rng.uniform(0.4, 1.0) * min(image.width / width, image.height / height)
    left = rng.uniform(0, image.width - share * width)
    top = rng.uniform(0, image.height - share * height)
    crop = image.resize(
        (width, height), Image.Resampling.BILINEAR, (left, top, left + share * width, top + share * height)
    )
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def paper(rng: np.random.Generator, pool: str, height: int, width: int, photo: float = 0.0) -> Image.Image:
    """A light sheet of SCALE * [height, width] pixels; `photo` in 0..1 is how strongly a photograph shines through."""
    tint = tuple(int(value) for value in rng.integers(215, 256, size=3))
    sheet = Image.new("RGB", (SCALE * width, SCALE * height), tint)
    if photo == 0:
        return sheet
    return Image.blend(sheet, photograph(rng, pool, SCALE * height, SCALE * width), photo)


def finish(rng: np.random.Generator, sheet: Image.Image, noise: float) -> np.ndarray:
    """Halves a drawn sheet and adds grain of standard deviation `noise` grey levels: uint8 [H, W, 3]."""
    pixels = np.asarray(sheet.reduce(SCALE))
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    return np.clip(pixels + grain + 0.5, 0, 255).astype(np.uint8)


def shade(rng: np.random.Generator, colour: str, spread: int = 15) -> tuple[int, int, int]:
    """The named colour, each channel moved by at most `spread`: no two objects are painted alike."""
    moved = np.clip(np.array(COLOURS[colour]) + rng.integers(-spread, spread + 1, size=3), 0, 255)
    return int(moved[0]), int(moved[1]), int(moved[2])


def to_pixels(box: Box, sheet: Image.Image) -> Corners:
    """A box in 0..1000 as pixels of the sheet."""
    across, down = sheet.width / 1000, sheet.height / 1000
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def draw_shape(sheet: Image.Image, shape: str, corners: Corners, paint: tuple[int, int, int]) -> None:
    """Fills `shape` so that it touches all four sides of the rectangle `corners`."""
    draw = ImageDraw.Draw(sheet)
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    if shape == "circle":
        draw.ellipse((left, top, right - 1, bottom - 1), fill=paint)
    elif shape == "ring":
        draw.ellipse((left, top, right - 1, bottom - 1), outline=paint, width=round(0.22 * min(width, height)))
    elif shape == "square":
        draw.rectangle((left, top, right - 1, bottom - 1), fill=paint)
    else:
        draw.polygon([(left + x * width, top + y * height) for x, y in _OUTLINES[shape]], fill=paint)


def _star() -> tuple[tuple[float, float], ...]:
    """A five-pointed star stretched to the unit square."""
    radii = [1.0, 0.42] * 5
    corners = [(r * math.sin(k * math.pi / 5), -r * math.cos(k * math.pi / 5)) for k, r in enumerate(radii)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return tuple(((x - min(xs)) / (max(xs) - min(xs)), (y - min(ys)) / (max(ys) - min(ys))) for x, y in corners)


_OUTLINES = {
    "triangle": ((0.5, 0.0), (1.0, 1.0), (0.0, 1.0)),
    "star": _star(),
    "cross": tuple(
        (x / 3, y / 3)
        for x, y in ((1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1))
    ),
}
