"""Benchmarks measure the same work on both sides, and say what they measured."""

import json
import resource
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from rich.console import Console

from glm4v import benchmarks
from glm4v.benchmarks import (
    bench_growth,
    bench_linear_cross_entropy,
    bench_packed_attention,
    bench_sample_tokens,
    harness,
    plot,
    shapes,
)
from glm4v.benchmarks.harness import Case, Machine, both_directions
from glm4v.ops.library import native

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
    for shapes_of in ("SHAPES", "PRODUCTS"):
        monkeypatch.setattr(bench_linear_cross_entropy, shapes_of, (("head", 16, 24, 50),))
    monkeypatch.setattr(bench_sample_tokens, "SHAPES", (("head", 4, 50, 1.0, 0.9), ("greedy", 4, 50, 0.0, 1.0)))


def flat(result: object) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else list(result)  # type: ignore[call-overload]


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_sides_do_the_same_work(small, script):
    torch.manual_seed(0)
    cases = list(import_module(f"glm4v.benchmarks.{script}").cases())
    assert cases
    for case in cases:
        if case.direction == bench_linear_cross_entropy.TOGETHER:
            case.ours(), case.theirs()  # the peer does a part of the work only
            continue
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


def test_memory_counts_what_is_held_at_the_most():
    held = harness.extra_memory(lambda: torch.ones(5_000_000).sum())
    kept = harness.extra_memory(lambda: torch.zeros(1))
    assert held is not None
    assert 19e6 < held < 30e6  # whole pages, and what torch takes beside
    assert kept is not None
    assert kept < 5e6


def test_freed_memory_stays():
    assert native.keep_freed_memory()
    torch.ones(50_000_000)  # freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(50_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000  # its pages would be 48,828


def row(seconds: float, shape: str = "s") -> harness.Row:
    return harness.Row("op", "forward", "float32", shape, "peer", seconds, 1.0, 1 / seconds, 1, 1, 0.5, 1.0, 0.0, 1, 1)


def test_an_earlier_result_is_compared():
    earlier = harness.as_json(MACHINE, [row(0.5), row(0.5, "gone")])
    now = harness.as_json(replace(MACHINE, threads=2), [row(0.25), row(0.25, "new")])
    console = Console(width=160, record=True)
    console.print(harness.compare(now, earlier))
    text = console.export_text()
    assert "measured under another: threads" in text
    assert text.count("2.00x") == 2  # half the time; the peer's ratio went from 2 to 4
    assert "gone" not in text
    assert "new" not in text


def test_growth_tells_how_far_a_curve_is_off_its_work():
    curve = bench_growth.Curve("op", "tokens", [1, 2, 4], [1.0, 2.0, 4.0], [1.0, 2.0, 6.0])
    assert curve.deviation == 0.5
    assert bench_growth.as_json([curve])[0]["deviation"] == 0.5


@pytest.mark.parametrize("works", [bench_growth.of_tokens, bench_growth.of_patches])
def test_growth_runs_every_operator(works):
    assert [work() for _, work in works(16)]


def test_the_page_shows_every_row_and_curve():
    curve = bench_growth.Curve("swiglu", "tokens", [1, 2], [1.0, 2.0], [1.0, 2.0])
    result = harness.as_json(MACHINE, [row(0.5), row(2.0)]) | {"growth": bench_growth.as_json([curve])}
    html = plot.draw(result)
    assert html.count("<tr><td>forward") == 2
    assert html.count('class="slow"') == 1
    assert "swiglu over tokens" in html
    assert "http" not in html


def test_names_are_checked():
    assert benchmarks.scripts_of(["rope_3d", "rms_norm", "rope_2d"]) == ["bench_rms_norm", "bench_rope"]
    with pytest.raises(ValueError, match="softmax: no such benchmark"):
        benchmarks.scripts_of(["softmax"])


def test_durations_are_readable():
    assert [harness.duration(s) for s in (2.5, 0.0123, 4.56e-5)] == ["2.5 s", "12.3 ms", "45.6 us"]
