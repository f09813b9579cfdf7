"""Domain `sums`: add up handwritten digits. Tiers add digits, then grain, tilt, light ink and photographs."""

from itertools import accumulate

import numpy as np

from glm4v.gym.choice import pick
from glm4v.gym.handwriting import Style, strip
from glm4v.gym.problem import Problem

VERIFIER = "math"
QUESTIONS = ("Add the digits.", "What is the sum of the digits?", "Sum up the digits.")
TIERS = {  # how many digits, and how they are written
    1: (2, Style()),
    2: (3, Style(size=(22, 28), noise=8)),
    3: (4, Style(size=(20, 28), tilt=0.15, noise=16)),
    4: (5, Style(size=(20, 28), tilt=0.2, noise=28, inverted=True)),
    5: (6, Style(height=56, size=(20, 28), tilt=0.3, noise=45, photo=0.4, inverted=True)),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A strip and its sum; the worked example adds digit by digit as on a pocket calculator: 3+7=10+1=11."""
    count, style = TIERS[tier]
    pixels, digits = strip(rng, pool, count, style)
    totals = list(accumulate(digits))
    steps = "".join(f"+{digit}={total}" for digit, total in zip(digits[1:], totals[1:], strict=True))
    text = "".join(map(str, digits))
    return Problem(
        pixels=pixels,
        question=pick(rng, QUESTIONS),
        truth=str(totals[-1]),
        answer=str(totals[-1]),
        thought=f"{digits[0]}{steps}",
        caption=f"Handwritten digits {text}, added up {', '.join(map(str, totals))}.",
    )
