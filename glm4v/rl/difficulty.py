"""Offline difficulty: the pass rate of the model that RL starts from, with the given label, puts a problem in a tier.

A problem's rate is shrunk towards the mean of its (domain, label) cell, as the mean of a Beta posterior whose prior is
the cell: a problem that was not graded itself is judged by its label, a graded one the more by itself the more
responses it had.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from glm4v.rl.curriculum import Cell

# Lower bound of the pass rate of each tier, from "1", nearly always right, to "5", nearly never.
TIERS = {"1": 0.9, "2": 0.65, "3": 0.35, "4": 0.1, "5": 0.0}


def tier(pass_rate: float) -> str:
    """The tier, "1" (very easy) to "5" (very hard), of a pass rate in [0, 1]."""
    return next(name for name, bound in TIERS.items() if pass_rate >= bound)


def to_grade(cells: Sequence[Cell], per_cell: int) -> list[int]:
    """The problems to grade: the first `per_cell` of each (domain, label) cell, as indices."""
    count: dict[Cell, int] = defaultdict(int)
    chosen = []
    for index, cell in enumerate(cells):
        if count[cell] < per_cell:
            chosen.append(index)
        count[cell] += 1
    return chosen


def pass_rates(cells: Sequence[Cell], graded: Mapping[int, Sequence[float]], prior: float = 4.0) -> list[float | None]:
    """The pass rate of every problem, graded or not; None in a cell of which no problem was graded.

    cells: (domain, label) of each problem; graded: rewards in [0, 1] of the responses to each graded problem;
    prior: how many responses the cell's mean counts for.
    """
    in_cell: dict[Cell, list[float]] = defaultdict(list)
    for index, rewards in graded.items():
        in_cell[cells[index]].extend(rewards)
    means = {cell: sum(rewards) / len(rewards) for cell, rewards in in_cell.items() if rewards}

    def rate(index: int) -> float | None:
        if cells[index] not in means:
            return None
        own = graded.get(index, ())
        return (sum(own) + prior * means[cells[index]]) / (len(own) + prior)

    return [rate(index) for index in range(len(cells))]


def tiers(cells: Sequence[Cell], graded: Mapping[int, Sequence[float]]) -> list[Cell]:
    """(domain, tier) of every problem; the label stays where its cell has no grade."""
    rates = pass_rates(cells, graded)
    return [(cell[0], cell[1] if rate is None else tier(rate)) for cell, rate in zip(cells, rates, strict=True)]
