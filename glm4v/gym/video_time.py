"""Domain `video_time`: at which second does a shape appear? Two frames a second; each pair of frames is one second.

Tiers add seconds, then other shapes, flashes of a single second, grain and a photograph that slides by.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from glm4v.gym.choice import pick, picks
from glm4v.gym.draw import SCALE, finish, paper, photograph
from glm4v.gym.problem import Problem
from glm4v.gym.scene import Thing, paint, random_names, scatter

VERIFIER = "video_time"
QUESTIONS = (
    "When does the {name} appear?",
    "At which second does the {name} appear?",
    "When is the {name} first shown?",
)
SIDE = 56
FRAME_RATE = 2
DRIFT = 2  # pixels a second by which the scenery slides


@dataclass(frozen=True)
class Tier:
    """seconds: fewest and most; others: things that appear at other seconds; flash: things stay for one second only."""

    seconds: tuple[int, int]
    others: int
    flash: bool
    fill: tuple[float, float]
    noise: float
    photo: float = 0.0


TIERS = {
    1: Tier(seconds=(2, 3), others=0, flash=False, fill=(0.6, 0.8), noise=4),
    2: Tier(seconds=(3, 5), others=0, flash=False, fill=(0.5, 0.8), noise=8),
    3: Tier(seconds=(4, 6), others=1, flash=True, fill=(0.5, 0.8), noise=12),
    4: Tier(seconds=(6, 8), others=2, flash=True, fill=(0.45, 0.7), noise=25),
    5: Tier(seconds=(8, 10), others=4, flash=True, fill=(0.4, 0.6), noise=40, photo=0.5),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A short video; the worked example goes through the seconds until the thing is there."""
    spec = TIERS[tier]
    seconds = int(rng.integers(spec.seconds[0], spec.seconds[1] + 1))
    starts = picks(rng, range(seconds), 1 + spec.others)
    shown: list[list[Thing]] = [[] for _ in range(seconds)]
    names = random_names(rng, len(starts))
    for name, start in zip(names, starts, strict=True):
        [(row, column, box)] = scatter(rng, 1, 1, 1, spec.fill)
        thing = Thing(*name, box, row, column)
        for second in range(start, start + 1 if spec.flash else seconds):
            shown[second].append(thing)
    target = " ".join(names[0])
    steps = [f"{second} no" for second in range(starts[0])] + [f"{starts[0]} yes"]
    story = [
        f"{second} {', '.join(thing.name for thing in things) or 'nothing'}" for second, things in enumerate(shown)
    ]
    return Problem(
        pixels=_film(rng, pool, shown, spec),
        question=pick(rng, QUESTIONS).format(name=target),
        truth=str(starts[0]),
        answer=str(starts[0]),
        thought=" ".join(steps),
        caption=f"Second by second: {'; '.join(story)}.",
        frame_rate=FRAME_RATE,
    )


def _film(rng: np.random.Generator, pool: str, shown: list[list[Thing]], spec: Tier) -> np.ndarray:
    """Draws a picture for every second, shown FRAME_RATE times: uint8 [2 * seconds, 56, 56, 3]."""
    still = paper(rng, pool, SIDE, SIDE)
    scenery = photograph(rng, pool, still.height, still.width + SCALE * DRIFT * len(shown))
    pictures = []
    for second, things in enumerate(shown):
        left = SCALE * DRIFT * second
        sheet = Image.blend(still, scenery.crop((left, 0, left + still.width, still.height)), spec.photo)
        paint(rng, sheet, things)
        pictures.append(finish(rng, sheet, spec.noise))
    return np.repeat(np.stack(pictures), FRAME_RATE, axis=0)
