"""The pool of problems that RL draws from: all files of the recipe behind one numbering."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import numpy as np

from glm4v.data import Processor, Sample
from glm4v.data.files import Problem, read_problems
from glm4v.rewards import VERIFIERS, load_reward
from glm4v.rl.sampler import Cell


class Pool(Sequence[Problem]):
    """Problems by number. Prompts are built on demand and kept until `forget`, so that a step decodes an image once.

    Attributes:
        cells: (domain, given tier) of every problem.
        verifiers: names of all verifiers that the problems ask for.

    Raises ValueError when there are no files, or one that has no problems or a wrong line.
    """

    def __init__(self, paths: Sequence[str], processor: Processor):
        if not paths:
            raise ValueError("data.train: no files, expected JSONL files of problems (`glm4v gym OUT` writes some)")
        self._files = [read_problems(path) for path in paths]
        self._bounds = np.array([0, *accumulate(len(file) for file in self._files)])
        self._processor = processor
        self._prompts: dict[int, Sample] = {}
        self.cells: list[Cell] = []
        self.verifiers: set[str] = set()
        shared: dict[Cell, Cell] = {}  # one tuple a cell, not one a problem: a pool may have millions
        for problem in self:
            cell = (problem.domain, problem.tier)
            self.cells.append(shared.setdefault(cell, cell))
            self.verifiers.add(problem.verifier)

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def __getitem__(self, number: int) -> Problem:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(f"number: {number}, expected 0 to {len(self) - 1}")
        file = int(np.searchsorted(self._bounds, number, side="right")) - 1
        return self._files[file][number - int(self._bounds[file])]

    def __iter__(self) -> Iterator[Problem]:
        return chain.from_iterable(self._files)

    def check_verifiers(self, reward: str | None) -> None:
        """Raises ValueError for a verifier that does not exist: `reward`, or without it those of the problems."""
        for name in [reward] if reward else sorted(self.verifiers):
            if name not in VERIFIERS:
                load_reward(name)

    def prompt(self, number: int) -> Sample:
        """The problem as the model is asked it. The same object, with the same image tensors, until `forget`."""
        if number not in self._prompts:
            problem = self[number]
            self._prompts[number] = self._processor(
                problem.messages, add_generation_prompt=True, root=problem.root, key=problem.key
            )
        return self._prompts[number]

    def forget(self) -> None:
        """Frees the prompts of a step."""
        self._prompts.clear()
