"""Dynamic sampling expansion (RLCS): how many prompts to roll out, and which of their groups to train on.

A group whose rewards are all equal teaches nothing. The moving average r of the share of such groups says beforehand
how many prompts one single round of rollouts needs: min(1 / (1 - r), cap) times the groups of a batch.
"""

import math
from collections.abc import Hashable, Sequence


class Expansion:
    """The ratio EMA. `ratio` starts at 0 (draw as many prompts as needed) and follows the observed shares."""

    def __init__(self, cap: float = 4.0, decay: float = 0.9):
        if cap < 1:
            raise ValueError(f"cap: {cap}, expected at least 1 (1 switches the expansion off)")
        if not 0 <= decay < 1:
            raise ValueError(f"decay: {decay}, expected at least 0 and below 1")
        self.cap, self.decay = cap, decay
        self.ratio = 0.0

    @property
    def factor(self) -> float:
        """Prompts to draw for each group that the batch needs, in [1, cap]."""
        return self.cap if self.ratio >= 1 - 1 / self.cap else 1 / (1 - self.ratio)

    def prompts(self, needed: int) -> int:
        """Prompts to draw so that about `needed` of their groups are informative."""
        return math.ceil(needed * self.factor)

    def kept(self, prompts: int) -> int:
        """The other way round: informative groups to expect of so many prompts, at least 1."""
        return max(1, int(prompts / self.factor))

    def update(self, uninformative: float) -> None:
        """Takes in the share (0..1) of this step's groups whose rewards were all equal."""
        self.ratio = self.decay * self.ratio + (1 - self.decay) * uninformative

    def state_dict(self) -> dict[str, float]:
        """All that a resumed run needs."""
        return {"ratio": self.ratio}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Inverse of `state_dict`."""
        self.ratio = state["ratio"]


def keep_balanced(cells: Sequence[tuple[str, str]], informative: Sequence[bool], needed: int) -> list[int]:
    """Indices of at most `needed` informative groups, balanced over difficulty.

    cells: (domain, tier) of each group. Groups are taken in turn from each tier, and inside a tier in turn from each
    domain; fewer than `needed` informative groups are all kept. The order is that of `cells`: random, as it was drawn.
    """
    groups = [index for index, teaches in enumerate(informative) if teaches]
    by_domain = _round_robin(groups, [cells[index][0] for index in groups])
    return sorted(_round_robin(by_domain, [cells[index][1] for index in by_domain])[:needed])


def _round_robin(items: Sequence[int], keys: Sequence[Hashable]) -> list[int]:
    """Items in the order: the first of each key, then the second of each key, and so on."""
    seen: dict[Hashable, int] = {}
    turns = []
    for key in keys:
        turns.append(seen.get(key, 0))
        seen[key] = turns[-1] + 1
    return [item for _, item in sorted(zip(turns, items, strict=True), key=lambda pair: pair[0])]
