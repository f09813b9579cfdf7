"""Domain `text`: transcribe printed capitals. Tiers add letters and fonts, then grain, photographs, a second line."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from glm4v.gym.choice import pick
from glm4v.gym.draw import SCALE, finish, paper
from glm4v.gym.printing import FONTS, font, word
from glm4v.gym.problem import Problem

VERIFIER = "ocr"
QUESTIONS = ("Read the text.", "What does it say?", "Transcribe the text.")


@dataclass(frozen=True)
class Tier:
    """letters: fewest and most a line; size: smallest and largest type, pixels; fonts: the first so many of FONTS."""

    letters: tuple[int, int]
    size: tuple[int, int]
    fonts: int
    noise: float
    lines: int = 1
    photo: float = 0.0


TIERS = {
    1: Tier(letters=(2, 2), size=(24, 26), fonts=1, noise=4),
    2: Tier(letters=(3, 3), size=(22, 26), fonts=2, noise=8),
    3: Tier(letters=(3, 5), size=(20, 26), fonts=6, noise=16),
    4: Tier(letters=(5, 7), size=(18, 24), fonts=11, noise=30, photo=0.25),
    5: Tier(letters=(4, 6), size=(16, 22), fonts=11, noise=45, lines=2, photo=0.45),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """One or two lines of letters; the worked example counts the letters before it reads them."""
    spec = TIERS[tier]
    words = [word(rng, pool, int(rng.integers(spec.letters[0], spec.letters[1] + 1))) for _ in range(spec.lines)]
    face = font(pick(rng, FONTS[: spec.fonts]), SCALE * int(rng.integers(spec.size[0], spec.size[1] + 1)))
    widths = [face.getlength(text) / SCALE for text in words]
    width, height = 28 * int(-(-(max(widths) + 6) // 28)), 28 * spec.lines
    sheet = paper(rng, pool, height, width, spec.photo)
    ink = tuple(int(value) for value in rng.integers(0, 80, size=3))
    for line, (text, needed) in enumerate(zip(words, widths, strict=True)):
        left = rng.uniform(2, width - needed - 2)
        middle = 28 * line + 14 + rng.uniform(-2, 2)
        ImageDraw.Draw(sheet).text((SCALE * left, SCALE * middle), text, fill=ink, font=face, anchor="lm")
    text = " ".join(words)
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=pick(rng, QUESTIONS),
        truth=text,
        answer=text,
        thought=f"{'+'.join(str(len(each)) for each in words)} letters: {text}",
        caption=f"Printed {text}.",
    )
