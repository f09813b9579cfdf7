"""What `glm4v bench` runs: a script an operator, whole models (bench_model), how costs grow (bench_growth), the demo
(bench_demo), and the reward system on its corpus (bench_rewards).
"""

import json
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

import torch

from glm4v.benchmarks import bench_growth, harness
from glm4v.ops.library import native

GROWTH = "growth"
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
    "slice": "bench_slice",
}
ON_CPU, ON_GPU = {"model"}, {"slice"}  # what "all" leaves out elsewhere


def run(
    names: Sequence[str] = (),
    out: Path | None = None,
    compare: Path | None = None,
    plot: Path | None = None,
    device: str = "cpu",
) -> dict:
    """Measure what `names` says (operators, "model", "growth", "all"; none: all), print tables, write JSON.

    out: the JSON file; without it all of them go into benchmarks/results/, some are printed only. compare: an earlier
    JSON file, whose times are shown beside the new ones. plot: an HTML file of all figures. device: "cpu", or "cuda":
    on a GPU shapes are larger, and a slice of the 9B model takes the place of "model" and "growth".
    Returns {"machine": .., "rows": [..], "memory": [..], "growth": [..]}; memory where the model was measured.
    Raises ValueError for an unknown name, FileNotFoundError for a missing file to compare with.
    """
    with torch.device(device):
        return _run(names or ["all"], out, compare, plot)


def _run(names: Sequence[str], out: Path | None, compare: Path | None, plot: Path | None) -> dict:
    earlier = json.loads(compare.read_text(encoding="utf-8")) if compare else None
    scripts = scripts_of(names)
    native.keep_freed_memory()
    machine = harness.describe_machine()
    harness.print_machine(machine)
    if out is None and "all" in names:
        name = machine.processor.lower().replace(" ", "-") if harness.on_gpu() else machine.instruction_set
        out = Path(f"benchmarks/results/operators-{name}.json")
    rows: list[harness.Row] = []
    result: dict = {}

    def keep(**parts: list) -> None:
        """Writes what is known so far: a run that is cut short leaves it."""
        result.update(harness.as_json(machine, rows), **parts)
        if out is not None:
            write(out, result)

    for script in scripts:
        rows += harness.run(script.removeprefix("bench_"), import_module(f"glm4v.benchmarks.{script}").cases(), machine)
        keep()
    if "bench_model" in scripts:
        from glm4v.benchmarks import bench_model

        keep(memory=bench_model.memory())
    if GROWTH in names or ("all" in names and not harness.on_gpu()):
        curves = list(bench_growth.curves())
        harness.console.print(bench_growth.table(curves))
        keep(growth=bench_growth.as_json(curves))
    slower = [row for row in rows if row.ratio_high < 1]
    harness.console.print(f"{len(rows)} rows, slower than the peer: {len(slower)}")
    if out is not None:
        harness.console.print(f"written: {out}")
    if earlier:
        harness.console.print(harness.compare(result, earlier))
    if plot is not None:
        from glm4v.benchmarks.plot import draw

        plot.write_text(draw(result), encoding="utf-8")
        harness.console.print(f"written: {plot}")
    return result


def scripts_of(names: Iterable[str]) -> list[str]:
    """The scripts that `names` ask for, each once, in the order of SCRIPTS."""
    elsewhere = ON_CPU if harness.on_gpu() else ON_GPU
    everything = [name for name in SCRIPTS if name not in elsewhere]
    wanted = everything if "all" in names else [name for name in names if name != GROWTH]
    unknown = [name for name in wanted if name not in SCRIPTS]
    if unknown:
        raise ValueError(
            f"{unknown[0]}: no such benchmark; "
            f"expected all, demo, growth, curriculum, rewards or some of {', '.join(SCRIPTS)}"
        )
    return list(dict.fromkeys(script for name, script in SCRIPTS.items() if name in wanted))


def write(out: Path, result: dict) -> None:
    """As JSON, a row a line, so that two results can be compared by eye."""
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [f'"machine": {json.dumps(result["machine"])}']
    for name in ("rows", "memory", "growth"):
        lines = ",\n  ".join(json.dumps(row) for row in result.get(name, []))
        parts += [f'"{name}": [\n  {lines}\n]'] if lines else []
    out.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
