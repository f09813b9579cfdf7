"""Learning progress in place of p (1 - p): cells whose pass rate moves are drawn most, whichever way it moves.

Absolute learning progress as in ALP-GMM (arXiv 1910.07224): the distance of a recent mean from an older one. Here both
are moving averages of a cell's rollouts, of which the older forgets SLOWER times as slowly, and what the noise of so
many rollouts explains is taken off. Inside a cell problems are drawn by p (1 - p), as in the curriculum.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glm4v.rl.curriculum import Curriculum
from glm4v.rl.sampler import UNKNOWN, UNKNOWN_TRIALS

SLOWER = 4


class Progress(Curriculum):
    """A curriculum whose cells are weighted by floor + (1 - floor) * progress / largest progress; alike without any."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self._slow_passes, self._slow_trials = np.zeros((2, len(self.cells)))

    def cell_weights(self) -> NDArray[np.float64]:
        progress = self.progress()
        relative = progress / progress.max() if progress.any() else np.ones_like(progress)
        return self._floor + (1 - self._floor) * relative

    def progress(self) -> NDArray[np.float64]:
        """How far each cell's pass rate has moved, beyond one standard deviation of the recent mean."""
        recent = self.cell_pass_rates()
        older = (self._slow_passes + UNKNOWN_TRIALS * UNKNOWN) / (self._slow_trials + UNKNOWN_TRIALS)
        noise = np.sqrt(recent * (1 - recent) / (self._cell_trials + UNKNOWN_TRIALS))
        return np.maximum(np.abs(recent - older) - noise, 0.0)

    def start_from(self, pass_rates: Sequence[float] | NDArray[np.floating], trials: float) -> None:
        super().start_from(pass_rates, trials)
        self._slow_passes, self._slow_trials = self._cell_passes.copy(), self._cell_trials.copy()

    def update(self, problems: Sequence[int], rewards: Tensor) -> None:
        super().update(problems, rewards)
        self._slow_passes *= self._ageing ** (1 / SLOWER)
        self._slow_trials *= self._ageing ** (1 / SLOWER)
        cells = self._cell_of[np.asarray(problems, np.int64)]
        np.add.at(self._slow_passes, cells, rewards.double().numpy().sum(axis=1))
        np.add.at(self._slow_trials, cells, rewards.shape[1])

    def state_dict(self) -> dict[str, Any]:
        slow = {"slow_passes": self._slow_passes, "slow_trials": self._slow_trials}
        return super().state_dict() | {name: torch.from_numpy(values.copy()) for name, values in slow.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._slow_passes, self._slow_trials = (state[name].numpy().copy() for name in ("slow_passes", "slow_trials"))
