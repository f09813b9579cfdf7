"""When a run's metrics raise an alarm: a level that lasts, not a single step."""

import json
from pathlib import Path

import pytest

from glm4v.report.anomaly import LEVEL, WINDOW, alarms, warnings
from glm4v.report.run import Run, read_runs


def run_of(tmp_path: Path, **series: list[float | None]) -> Run:
    """None: not logged at that step."""
    rows = []
    for step in range(len(next(iter(series.values())))):
        row = {"step": step + 1, "time": 0.0, "verifier/rule/hit": 0.3}
        row |= {f"verifier/rule/{kind}": values[step] for kind, values in series.items() if values[step] is not None}
        rows.append(row)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_runs(tmp_path)[0]


@pytest.mark.parametrize("kind", ["differ", "shared"])
def test_a_level_is_told_with_its_step(tmp_path, kind):
    run = run_of(tmp_path, **{kind: [0.0] * 20 + [0.45] * 20})
    (alarm,) = alarms(run)
    assert (alarm.verifier, alarm.kind, alarm.step) == ("rule", kind, 22)  # a window with two such steps
    assert alarm.share == pytest.approx(2 * 0.45 / WINDOW)
    assert (alarm.hit_before, alarm.hit_after) == pytest.approx((0.3, 0.3))
    assert "<b>rule</b>" in warnings(run)
    assert "step 22" in warnings(run)


def test_steps_without_a_pair_are_passed_over(tmp_path):
    values: list[float | None] = [0.0] * 20 + [None, 0.45] * 10
    (alarm,) = alarms(run_of(tmp_path, differ=values))
    assert alarm.step == 24


@pytest.mark.parametrize(
    "values",
    [
        [0.9 * LEVEL] * 40,
        [0.0] * 20 + [0.7] + [0.0] * 20,  # one step
        [1.0] * (WINDOW - 1),  # too short to tell
    ],
)
def test_no_alarm(tmp_path, values):
    run = run_of(tmp_path, differ=values, shared=values)
    assert alarms(run) == []
    assert warnings(run) == ""
