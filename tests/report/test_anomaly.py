"""When a run's metrics raise an alarm: a rise over its own start, not a level, and not a single step."""

import json
from pathlib import Path

import pytest

from glm4v.report.anomaly import LEVEL, RISE, WINDOW, alarms, warnings
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


def test_a_rise_is_told_with_its_step(tmp_path):
    run = run_of(tmp_path, differ=[0.0] * 20 + [1.0] * 20)
    (alarm,) = alarms(run)
    assert (alarm.verifier, alarm.kind, alarm.before) == ("rule", "differ", 0.0)
    assert alarm.after == pytest.approx(2 / WINDOW)  # two steps of the window are enough for more than RISE
    assert alarm.step == 22
    assert (alarm.hit_before, alarm.hit_after) == pytest.approx((0.3, 0.3))
    assert "<b>rule</b>" in warnings(run)
    assert "step 22" in warnings(run)


def test_one_answer_to_different_truths_is_suspicious_from_the_start(tmp_path):
    (alarm,) = alarms(run_of(tmp_path, shared=[1.5 * LEVEL] * WINDOW))
    assert (alarm.kind, alarm.step) == ("shared", WINDOW)
    assert alarms(run_of(tmp_path, shared=[0.9 * LEVEL] * 40)) == []


def test_steps_without_a_pair_are_passed_over(tmp_path):
    values: list[float | None] = [0.1] * 20 + [None, 0.9] * 10
    (alarm,) = alarms(run_of(tmp_path, differ=values))
    assert alarm.kind == "differ"
    assert alarm.step == 26  # the third of such a value: two are a rise of RISE, not more


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 40,  # a verifier with a tolerance, from the start
        [0.0] * 20 + [1.0] + [0.0] * 20,  # one step
        [0.1 + 0.9 * RISE * step / 40 for step in range(40)],
        [0.0] * 2 + [1.0] * (WINDOW - 3),  # too short to tell
        [0.9] * 20 + [0.0] * 20,
    ],
)
def test_no_alarm(tmp_path, values):
    run = run_of(tmp_path, differ=values)
    assert alarms(run) == []
    assert warnings(run) == ""
