"""Domain `text`: transcribe printed capitals. At first each letter has a cell of its own, as on a form.

Tiers add letters and fonts, then set words as books do, and add grain, photographs and a second line.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from glm4v.gym.choice import pick
from glm4v.gym.draw import SCALE, finish, paper
from glm4v.gym.handwriting import CELL
from glm4v.gym.printing import FONTS, font, word
from glm4v.gym.problem import Problem

VERIFIER = "ocr"
QUESTIONS = ("Read the text.", "What does it say?", "Transcribe the text.")


@dataclass(frozen=True)
class Tier:
    """letters: fewest and most a line; size: smallest and largest type, pixels; fonts: the first so many of FONTS;
    form: each letter in a cell of its own, one merged vision token.
    """

    letters: tuple[int, int]
    size: tuple[int, int]
    fonts: int
    noise: float
    lines: int = 1
    photo: float = 0.0
    form: bool = False


TIERS = {
    1: Tier(letters=(2, 3), size=(24, 26), fonts=1, noise=4, form=True),
    2: Tier(letters=(3, 5), size=(22, 26), fonts=4, noise=8, form=True),
    3: Tier(letters=(3, 5), size=(20, 26), fonts=6, noise=16),
    4: Tier(letters=(5, 7), size=(18, 24), fonts=11, noise=30, photo=0.25),
    5: Tier(letters=(4, 6), size=(16, 22), fonts=11, noise=45, lines=2, photo=0.45),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """One or two lines of letters; the worked example counts the letters before it reads them."""
    spec = TIERS[tier]
    words = [word(rng, pool, int(rng.integers(spec.letters[0], spec.letters[1] + 1))) for _ in range(spec.lines)]
    face = font(pick(rng, FONTS[: spec.fonts]), SCALE * int(rng.integers(spec.size[0], spec.size[1] + 1)))
    if spec.form:
        width, room = CELL * len(words[0]), CELL
        runs = [(letter, CELL * place, 0) for place, letter in enumerate(words[0])]  # text, left and top of its room
    else:
        width = room = CELL * math.ceil((max(map(face.getlength, words)) / SCALE + 6) / CELL)
        runs = [(text, 0, CELL * line) for line, text in enumerate(words)]
    sheet = paper(rng, pool, CELL * spec.lines, width, spec.photo)
    ink = tuple(int(value) for value in rng.integers(0, 80, size=3))
    for run, left, top in runs:
        x = left + 2 + rng.uniform(0, max(0.0, room - face.getlength(run) / SCALE - 4))
        y = top + CELL / 2 + rng.uniform(-2, 2)
        ImageDraw.Draw(sheet).text((SCALE * x, SCALE * y), run, fill=ink, font=face, anchor="lm")
    text = " ".join(words)
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=pick(rng, QUESTIONS),
        truth=text,
        answer=text,
        thought=f"{'+'.join(str(len(each)) for each in words)} letters: {text}",
        caption=f"Printed {text}.",
    )
