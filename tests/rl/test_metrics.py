"""The figures of a step, and the responses that people read."""

from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v.data.files import Problem
from glm4v.rl.curriculum import Curriculum
from glm4v.rl.metrics import contradictions, curriculum_metrics, panel, rollout_metrics
from glm4v.rl.rollout import Group, Response

CELLS = [("sums", "1"), ("gui", "2"), ("sums", "2")]


def response(
    reward: float, length: int, forced: int = 0, truncated: bool = False, answer: str | None = "x"
) -> Response:
    marks = tuple(place < forced for place in range(length))
    return Response((1,) * length, (0.0,) * length, marks, f"reward {reward}", truncated, reward, answer, "because")


def problem(domain: str) -> Problem:
    return Problem("id", [{"role": "user", "content": "what?"}], "t", domain, f"{domain}_rule", "1", Path(), "k")


@pytest.fixture
def groups():
    return [
        Group(0, 5, (response(1.0, 4), response(0.0, 8, truncated=True, answer=None))),
        Group(1, 5, (response(0.4, 6, forced=2), response(0.4, 2))),
        Group(2, 5, (response(0.0, 4), response(1.0, 6))),
    ]


def test_rollout_metrics(groups):
    metrics = rollout_metrics(groups, CELLS, [problem(domain) for domain, _ in CELLS])
    assert metrics["reward"] == pytest.approx(2.8 / 6)
    assert metrics["reward/sums"] == 0.5
    assert metrics["reward/sums/1"] == 0.5
    assert metrics["reward/gui/2"] == 0.4
    assert metrics["verifier/sums_rule/hit"] == 0.5
    assert metrics["verifier/sums_rule/no_answer"] == 0.25
    assert metrics["verifier/gui_rule/hit"] == 0.0  # 0.4 is not accepted
    assert metrics["response_length"] == 5
    quantiles = [metrics[f"response_length_{name}"] for name in ("p10", "p50", "p90", "max")]
    assert quantiles == [2, 4, 6, 8]
    assert metrics["forced_share"] == metrics["truncated_share"] == pytest.approx(1 / 6)


def test_contradictions():
    def answered(truth: Any, *responses: tuple[str | None, float]):
        group = Group(0, 5, tuple(response(reward, 4, answer=answer) for answer, reward in responses))
        return group, Problem("id", [{"content": "?"}], truth, "sums", "math", "1", Path(), "k")

    precise = [answered("0.5", ("1/2", 1.0), (" 0.5", 1.0), ("4", 0.0)), answered("1/2", ("1/2", 1.0), ("1/2", 1.0))]
    assert contradictions(precise, "math") == {"differ": 0.0, "shared": 0.0}
    careless = [answered("3", ("3", 1.0), ("1 2 3", 1.0), ("1 2 3", 1.0)), answered("2", ("1 2 3", 1.0), (None, 0.0))]
    assert contradictions(careless, "math") == {"differ": pytest.approx(2 / 3), "shared": pytest.approx(2 / 3)}
    assert contradictions(careless, f"{__name__}:holds")["differ"] == pytest.approx(2 / 3)  # by its own judgement
    same_truth = [answered("3", ("3", 1.0)), answered("3", ("3", 1.0), ("4", 0.9))]
    assert contradictions(same_truth, "math") == {}
    assert contradictions([answered("3", ("3", 1.0), ("4", 1.0))], f"{__name__}:raises") == {"differ": 0.0}
    assert contradictions([answered({"box": [0, 0, 9, 9]}, ("click(1,1)", 1.0), ("click(2,2)", 1.0))], "gui") == {}


def holds(prediction: str, truth: str, question: str | None) -> float:
    return float(truth in prediction)


def raises(prediction: str, truth: str, question: str | None) -> float:
    raise KeyError(truth)


def test_curriculum_metrics():
    curriculum = Curriculum([("sums", "1")] * 30 + [("gui", "2")] * 10)
    curriculum.update(range(4), torch.ones(4, 8))
    metrics = curriculum_metrics(curriculum)
    assert metrics["pass_rate/sums/1"] == pytest.approx(33 / 34)
    assert metrics["pass_rate/gui/2"] == 0.5
    assert metrics["pass_rate"] == pytest.approx(0.75 * 33 / 34 + 0.25 * 0.5)
    assert metrics["weight/sums/1"] + metrics["weight/gui/2"] == pytest.approx(1)


def test_panel_shows_the_best_and_the_worst_of_each_domain(groups):
    records = list(panel(groups, CELLS, [problem(domain) for domain, _ in CELLS]))
    assert [(record["domain"], record["reward"]) for record in records] == [("sums", 1.0), ("sums", 0.0), ("gui", 0.4)]
    assert records[0]["group_rewards"] == [1.0, 0.0]
    assert records[0]["response"] == "reward 1.0"
    assert all(record["reason"] == "because" for record in records)
