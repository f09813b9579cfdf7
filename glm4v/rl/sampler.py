"""What every way of drawing problems shares: how often the model is thought to solve each problem of a pool.

Evidence on a problem, and on its cell of domain and tier, is a number of trials and how many of them passed (a graded
reward counts as its share of a pass). It ages, because the model changes. Per problem 14 bytes are kept, in numpy
arrays: pools of many millions are meant.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Cell = tuple[str, str]  # (domain, tier)
# A cell that nothing is known of, or whose evidence has aged away, is taken to be of middle difficulty, so it gets
# drawn: Beta(1, 1), which counts for two trials.
UNKNOWN, UNKNOWN_TRIALS = 0.5, 2.0


class Sampler(ABC):
    """Evidence over a pool of problems, which are known by their index 0..n-1, and a way of drawing from it.

    Evidence loses the factor `ageing` with every update. A cell's estimate is its evidence plus two trials at 0.5.
    `state_dict` holds all that a resumed run needs to draw the same.
    """

    def __init__(self, cells: Iterable[Cell], *, ageing: float, seed: int):
        if not 0 < ageing <= 1:
            raise ValueError(f"ageing: {ageing}, expected in (0, 1] (1 never forgets)")
        self._ageing, self._seed = ageing, seed
        numbers: dict[Cell, int] = {}
        try:
            self._cell_of = np.fromiter((numbers.setdefault(cell, len(numbers)) for cell in cells), np.int16)
        except OverflowError:
            raise ValueError(f"cells: {len(numbers)} kinds of (domain, tier), expected at most {2**15}") from None
        if not len(self._cell_of):
            raise ValueError("cells: no problems, expected at least one")
        self.cells: list[Cell] = list(numbers)
        self.sizes = np.bincount(self._cell_of)  # problems of each cell

        self._step = self._draws = 0
        self._cell_passes, self._cell_trials = np.zeros((2, len(self.cells)))
        self._passes, self._trials = np.zeros((2, len(self)), np.float32)
        self._seen = np.zeros(len(self), np.int32)  # step of the last update of a problem's evidence

    @abstractmethod
    def draw(self, count: int) -> list[int]:
        """`count` problems in random order."""

    @abstractmethod
    def shares(self) -> dict[Cell, float]:
        """The share of draws that comes from each cell; they add up to 1."""

    @abstractmethod
    def pass_rates(self, problems: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float64]:
        """Estimated pass rate of each problem."""

    def __len__(self) -> int:
        return len(self._cell_of)

    def cell(self, problem: int) -> Cell:
        """(domain, tier) of a problem."""
        return self.cells[self._cell_of[problem]]

    def cell_pass_rates(self) -> NDArray[np.float64]:
        """Estimated pass rate of each of `self.cells`."""
        return (self._cell_passes + UNKNOWN_TRIALS * UNKNOWN) / (self._cell_trials + UNKNOWN_TRIALS)

    def _age(self, index: NDArray[np.integer]) -> NDArray[np.float64]:
        """What is left of each problem's evidence, as a factor."""
        return self._ageing ** (self._step - self._seen[index]).astype(np.float64)

    def _next_draw(self) -> np.random.Generator:
        """Random numbers of a draw, which depend on (seed, number of draws before) alone."""
        self._draws += 1
        return np.random.default_rng([self._seed, self._draws - 1])

    def start_from(self, pass_rates: Sequence[float] | NDArray[np.floating], trials: float) -> None:
        """Offline pass rates of all problems: `trials` trials at their mean are the first evidence of each cell."""
        sums = np.bincount(self._cell_of, weights=np.asarray(pass_rates), minlength=len(self.cells))
        self._cell_passes = trials * sums / self.sizes
        self._cell_trials = np.full(len(self.cells), float(trials))

    def update(self, problems: Sequence[int], rewards: Tensor) -> None:
        """Takes in a round of rollouts: rewards float [len(problems), responses], each in [0, 1].

        Raises ValueError when the shapes disagree or a reward is outside [0, 1].
        """
        if rewards.ndim != 2 or len(rewards) != len(problems):
            raise ValueError(f"rewards: shape {tuple(rewards.shape)}, expected [{len(problems)}, responses]")
        values = rewards.double().numpy()
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"rewards: in [{values.min()}, {values.max()}], expected in [0, 1]; check the verifier")
        index = np.asarray(problems, np.int64)
        passes, trials = values.sum(axis=1), values.shape[1]
        self._step += 1
        self._cell_passes *= self._ageing
        self._cell_trials *= self._ageing
        np.add.at(self._cell_passes, self._cell_of[index], passes)
        np.add.at(self._cell_trials, self._cell_of[index], trials)

        distinct = np.unique(index)
        age = self._age(distinct).astype(np.float32)
        self._passes[distinct] *= age
        self._trials[distinct] *= age
        self._seen[distinct] = self._step
        np.add.at(self._passes, index, passes.astype(np.float32))
        np.add.at(self._trials, index, np.float32(trials))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs for the same draws; holds the problems that were ever updated, as tensors."""
        touched = np.flatnonzero(self._seen)
        return {
            "cells": self.cells,
            "problems": len(self),
            "step": self._step,
            "draws": self._draws,
            "cell_passes": torch.from_numpy(self._cell_passes.copy()),
            "cell_trials": torch.from_numpy(self._cell_trials.copy()),
            "touched": torch.from_numpy(touched),
            "passes": torch.from_numpy(self._passes[touched]),
            "trials": torch.from_numpy(self._trials[touched]),
            "seen": torch.from_numpy(self._seen[touched]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Raises ValueError when it was written for other problems."""
        if state["problems"] != len(self) or state["cells"] != self.cells:
            raise ValueError(
                f"state: of {state['problems']} problems in {len(state['cells'])} cells, expected {len(self)} in "
                f"{len(self.cells)}; resume with the data the run was started with"
            )
        self._step, self._draws = state["step"], state["draws"]
        self._cell_passes, self._cell_trials = state["cell_passes"].numpy().copy(), state["cell_trials"].numpy().copy()
        touched = state["touched"].numpy()
        for array, name in ((self._passes, "passes"), (self._trials, "trials"), (self._seen, "seen")):
            array[:] = 0
            array[touched] = state[name].numpy()
