"""What `glm4v bench` runs: a script an operator, whole models (bench_model) and the demo (bench_demo)."""

import json
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from glm4v.benchmarks import harness

SCRIPTS = {
    "rms_norm": "bench_rms_norm",
    "add_rms_norm": "bench_rms_norm",
    "sandwich_norm": "bench_rms_norm",
    "swiglu": "bench_swiglu",
    "rope_2d": "bench_rope",
    "rope_3d": "bench_rope",
    "add_position_embedding": "bench_position_embedding",
    "patchify": "bench_patchify",
    "patch_embed": "bench_patch_embed",
    "packed_attention": "bench_packed_attention",
    "paged_attention": "bench_paged_attention",
    "sample_tokens": "bench_sample_tokens",
    "linear": "bench_linear",
    "linear_cross_entropy": "bench_linear_cross_entropy",
    "model": "bench_model",
}


def run(names: Sequence[str] = (), out: Path | None = None) -> dict:
    """Measure what `names` says (operators, "model", "all"; none: all), print tables, write JSON.

    out: the file; without it all of them go into benchmarks/results/, some are printed only.
    Returns {"machine": .., "rows": [..], "memory": [..]}, the last where the model was measured.
    Raises ValueError for an unknown name.
    """
    scripts = scripts_of(names or ["all"])
    machine = harness.describe_machine()
    harness.print_machine(machine)
    rows: list[harness.Row] = []
    for script in scripts:
        rows += harness.run(script.removeprefix("bench_"), import_module(f"glm4v.benchmarks.{script}").cases(), machine)
    result = harness.as_json(machine, rows)
    if "bench_model" in scripts:
        from glm4v.benchmarks import bench_model

        result["memory"] = bench_model.memory()
    slower = [row for row in rows if row.ratio_high < 1]
    harness.console.print(f"{len(rows)} rows, slower than the peer: {len(slower)}")
    if out is None and len(scripts) == len(scripts_of(["all"])):
        out = Path(f"benchmarks/results/operators-{machine.instruction_set}.json")
    if out is not None:
        write(out, result)
    return result


def scripts_of(names: Iterable[str]) -> list[str]:
    """The scripts that `names` ask for, each once, in the order of SCRIPTS."""
    wanted = list(SCRIPTS) if "all" in names else list(names)
    unknown = [name for name in wanted if name not in SCRIPTS]
    if unknown:
        raise ValueError(f"{unknown[0]}: no such benchmark; expected all, demo or some of {', '.join(SCRIPTS)}")
    return list(dict.fromkeys(script for name, script in SCRIPTS.items() if name in wanted))


def write(out: Path, result: dict) -> None:
    """As JSON, a row a line, so that two results can be compared by eye."""
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [f'"machine": {json.dumps(result["machine"])}']
    for name in ("rows", "memory"):
        lines = ",\n  ".join(json.dumps(row) for row in result.get(name, []))
        parts += [f'"{name}": [\n  {lines}\n]'] if lines else []
    out.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    harness.console.print(f"written: {out}")
