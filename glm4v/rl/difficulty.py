"""Offline difficulty: the pass rate of the model that RL starts from, with the given label, puts a problem in a tier.

A problem's rate is shrunk towards the mean of its (domain, label) cell, as the mean of a Beta posterior whose prior is
the cell: a problem that was not graded itself is judged by its label, a graded one the more by itself the more
responses it had. Tiers are fifths of a domain in that order, not bands of the rate: a model that is weak in a domain
would have all of it in one band, and the curriculum could not tell what it will learn next.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from glm4v.rl.curriculum import Cell

TIERS = 5  # "1", the easiest, to "5"


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


def tiers(cells: Sequence[Cell], graded: Mapping[int, Sequence[float]]) -> list[Cell]:
    """(domain, tier) of every problem; the given labels where nothing is graded.

    Equal pass rates are ordered by label.
    """
    if not graded:
        return list(cells)
    rates = pass_rates(cells, graded)
    of_domain: dict[str, list[int]] = defaultdict(list)
    for index, (domain, _) in enumerate(cells):
        of_domain[domain].append(index)
    result = list(cells)
    for domain, members in of_domain.items():
        members.sort(key=lambda index: (-rates[index], cells[index][1]))
        for rank, index in enumerate(members):
            result[index] = (domain, str(1 + TIERS * rank // len(members)))
    return result
