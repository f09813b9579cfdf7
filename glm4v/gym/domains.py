"""The nine domains by name. A new one is a file with VERIFIER and make(), and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from glm4v.gym import attributes, chart, counting, digits, grounding, gui, sums, text, video_time
from glm4v.gym.problem import Problem

TIERS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Domain:
    """verifier: the name of the rule in glm4v.rewards; make(rng, tier, pool): one problem."""

    verifier: str
    make: Callable[[np.random.Generator, int, str], Problem]


def _domain(module: ModuleType) -> Domain:
    return Domain(verifier=module.VERIFIER, make=module.make)


DOMAINS = {
    "digits": _domain(digits),
    "sums": _domain(sums),
    "counting": _domain(counting),
    "attributes": _domain(attributes),
    "grounding": _domain(grounding),
    "chart": _domain(chart),
    "text": _domain(text),
    "gui": _domain(gui),
    "video_time": _domain(video_time),
}
