"""Mean rewards with 95% intervals: over all problems, by domain, and by cell of domain and tier."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NORMAL_95 = 1.959964


def summarise(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """{"mean", "n", "ci95": [low, high], "domains": {domain: the same}, "cells": {"domain/tier": the same}}.

    Args:
        records: each with "domain", "tier" and "reward"; at least one.
    """
    domains: dict[str, list[float]] = defaultdict(list)
    cells: dict[str, list[float]] = defaultdict(list)
    for record in records:
        domains[record["domain"]].append(record["reward"])
        cells[f"{record['domain']}/{record['tier']}"].append(record["reward"])
    return _mean([reward for rewards in domains.values() for reward in rewards]) | {
        "domains": {name: _mean(rewards) for name, rewards in sorted(domains.items())},
        "cells": {name: _mean(rewards) for name, rewards in sorted(cells.items())},
    }


def wilson(mean: float, n: int) -> tuple[float, float]:
    """95% interval of a mean of n values in [0, 1] (Wilson, 1927, eq. 4).

    Exact in its aim for rewards of 0 and 1, a little wide for graded ones, whose variance is below mean (1 - mean);
    never empty, also where all problems are right.
    """
    z = NORMAL_95**2 / n
    centre = (mean + z / 2) / (1 + z)
    half = math.sqrt(z * mean * (1 - mean) + z * z / 4) / (1 + z)
    return max(0.0, centre - half), min(1.0, centre + half)


def _mean(rewards: Sequence[float]) -> dict[str, Any]:
    if not rewards:
        raise ValueError("records is empty: there is nothing to summarise")
    mean = math.fsum(rewards) / len(rewards)
    return {"mean": mean, "n": len(rewards), "ci95": list(wilson(mean, len(rewards)))}
