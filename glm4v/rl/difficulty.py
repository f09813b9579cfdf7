"""Offline difficulty: the pass rate of the model that RL starts from (or of those that `glm4v grade` asked), with the
given label, puts a problem in a tier.

A problem's rate is shrunk towards the mean of its (domain, label) cell, as the mean of a Beta posterior whose prior is
the cell: a problem that was not graded itself is judged by its label, a graded one the more by itself the more
responses it had. Tiers are fifths of a domain in that order, not bands of the rate: a model that is weak in a domain
would have all of it in one band, and the curriculum could not tell what it will learn next.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glm4v.data.files import Problem
from glm4v.rl.sampler import Cell

TIERS = 5  # "1", the easiest, to "5"


class Graded(NamedTuple):
    """Offline difficulty of a pool: (domain, tier) and pass rate of each problem, and the responses they rest on."""

    cells: list[Cell]
    pass_rates: NDArray[np.float32]
    responses: int


def read_graded(paths: Sequence[str], problems: Iterable[Problem]) -> Graded:
    """What `glm4v grade` wrote: a file for each file of problems, in the same order.

    A pass rate is the mean over the models of the file. Raises ValueError, which names file and line, where the ids
    are not those of the problems.
    """
    lines, shared, cells, rates, responses = _lines(paths), dict[Cell, Cell](), list[Cell](), list[float](), 0
    for problem in problems:
        place, line = next(lines, (f"the end of {paths[-1]}", {}))
        if line.get("id") != problem.id:
            raise ValueError(
                f"difficulty.graded: {line.get('id')} in {place}, expected {problem.id} ({problem.key}): one line a "
                "problem, in the order of data.train; make it with `glm4v grade`"
            )
        cell = (problem.domain, line["tier"])
        cells.append(shared.setdefault(cell, cell))
        rates.append(sum(line["pass_rates"].values()) / len(line["pass_rates"]))
        responses += line["k"] * len(line["pass_rates"])
    if (extra := next(lines, None)) is not None:
        raise ValueError(f"difficulty.graded: {extra[0]} is of no problem in data.train")
    return Graded(cells, np.array(rates, np.float32), responses)


def _lines(paths: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """("file:line", the JSON object) of all files."""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                yield f"{path}:{number}", json.loads(text)


def to_grade(cells: Sequence[Cell], per_cell: int) -> list[int]:
    """The problems to grade: the first `per_cell` of each (domain, label) cell, as indices."""
    count: dict[Cell, int] = defaultdict(int)
    chosen = []
    for index, cell in enumerate(cells):
        if count[cell] < per_cell:
            chosen.append(index)
        count[cell] += 1
    return chosen


def pass_rates(cells: Sequence[Cell], graded: Mapping[int, Sequence[float]], prior: float = 4.0) -> list[float]:
    """The pass rate of every problem, graded or not.

    cells: (domain, label) of each problem; graded: rewards in [0, 1] of the responses to each graded problem;
    prior: how many responses the cell's mean counts for. Raises ValueError for a cell without a graded problem.
    """
    in_cell: dict[Cell, list[float]] = defaultdict(list)
    for index, rewards in graded.items():
        in_cell[cells[index]].extend(rewards)
    if missing := set(cells) - set(in_cell):
        raise ValueError(f"graded: no problem of {sorted(missing)[0]}, expected at least one of each (domain, label)")
    means = {cell: sum(rewards) / len(rewards) for cell, rewards in in_cell.items()}
    rates = [means[cell] for cell in cells]
    for index, rewards in graded.items():
        rates[index] = (sum(rewards) + prior * rates[index]) / (len(rewards) + prior)
    return rates


def of_rewards(cells: Sequence[Cell], graded: Mapping[int, Sequence[float]]) -> Graded:
    """Tiers and pass rates of all problems from the rewards of some; see `pass_rates`."""
    rates = pass_rates(cells, graded)
    return Graded(tiers(cells, rates), np.array(rates, np.float32), sum(map(len, graded.values())))


def tiers(cells: Sequence[Cell], rates: Sequence[float]) -> list[Cell]:
    """(domain, tier) of every problem: fifths of its domain by pass rate, equal ones in the order of their labels."""
    of_domain: dict[str, list[int]] = defaultdict(list)
    for index, (domain, _) in enumerate(cells):
        of_domain[domain].append(index)
    result = list(cells)
    for domain, members in of_domain.items():
        members.sort(key=lambda index: (-rates[index], cells[index][1]))
        for rank, index in enumerate(members):
            result[index] = (domain, str(1 + TIERS * rank // len(members)))
    return result
