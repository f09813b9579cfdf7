"""Online difficulty (RLCS): which problems to draw next, from pass rates that follow the model.

P(cell) is proportional to problems * weight(pass rate of the cell), and P(problem | cell) to weight(its own pass rate);
weight(p) = floor + (1 - floor) * 4 p (1 - p), the variance of a reward of 0 or 1, scaled to at most 1: a group of
responses teaches in proportion to it. A graded reward counts as its mean, which is a bound of its variance only.
"""

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


class Curriculum:
    """Estimates and draws over a pool of problems, which are known by their index 0..n-1.

    Evidence (passes and trials) loses the factor `ageing` with every update, because the model changes. An estimate is
    evidence plus, for a problem, `prior` trials at its cell's rate, and for a cell two at 0.5: new problems start from
    their cell, and what was always right comes back when it may have been forgotten. `floor` in (0, 1] is the weight
    of a hopeless or a mastered problem relative to the best one; 1 draws uniformly.
    The draws of a step depend on (seed, number of draws before) alone.
    """

    def __init__(
        self, cells: Iterable[Cell], *, floor: float = 0.1, ageing: float = 0.95, prior: float = 8.0, seed: int = 0
    ):
        if not 0 < floor <= 1:
            raise ValueError(f"floor: {floor}, expected in (0, 1] (1 draws uniformly)")
        if not 0 < ageing <= 1:
            raise ValueError(f"ageing: {ageing}, expected in (0, 1] (1 never forgets)")
        if prior <= 0:
            raise ValueError(f"prior: {prior}, expected a positive number of trials")
        self._floor, self._ageing, self._prior, self._seed = floor, ageing, prior, seed
        numbers: dict[Cell, int] = {}
        self._cell_of = np.fromiter((numbers.setdefault(cell, len(numbers)) for cell in cells), np.int16)
        if not len(self._cell_of):
            raise ValueError("cells: no problems, expected at least one")
        self.cells: list[Cell] = list(numbers)
        self.sizes = np.bincount(self._cell_of)  # problems of each cell
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._members = np.argsort(self._cell_of, kind="stable").astype(np.int32)  # problems, cell by cell

        self._step = self._draws = 0
        self._cell_passes, self._cell_trials = np.zeros((2, len(self.cells)))
        self._passes, self._trials = np.zeros((2, len(self)), np.float32)
        self._seen = np.zeros(len(self), np.int32)  # step of the last update of a problem's evidence

    def __len__(self) -> int:
        return len(self._cell_of)

    def cell(self, problem: int) -> Cell:
        """(domain, tier) of a problem."""
        return self.cells[self._cell_of[problem]]

    def cell_pass_rates(self) -> NDArray[np.float64]:
        """Estimated pass rate of each of `self.cells`."""
        return (self._cell_passes + UNKNOWN_TRIALS * UNKNOWN) / (self._cell_trials + UNKNOWN_TRIALS)

    def pass_rates(self, problems: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float64]:
        """Estimated pass rate of each problem."""
        index = np.asarray(problems)
        age = self._ageing ** (self._step - self._seen[index]).astype(np.float64)
        cell_rates = self.cell_pass_rates()[self._cell_of[index]]
        return (self._passes[index] * age + self._prior * cell_rates) / (self._trials[index] * age + self._prior)

    def weight(self, pass_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative chance to be drawn, in [floor, 1]."""
        return self._floor + (1 - self._floor) * 4 * pass_rates * (1 - pass_rates)

    def shares(self) -> dict[Cell, float]:
        """Probability with which the next draw comes from each cell; they add up to 1."""
        return dict(zip(self.cells, self._cell_shares().tolist(), strict=True))

    def _cell_shares(self) -> NDArray[np.float64]:
        mass = self.sizes * self.weight(self.cell_pass_rates())
        return mass / mass.sum()

    def draw(self, count: int) -> list[int]:
        """Draws `count` problems in random order.

        Systematic sampling: each cell gets its expected number, rounded up or down, so a batch is as balanced as the
        weights. A problem appears once in a draw, unless its cell has fewer than twice the problems it should give.
        """
        rng = np.random.default_rng([self._seed, self._draws])
        self._draws += 1
        order = rng.permutation(len(self.cells))  # neighbours share a rounding: not always the same ones
        edges = np.cumsum(self._cell_shares()[order]) * count
        points = np.minimum(np.arange(count) + rng.random(), edges[-1] * (1 - 1e-12))
        slots = order[np.searchsorted(edges, points, side="right")]  # the cell of each draw
        return rng.permutation(self._draw_in_cells(slots, rng)).tolist()

    def _draw_in_cells(self, slots: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One problem from each slot's cell, by rejection: costs no pass over the pool, at most 1 / floor tries."""
        once = 2 * np.bincount(slots, minlength=len(self.cells)) <= self.sizes
        chosen = np.empty(0, np.int64)
        while len(slots):
            members = self._starts[slots] + (rng.random(len(slots)) * self.sizes[slots]).astype(np.int64)
            candidates = self._members[members]
            accepted = rng.random(len(slots)) < self.weight(self.pass_rates(candidates))
            first = np.zeros(len(slots), bool)
            first[np.flatnonzero(accepted)[np.unique(candidates[accepted], return_index=True)[1]]] = True
            new = first & ~np.isin(candidates, chosen)
            taken = np.where(once[slots], new, accepted)
            chosen = np.concatenate([chosen, candidates[taken]])
            slots = slots[~taken]
        return chosen

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
        age = self._ageing ** (self._step - self._seen[distinct]).astype(np.float32)
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
