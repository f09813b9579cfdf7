"""What the demo's reinforcement is worth: several seeds, many held-out problems, and an honest control.

The control is the SFT model trained on by SFT, on the same worked examples and by the recipe's own schedule, for as
many seconds as RLCS took. Every step that is finished is left alone when the benchmark is run again.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from glm4v import Glm4v, demo
from glm4v.benchmarks import harness
from glm4v.eval.summary import NORMAL_95, summarise
from glm4v.train import sft
from glm4v.train.run import Interrupted

STAGES = ("untrained", "pretrain", "sft", "rlcs", "control")
DELTAS = {"sft -> rlcs": ("sft", "rlcs"), "control -> rlcs": ("control", "rlcs")}
RESULT = Path("benchmarks/results/demo.json")
RUNS = Path("runs/bench_demo")
Records = list[dict[str, Any]]


def run(seeds: Sequence[int] = (0, 1, 2), heldout: int = 1000, out: Path = RESULT) -> dict[str, Any]:
    """Demos in runs/bench_demo/seed_<k> with `heldout` problems a domain; results into `out`, JSON, and as a table.

    Returns {"machine", "settings", "seeds": {seed: {"stages", "deltas", "seconds", "control_steps"}}, "all": stages and
    deltas over the problems of all seeds}. A mean has {"mean", "n", "ci95"} (Wilson over problems), whole, by domain
    and by "domain/tier"; a delta has the same of the paired differences (normal interval), whole and by domain.
    """
    records: dict[int, dict[str, Records]] = {}
    result: dict[str, Any] = {
        "machine": asdict(harness.describe_machine()),
        "settings": {"heldout": heldout, "control": "SFT on, by demo_sft's schedule, for the seconds of RLCS"},
        "seeds": {},
    }
    for seed in seeds:
        folder = RUNS / f"seed_{seed}"
        try:
            demo.run(folder, seed=seed, heldout=heldout, resume=True)
            steps = train_control(folder, seed)
        except KeyboardInterrupt:
            raise Interrupted("stopped; go on with the same command, such as: glm4v bench demo") from None
        records[seed] = {stage: read_records(folder, stage) for stage in STAGES}
        seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
        result["seeds"][str(seed)] = compare(records[seed]) | {"seconds": seconds, "control_steps": steps}
    result["all"] = compare({stage: [r for seed in seeds for r in records[seed][stage]] for stage in STAGES})
    harness.console.print(table(result))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(harness.rounded(result), indent=1) + "\n", encoding="utf-8")
    harness.console.print(f"written: {out}")
    return result


# the control --------------------------------------------------------------------------------------------------------


def train_control(folder: Path, seed: int) -> int:
    """Trains and evaluates the control in folder/control, unless it stands there; returns its steps."""
    steps = control_steps(folder)
    control = folder / "control"
    if not (control / "model").exists():
        demo.say(f"Control: SFT goes on for {steps} steps, the time that RLCS took.")
        overrides = [
            f"out={demo.HOME}/control", f"model.path={demo.HOME}/sft/model", f"seed={seed + 1000}",
            f"steps={steps}", f"resume={control.exists()}",
        ]  # fmt: skip
        with demo.timed(folder, "control"):
            sft.run(demo.recipe_of("sft", folder, overrides))
    demo.evaluate(folder, "control", lambda: Glm4v.from_pretrained(control / "model"))
    return steps


def control_steps(folder: Path) -> int:
    """How many steps SFT makes in the seconds that RLCS took, at the speed at which it went."""
    seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    steps = len((folder / "sft" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return max(1, round(steps * seconds["rlcs"] / seconds["sft"]))


# figures ------------------------------------------------------------------------------------------------------------


def read_records(folder: Path, stage: str) -> Records:
    lines = (folder / "eval" / stage / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: record[key] for key in ("id", "domain", "tier", "reward")} for record in map(json.loads, lines)]


def compare(stages: dict[str, Records]) -> dict[str, Any]:
    return {
        "stages": {stage: summarise(records) for stage, records in stages.items()},
        "deltas": {name: paired(stages[before], stages[after]) for name, (before, after) in DELTAS.items()},
    }


def paired(before: Records, after: Records) -> dict[str, Any]:
    """Mean differences of reward on the same problems, whole and by domain, with normal 95% intervals."""
    differences: dict[str, list[float]] = {}
    for a, b in zip(before, after, strict=True):
        if a["id"] != b["id"]:
            raise ValueError(f"predictions: problem {a['id']} is compared with {b['id']}; delete eval/ and run again")
        differences.setdefault(a["domain"], []).append(b["reward"] - a["reward"])
    whole = [d for values in differences.values() for d in values]
    return interval(whole) | {"domains": {domain: interval(values) for domain, values in sorted(differences.items())}}


def interval(values: Sequence[float]) -> dict[str, Any]:
    mean = fmean(values)
    variance = sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
    half = NORMAL_95 * math.sqrt(variance / len(values))
    return {"mean": mean, "n": len(values), "ci95": [mean - half, mean + half]}


def table(result: dict[str, Any]) -> Table:
    """A row a seed and domain: means by stage, then the deltas with their intervals."""
    grid = Table(title="held-out reward", title_justify="left", caption="intervals: 95%, over problems")
    grid.add_column("")
    for name in (*STAGES, *DELTAS):
        grid.add_column(name, justify="right")
    for name, part in (*((f"seed {seed}", part) for seed, part in result["seeds"].items()), ("all", result["all"])):
        grid.add_row(name, *cells(part, None), style="bold" if name == "all" else "")
    grid.add_section()
    for domain in result["all"]["stages"]["sft"]["domains"]:
        grid.add_row(domain, *cells(result["all"], domain))
    return grid


def cells(part: dict[str, Any], domain: str | None) -> Iterator[str]:
    of = lambda figures: figures if domain is None else figures["domains"][domain]
    for stage in STAGES:
        yield f"{of(part['stages'][stage])['mean']:.3f}"
    for name in DELTAS:
        delta = of(part["deltas"][name])
        yield f"{delta['mean']:+.3f} ({delta['ci95'][0]:+.3f} .. {delta['ci95'][1]:+.3f})"
