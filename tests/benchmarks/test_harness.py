"""Benchmarks measure the same work on both sides, and say what they measured."""

import json
from importlib import import_module

import pytest
import torch

from glm4v import benchmarks
from glm4v.benchmarks import bench_linear_cross_entropy, bench_packed_attention, bench_sample_tokens, harness, shapes
from glm4v.benchmarks.harness import Case, Machine, both_directions

MACHINE = Machine(
    "a CPU", "portable", 1, "wall", torch.__version__, copy=10.0, products={"float32": 100.0, "bfloat16": 20.0}
)
SCRIPTS = [script for script in benchmarks.scripts_of(["all"]) if script != "bench_model"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's sizes alone, on few tokens."""
    sizes = shapes.Sizes(**{**vars(shapes.DEMO), "tokens": 64, "grids": ((1, 4, 6), (1, 2, 2))})
    monkeypatch.setattr(shapes, "MODELS", (sizes,))
    monkeypatch.setattr(bench_packed_attention, "MIXES", (("text", 6, 2, 32, (5, 40), True),))
    monkeypatch.setattr(bench_linear_cross_entropy, "SHAPES", (("head", 16, 24, 50),))
    monkeypatch.setattr(bench_sample_tokens, "SHAPES", (("head", 4, 50, 1.0, 0.9), ("greedy", 4, 50, 0.0, 1.0)))


def flat(result: object) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else list(result)  # type: ignore[call-overload]


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_sides_do_the_same_work(small, script):
    torch.manual_seed(0)
    cases = list(import_module(f"glm4v.benchmarks.{script}").cases())
    assert cases
    for case in cases:
        ours, theirs = flat(case.ours()), flat(case.theirs())
        tolerance = 0.05 if case.dtype == torch.bfloat16 else 1e-3
        for a, b in zip(ours, theirs, strict=True):
            scale = max([1.0, *b.abs().flatten().tolist()])
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale, msg=lambda m, case=case: f"{case}: {m}")
        assert case.bytes > 0


def test_a_row_pairs_the_times_and_knows_the_ceiling(monkeypatch):
    monkeypatch.setattr(harness, "timed", lambda work, calls: work())
    case = Case("op", "forward", torch.float32, "s", "peer", lambda: 2.0, lambda: 5.0, bytes=10e9, flops=50e9)
    row = harness.measure(case, MACHINE)
    assert (row.seconds, row.peer_seconds, row.ratio, row.ratio_low, row.ratio_high) == (2.0, 5.0, 2.5, 2.5, 2.5)
    assert row.share_of_ceiling == 0.5  # 10 GB at 10 GB/s take a second
    in_bfloat16 = harness.measure(Case(**{**vars(case), "dtype": torch.bfloat16, "flops": 400e9}), MACHINE)
    assert in_bfloat16.share_of_ceiling == 2.0  # bfloat16 may be widened: the better rate is the ceiling


def test_the_backward_case_gives_the_gradients():
    x = torch.ones(3)
    double, square = (lambda x: x * 2), (lambda x: x**2)
    forward, backward = both_directions("op", "s", "peer", double, square, [x], (1, 1))
    assert torch.equal(forward.ours(), 2 * x)
    [ours], [theirs] = backward.ours(), backward.theirs()
    assert torch.allclose(ours, theirs)
    assert torch.equal(ours, backward.ours()[0])  # again, on the same graph


def test_results_are_written_a_row_a_line(tmp_path):
    case = Case("op", "forward", torch.float32, "s", "peer", lambda: None, lambda: None, bytes=1.0)
    result = harness.as_json(MACHINE, [harness.measure(case, MACHINE, budget=0.0)] * 2)
    benchmarks.write(tmp_path / "new" / "result.json", result)
    text = (tmp_path / "new" / "result.json").read_text()
    assert json.loads(text) == result
    assert sum('"operator": "op"' in line for line in text.splitlines()) == 2


def test_names_are_checked():
    assert benchmarks.scripts_of(["rope_3d", "rms_norm", "rope_2d"]) == ["bench_rms_norm", "bench_rope"]
    with pytest.raises(ValueError, match="softmax: no such benchmark"):
        benchmarks.scripts_of(["softmax"])


def test_durations_are_readable():
    assert [harness.duration(s) for s in (2.5, 0.0123, 4.56e-5)] == ["2.5 s", "12.3 ms", "45.6 us"]
