"""Thompson sampling towards a pass rate (MoPPS, arXiv 2507.04632), to compare the curriculum with.

Each problem has a Beta posterior of its own, Beta(1, 1) before it is seen. A draw takes candidates uniformly, samples a
pass rate for each from its posterior, and keeps the ones nearest to the target. There are no cells in it and no floor.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from glm4v.rl.sampler import Cell, Sampler

PRIOR = 1.0  # passes and failures that each problem begins with


class Thompson(Sampler):
    """Draws `count` of `candidates * count` problems: those whose sampled pass rates are nearest to `target`.

    Unlike in the curriculum, a problem's evidence loses the factor `ageing` when the problem is seen again, not with
    every step: so it is in MoPPS. Cells only serve the metrics.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        *,
        candidates: int = 8,
        target: float = 0.5,
        ageing: float = 0.95,
        seed: int = 0,
    ):
        if candidates < 1:
            raise ValueError(f"candidates: {candidates}, expected at least 1")
        if not 0 <= target <= 1:
            raise ValueError(f"target: {target}, expected a pass rate in [0, 1]")
        super().__init__(cells, ageing=ageing, seed=seed)
        self._candidates, self._target = candidates, target
        self._drawn = self.sizes.astype(np.float64)  # problems of each cell in the last draw; at first, in the pool

    def pass_rates(self, problems: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float64]:
        """Mean of each problem's posterior."""
        passes, failures = self._posterior(np.asarray(problems))
        return passes / (passes + failures)

    def shares(self) -> dict[Cell, float]:
        """Share of each cell in the last draw; they add up to 1."""
        return dict(zip(self.cells, (self._drawn / self._drawn.sum()).tolist(), strict=True))

    def draw(self, count: int) -> list[int]:
        """`count` problems in random order, each once unless the pool has fewer."""
        rng = self._next_draw()
        size = min(count * self._candidates, len(self))
        candidates = rng.choice(len(self), size, replace=False)
        distance = np.abs(rng.beta(*self._posterior(candidates)) - self._target)
        nearest = np.argsort(distance, kind="stable")[:count]
        chosen = candidates[np.resize(nearest, count)]
        self._drawn = np.bincount(self._cell_of[chosen], minlength=len(self.cells)).astype(np.float64)
        return rng.permutation(chosen).tolist()

    def _posterior(self, index: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        passes = self._passes[index].astype(np.float64)
        failures = np.maximum(self._trials[index] - passes, 0.0)  # float32 sums may differ in the last bit
        return passes + PRIOR, failures + PRIOR

    def _age(self, index: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.full(len(index), self._ageing)
