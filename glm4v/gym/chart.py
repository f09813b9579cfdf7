"""Domain `chart`: read bar and line charts. Tiers add bars, ask for sums and differences, then draw lines and grain."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from glm4v.gym.choice import pick, picks
from glm4v.gym.draw import COLOURS, SCALE, finish, paper, shade
from glm4v.gym.printing import font
from glm4v.gym.problem import Problem

VERIFIER = "chart"


@dataclass(frozen=True)
class Tier:
    """side: of the picture, pixels; bars: fewest and most; top: end of the scale; asks: kinds of question."""

    side: int
    bars: tuple[int, int]
    top: int
    asks: tuple[str, ...]
    noise: float
    lines: bool = False
    photo: float = 0.0


TIERS = {
    1: Tier(side=84, bars=(2, 2), top=5, asks=("tallest", "lowest"), noise=4),
    2: Tier(side=84, bars=(2, 3), top=5, asks=("value", "tallest"), noise=8),
    3: Tier(side=112, bars=(3, 4), top=8, asks=("value", "maximum"), noise=12),
    4: Tier(side=112, bars=(3, 4), top=10, asks=("sum", "difference"), noise=20),
    5: Tier(side=112, bars=(4, 5), top=10, asks=("value", "total", "difference"), noise=30, lines=True, photo=0.3),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A chart of differently coloured values; the worked example reads all values from left to right first."""
    spec = TIERS[tier]
    count = int(rng.integers(spec.bars[0], spec.bars[1] + 1))
    names = picks(rng, tuple(COLOURS), count)
    values = [int(value) for value in rng.choice(np.arange(1, spec.top + 1), size=count, replace=False)]
    sheet = paper(rng, pool, spec.side, spec.side, spec.photo)
    _draw(rng, sheet, names, values, spec)
    readings = ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
    question, answer = _ask(rng, pick(rng, spec.asks), names, values, "point" if spec.lines else "bar")
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=question,
        truth=answer,
        answer=answer,
        thought=readings,
        caption=f"A chart: {readings}; tallest {names[int(np.argmax(values))]}.",
    )


def _ask(rng: np.random.Generator, kind: str, names: list[str], values: list[int], mark: str) -> tuple[str, str]:
    """The question of this kind and its answer."""
    first, second = (int(i) for i in rng.choice(len(names), size=2, replace=False))
    pair = f"the {names[first]} and the {names[second]} {mark}"
    if kind == "tallest":
        return f"Which {mark} is the tallest?", names[int(np.argmax(values))]
    if kind == "lowest":
        return f"Which {mark} is the lowest?", names[int(np.argmin(values))]
    if kind == "value":
        return f"What is the value of the {names[first]} {mark}?", str(values[first])
    if kind == "maximum":
        return "What is the largest value?", str(max(values))
    if kind == "sum":
        return f"What is the sum of {pair}?", str(values[first] + values[second])
    if kind == "difference":
        return f"What is the difference of {pair}?", str(abs(values[first] - values[second]))
    return "What is the sum of all values?", str(sum(values))


def _draw(rng: np.random.Generator, sheet: Image.Image, names: list[str], values: list[int], spec: Tier) -> None:
    """Axes with a labelled line for each second unit, then bars, or points joined by a line."""
    draw = ImageDraw.Draw(sheet)
    left, right, top, bottom = 14 * SCALE, sheet.width - 3 * SCALE, 5 * SCALE, sheet.height - 5 * SCALE
    unit = (bottom - top) / spec.top
    ink, faint = (40, 40, 40), (170, 170, 170)
    for value in range(0, spec.top + 1):
        y = bottom - value * unit
        draw.line((left, y, right, y), fill=faint, width=1)
        if value % 2 == 0:
            draw.text((left - 2 * SCALE, y), str(value), fill=ink, font=font("DejaVuSans.ttf", 8 * SCALE), anchor="rm")
    pitch = (right - left) / len(values)
    middles = [left + (i + 0.5) * pitch for i in range(len(values))]
    heights = [bottom - value * unit for value in values]
    if spec.lines:
        draw.line(list(zip(middles, heights, strict=True)), fill=ink, width=SCALE)
    half = 5 * SCALE if spec.lines else pitch * rng.uniform(0.28, 0.42)
    for name, x, y in zip(names, middles, heights, strict=True):
        if spec.lines:
            draw.ellipse((x - half, y - half, x + half, y + half), fill=shade(rng, name))
        else:
            draw.rectangle((x - half, y, x + half, bottom), fill=shade(rng, name))
    draw.line((left, top, left, bottom, right, bottom), fill=ink, width=SCALE)
