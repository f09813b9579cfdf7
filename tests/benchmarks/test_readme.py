"""The README's measured table is what the results say, however often it is written."""

from pathlib import Path

import torch

from glm4v import benchmarks
from glm4v.benchmarks import harness, readme
from glm4v.benchmarks.harness import Case, Machine


def test_the_table_is_what_was_measured(tmp_path: Path):
    machine = Machine("a CPU", "avx2", 2, "wall", "2.13", copy=25.0, products={"float32": 134.0, "bfloat16": 19.0})
    text = f"before\n\n{readme.BEGIN}\n{readme.END}\n\nafter\n"
    (tmp_path / "README.md").write_text(text)
    assert readme.update(tmp_path) == text  # nothing measured: nothing said

    cases = [
        Case("rope_2d", direction, torch.float32, "9B", "torch", lambda: 1.0, lambda: 1.0, bytes=1.0)
        for direction in ("forward", "backward")
    ]
    rows = [harness.measure(case, machine, budget=0.0) for case in cases]
    step = Case("model", "training step", torch.float32, "8 images", "transformers", lambda: 1, lambda: 1, bytes=0.0)
    result = harness.as_json(machine, [*rows, harness.measure(step, machine, budget=0.0)])
    result["memory"] = [{"shape": "8 images", "dtype": "float32", "bytes": 1e9, "peer_bytes": 4e9, "ratio": 0.25}]
    benchmarks.write(tmp_path / "benchmarks" / "results" / "operators-avx2.json", result)
    written = readme.update(tmp_path)
    ratios = " | ".join(f"{row['ratio']:.1f}x" for row in result["rows"][:2])
    assert f"| rope_2d | 9B | {ratios} |  |  | torch | `glm4v bench rope_2d` |" in written
    assert "1.00 GB | 4.00 GB | 0.25 of it" in written
    assert "| training step: 8 images, float32; peer: transformers |" in written
    (tmp_path / "README.md").write_text(written)
    assert readme.update(tmp_path) == written
