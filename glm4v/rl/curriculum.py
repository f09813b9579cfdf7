"""Online difficulty (RLCS): which problems to draw next, from pass rates that follow the model.

P(cell) is proportional to problems * weight(pass rate of the cell), and P(problem | cell) to weight(its own pass rate);
weight(p) = floor + (1 - floor) * 4 p (1 - p), the variance of a reward of 0 or 1, scaled to at most 1.

Source: the report on GLM-4.1V-Thinking (arXiv 2507.01006) says that the middle is drawn more, and gives no formula;
p (1 - p) is the learnability of arXiv 2502.12272, to which the expected gain of one update is proportional there.
Limits: group-normalised advantages divide by the deviation, so a group's pull goes with the root of that variance, and
groups of k responses teach nothing with probability p^k + (1 - p)^k; a graded reward counts as its mean, which bounds
its variance only; a cell half of which is always right and half always wrong looks like the middle: then only the
problems' own estimates tell. How fast a problem is learned, and what learning it is good for, is not in it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glm4v.rl.sampler import Cell, Sampler


class Curriculum(Sampler):
    """Draws by weight over a pool of problems, which are known by their index 0..n-1.

    A problem's estimate is its evidence plus `prior` trials at its cell's rate, so new problems start from their cell;
    evidence ages, so what was always right comes back when it may have been forgotten. `floor` in (0, 1] is the weight
    of a hopeless or a mastered problem relative to the best one, so that none starves; 1 draws uniformly.
    domain_shares: the share of draws of some domains, whatever their weights; the others divide what is left by theirs.
    The draws of a step depend on (seed, number of draws before) and what is known alone.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        *,
        floor: float = 0.1,
        ageing: float = 0.95,
        prior: float = 8.0,
        domain_shares: Mapping[str, float] | None = None,
        seed: int = 0,
    ):
        if not 0 < floor <= 1:
            raise ValueError(f"floor: {floor}, expected in (0, 1] (1 draws uniformly)")
        if prior <= 0:
            raise ValueError(f"prior: {prior}, expected a positive number of trials")
        super().__init__(cells, ageing=ageing, seed=seed)
        self._floor, self._prior = floor, prior
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._members = np.argsort(self._cell_of, kind="stable").astype(np.int32)  # problems, cell by cell
        domains = list(dict.fromkeys(domain for domain, _ in self.cells))
        self._domain_of = np.array([domains.index(domain) for domain, _ in self.cells])
        self._domain_shares = _shares(domains, domain_shares or {})

    def pass_rates(self, problems: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float64]:
        """Estimated pass rate of each problem."""
        index = np.asarray(problems)
        age = self._age(index)
        cell_rates = self.cell_pass_rates()[self._cell_of[index]]
        return (self._passes[index] * age + self._prior * cell_rates) / (self._trials[index] * age + self._prior)

    def weight(self, pass_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative chance to be drawn, in [floor, 1]."""
        return self._floor + (1 - self._floor) * 4 * pass_rates * (1 - pass_rates)

    def cell_weights(self) -> NDArray[np.float64]:
        """Relative chance of a problem of each of `self.cells` to be drawn."""
        return self.weight(self.cell_pass_rates())

    def shares(self) -> dict[Cell, float]:
        """Probability with which the next draw comes from each cell; they add up to 1."""
        return dict(zip(self.cells, self._cell_shares().tolist(), strict=True))

    def _cell_shares(self) -> NDArray[np.float64]:
        mass = self.sizes * self.cell_weights()
        of_domain = np.bincount(self._domain_of, weights=mass)
        free = np.isnan(self._domain_shares)
        left = 1 - self._domain_shares[~free].sum()
        wanted = np.where(free, left * of_domain / (of_domain[free].sum() or 1.0), self._domain_shares)
        mass *= (wanted / of_domain)[self._domain_of]
        return mass / mass.sum()

    def draw(self, count: int) -> list[int]:
        """Draws `count` problems in random order.

        Systematic sampling: each cell gets its expected number, rounded up or down, so a batch is as balanced as the
        weights. A problem appears once in a draw, unless its cell has fewer than twice the problems it should give.
        """
        rng = self._next_draw()
        order = rng.permutation(len(self.cells))  # neighbours share a rounding: not always the same ones
        edges = np.cumsum(self._cell_shares()[order]) * count
        points = np.minimum(np.arange(count) + rng.random(), edges[-1] * (1 - 1e-12))
        slots = order[np.searchsorted(edges, points, side="right")]  # the cell of each draw
        return rng.permutation(self._draw_in_cells(slots, rng)).tolist()

    def _draw_in_cells(self, slots: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One problem from each slot's cell, by rejection: costs no pass over the pool, about 1 / floor tries at most.

        Slots that are left get twice the tries in the next round: where all is hopeless or mastered, a round a try
        would take five times as long.
        """
        once = 2 * np.bincount(slots, minlength=len(self.cells)) <= self.sizes
        chosen = np.empty(0, np.int64)
        tries = 1
        while len(slots):
            sizes = np.repeat(self.sizes[slots], tries)
            members = np.repeat(self._starts[slots], tries) + (rng.random(len(sizes)) * sizes).astype(np.int64)
            tried = self._members[members]
            passed = (rng.random(len(tried)) < self.weight(self.pass_rates(tried))).reshape(-1, tries)
            candidates = tried.reshape(-1, tries)[np.arange(len(slots)), passed.argmax(axis=1)]  # the first that passed
            accepted = passed.any(axis=1)
            first = np.zeros(len(slots), bool)
            first[np.flatnonzero(accepted)[np.unique(candidates[accepted], return_index=True)[1]]] = True
            new = first & ~np.isin(candidates, chosen)
            taken = np.where(once[slots], new, accepted)
            chosen = np.concatenate([chosen, candidates[taken]])
            slots = slots[~taken]
            tries = min(2 * tries, 16)
        return chosen


def _shares(domains: Sequence[str], given: Mapping[str, float]) -> NDArray[np.float64]:
    """The given share of each domain, NaN where there is none."""
    if unknown := [domain for domain in given if domain not in domains]:
        raise ValueError(f"domain_shares: {unknown[0]}, expected some of {', '.join(domains)}")
    total = sum(given.values())
    whole = len(given) == len(domains)
    if any(share <= 0 for share in given.values()) or (abs(total - 1) > 1e-6 if whole else total >= 1):
        expected = "1, as every domain has a share" if whole else "below 1, so that the other domains are drawn"
        raise ValueError(f"domain_shares: {dict(given)}, expected positive numbers that add up to {expected}")
    return np.array([given.get(domain, np.nan) for domain in domains])
