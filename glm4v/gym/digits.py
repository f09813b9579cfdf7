"""Domain `digits`: read handwritten digits. Tiers add digits, then grain, tilt, light ink and photographs."""

import numpy as np

from glm4v.gym.choice import pick
from glm4v.gym.handwriting import Style, strip
from glm4v.gym.problem import Problem

VERIFIER = "ocr"
QUESTIONS = ("Read the digits.", "Which digits are shown?", "Transcribe the digits.")
TIERS = {  # fewest and most digits, and how they are written
    1: (1, 2, Style()),
    2: (2, 3, Style(size=(22, 28), noise=8)),
    3: (4, 5, Style(size=(20, 28), tilt=0.15, noise=20)),
    4: (5, 6, Style(size=(20, 28), tilt=0.25, noise=35, photo=0.3, inverted=True)),
    5: (7, 8, Style(height=56, size=(20, 28), tilt=0.35, noise=50, photo=0.5, inverted=True)),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A strip of the tier's length; the worked example counts the digits before it reads them."""
    fewest, most, style = TIERS[tier]
    pixels, digits = strip(rng, pool, int(rng.integers(fewest, most + 1)), style)
    text = "".join(map(str, digits))
    return Problem(
        pixels=pixels,
        question=pick(rng, QUESTIONS),
        truth=text,
        answer=text,
        thought=f"{len(digits)} digits: {text}",
        caption=f"Handwritten digits {text}.",
    )
