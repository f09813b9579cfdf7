"""Writes the README's tables of measured facts from benchmarks/results/: python benchmarks/readme.py [--check]"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: written by python benchmarks/readme.py -->", "<!-- end of measured -->"
COLUMNS = [(dtype, direction) for dtype in ("float32", "bfloat16") for direction in ("forward", "backward")]


def update(root: Path) -> str:
    """The README below `root` with the part between BEGIN and END as benchmarks/results/ has it."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    measured = list(lines(root / "benchmarks" / "results"))
    section = "\n".join(["", "## Measured", "", *measured, ""]) if measured else ""
    return f"{before}{BEGIN}\n{section}{END}{after}"


def lines(results: Path) -> Iterator[str]:
    for file in sorted(results.glob("operators-*.json")):
        yield from operator_lines(json.loads(file.read_text(encoding="utf-8")))
    demo = results / "demo.json"
    if demo.exists():
        yield from demo_lines(json.loads(demo.read_text(encoding="utf-8")))


def operator_lines(result: dict[str, Any]) -> Iterator[str]:
    """The machine, then how many times faster than its peer each operator is at each shape."""
    machine = result["machine"]
    yield (
        f"{machine['processor']}, {machine['instruction_set']}, {machine['threads']} thread(s), "
        f"{machine['clock']} clock, torch {machine['torch']}; matrix products "
        f"{machine['products']['float32']:.0f} GFLOP/s in float32 and "
        f"{machine['products']['bfloat16']:.0f} in bfloat16, copy {machine['copy']:.0f} GB/s. "
        "How many times faster than the peer:"
    )
    yield ""
    yield (
        "| operator | shape | "
        + " | ".join(f"{dtype} {direction}" for dtype, direction in COLUMNS)
        + " | peer | command |"
    )
    yield "| --- | --- | " + "---: | " * len(COLUMNS) + "--- | --- |"
    cells: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
    steps = []
    option = " --device cuda" if machine["clock"] == "device" else ""
    for row in result["rows"]:
        if row["operator"] in ("model", "slice"):
            steps.append(row)
        else:
            place = cells.setdefault((row["operator"], row["shape"], row["peer"]), {})
            place[row["dtype"], row["direction"]] = row["ratio"]
    for (operator, shape, peer), ratios in cells.items():
        figures = " | ".join(figure(ratios, *column) for column in COLUMNS)
        yield f"| {operator} | {shape} | {figures} | {peer} | `glm4v bench {operator.split()[-1]}{option}` |"
    yield ""
    if steps:
        yield from model_lines(steps, result.get("memory", []), option)


def figure(ratios: dict[tuple[str, str], float], dtype: str, direction: str) -> str:
    if (dtype, direction) in ratios:
        return f"{ratios[dtype, direction]:.1f}x"
    together = ratios.get((dtype, "forward and backward"))
    return f"{together:.2f}x together" if together and direction == "backward" else ""


def model_lines(steps: list[dict[str, Any]], memory: list[dict[str, Any]], option: str) -> Iterator[str]:
    yield "| model, same weights and data | ours | peer | | command |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for row in steps:
        times = f"{duration(row['seconds'])} | {duration(row['peer_seconds'])} | {row['ratio']:.2f}x"
        name = f"{row['direction']}: {row['shape']}, {row['dtype']}; peer: {row['peer']}"
        yield f"| {name} | {times} | `glm4v bench {row['operator']}{option}` |"
    for row in memory:
        sizes = f"{row['bytes'] / 1e9:.2f} GB | {row['peer_bytes'] / 1e9:.2f} GB | {row['ratio']:.2f} of it"
        yield f"| peak memory of a training step, {row['dtype']} | {sizes} | `glm4v bench model` |"
    yield ""


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.2f} ms"


def demo_lines(result: dict[str, Any]) -> Iterator[str]:
    """Held-out reward by stage: a row a seed, one for all, one a domain."""
    stages, deltas = list(result["all"]["stages"]), list(result["all"]["deltas"])
    yield (
        f"The demo (`glm4v bench demo`), {result['settings']['heldout']} held-out problems a domain and seed; control: "
        f"{result['settings']['control']}. Mean reward after each stage, and paired differences with 95% intervals:"
    )
    yield ""
    yield f"| | {' | '.join([*stages, *deltas])} |"
    yield "| --- | " + "---: | " * (len(stages) + len(deltas))
    parts = [(f"seed {seed}", part) for seed, part in result["seeds"].items()]
    for name, part in [*parts, ("all", result["all"])]:
        yield demo_line(name, part, lambda figures: figures)
    for domain in result["all"]["stages"]["sft"]["domains"]:
        yield demo_line(domain, result["all"], lambda figures, domain=domain: figures["domains"][domain])
    yield ""


def demo_line(name: str, part: dict[str, Any], of: Any) -> str:
    means = [f"{of(figures)['mean']:.3f}" for figures in part["stages"].values()]
    for figures in part["deltas"].values():
        low, high = of(figures)["ci95"]
        means.append(f"{of(figures)['mean']:+.3f} ({low:+.3f} to {high:+.3f})")
    return f"| {name} | {' | '.join(means)} |"


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    if "--check" not in sys.argv:
        (root / "README.md").write_text(update(root), encoding="utf-8")
    elif update(root) != (root / "README.md").read_text(encoding="utf-8"):
        sys.exit("README.md: its measured tables are not those of benchmarks/results; run: python benchmarks/readme.py")
