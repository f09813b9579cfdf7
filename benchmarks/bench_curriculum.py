"""Memory and time of a draw from a pool of ten million problems, every one of which has been seen.

Two pools: `middle`, where pass rates are spread, and `extreme`, where nearly all are 0 or 1, so that a draw rejects
nine candidates of ten: the worst case of a floor of 0.1. For comparison numpy's weighted choice over the whole pool.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from glm4v.benchmarks import harness
from glm4v.rl.curriculum import Curriculum
from glm4v.rl.sampler import Cell, Sampler
from glm4v.rl.thompson import Thompson

RESULT = Path("benchmarks/results/curriculum.json")
CELLS = [(f"domain {domain}", str(tier)) for domain in range(9) for tier in range(1, 6)]
POOLS = {"middle": (0.9, 0.7, 0.5, 0.3, 0.1), "extreme": (1.0, 1.0, 1.0, 0.0, 0.0)}  # pass rate of each tier
RESPONSES = 8
AT_ONCE = 100_000  # problems of an update
BATCHES = (128, 4096)  # problems of a draw
Row = dict[str, Any]


def run(problems: int = 10_000_000, out: Path | None = RESULT, seconds: float = 2.0) -> dict[str, Any]:
    """Measures, prints a table, and writes {"machine", "problems", "rows"} as JSON.

    A row: {"sampler", "pool", "batch", "draws_per_second": problems drawn in a second of processor time, "megabytes":
    what the sampler added to the resident set at most, building it included}.
    """
    for sampler in (Curriculum, Thompson):
        measure("", "middle", AT_ONCE, sampler, 0.0)  # the code that it loads is no memory of the sampler
    rows = [
        *measure("curriculum", "middle", problems, Curriculum, seconds),
        *measure("curriculum", "extreme", problems, Curriculum, seconds),
        *measure("thompson", "middle", problems, Thompson, seconds),
        *whole_pool(problems, seconds),
    ]
    table = Table(
        "sampler", "pool", "batch", "draws a second", "MB", title=f"{problems:,} problems", title_justify="left"
    )
    for row in rows:
        figures = [f"{row[name]:,.0f}" for name in ("batch", "draws_per_second", "megabytes")]
        table.add_row(row["sampler"], row["pool"], *figures)
    harness.console.print(table)
    result = {"machine": asdict(harness.describe_machine()), "problems": problems, "rows": rows}
    if out is not None:
        out.write_text(json.dumps(harness.rounded(result), indent=1) + "\n", encoding="utf-8")
        harness.console.print(f"written: {out}")
    return result


def measure(
    name: str, pool: str, problems: int, sampler: Callable[[Iterator[Cell]], Sampler], seconds: float
) -> list[Row]:
    """Rows of a sampler that has seen each problem of a pool once."""
    before = harness.resident("VmRSS")
    harness.start_peak()
    curriculum = sampler(CELLS[index % len(CELLS)] for index in range(problems))
    rates = torch.tensor(POOLS[pool])
    generator = torch.Generator().manual_seed(0)
    for start in range(0, problems, AT_ONCE):
        index = torch.arange(start, min(start + AT_ONCE, problems))
        chances = rates[index % len(CELLS) % len(rates), None].expand(-1, RESPONSES)
        curriculum.update(index.numpy(), torch.bernoulli(chances, generator=generator))
    rows = [
        {"sampler": name, "pool": pool, "batch": batch, "draws_per_second": speed(curriculum.draw, batch, seconds)}
        for batch in BATCHES
    ]
    megabytes = (harness.resident("VmHWM") - before) / 1e6
    return [row | {"megabytes": megabytes} for row in rows]


def whole_pool(problems: int, seconds: float) -> Iterator[Row]:
    """Rows of numpy's weighted choice, which passes over all problems for each draw."""
    before = harness.resident("VmRSS")
    harness.start_peak()
    rng = np.random.default_rng(0)
    weights = rng.random(problems)
    weights /= weights.sum()
    for batch in BATCHES:
        rate = speed(lambda count: rng.choice(problems, count, p=weights), batch, seconds)
        megabytes = (harness.resident("VmHWM") - before) / 1e6
        yield {"sampler": "numpy", "pool": "weighted", "batch": batch, "draws_per_second": rate, "megabytes": megabytes}


def speed(draw: Callable[[int], object], batch: int, seconds: float) -> float:
    """Problems drawn in a second of processor time."""
    draw(batch)
    drawn, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        draw(batch)
        drawn += batch
    return drawn / elapsed
