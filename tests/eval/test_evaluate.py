"""A model that knows some problems by heart is asked all of them."""

import json
from pathlib import Path

import pytest

from glm4v.data import Processor
from glm4v.data.files import Problems
from glm4v.eval import Evaluation, evaluate
from glm4v.model import Glm4v


@pytest.fixture(scope="module")
def evaluation(model: Glm4v, processor: Processor, problems: Problems) -> Evaluation:
    return evaluate(model, processor, problems, max_new_tokens=24, batch=4)


def test_what_is_known_is_right_and_the_rest_is_not(evaluation: Evaluation, problems: Problems) -> None:
    assert [record["id"] for record in evaluation.records] == [problem.id for problem in problems]
    means = {name: cell["mean"] for name, cell in evaluation.summary["domains"].items()}
    assert means["digits"] == 1.0
    assert means["sums"] == 0.0
    for record in evaluation.records:
        if record["domain"] == "digits":
            assert record["prediction"] == record["truth"]
            assert record["response"].startswith("<think>a strip</think>")
        if record["domain"] == "sums":
            assert record["prediction"] is None
            assert record["reason"] == "no answer: the thinking is not closed"


def test_files(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = evaluation.write(tmp_path / "eval")
    assert json.loads((folder / "summary.json").read_text()) == evaluation.summary
    records = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(records) == len(evaluation.records)
    for record in records:
        assert len(record["images"]) == 1 or record["domain"] == "video_time"
        assert all((folder / image).is_file() for image in record["images"])
    assert len(records[2]["images"]) > 1


def test_a_thinking_budget_forces_an_answer(model: Glm4v, processor: Processor, problems: Problems) -> None:
    forced = evaluate(model, processor, problems, max_new_tokens=24, thinking_budget=2, limit=2)
    assert len(forced.records) == 2
    assert "</think><answer>" in forced.records[1]["response"]


def test_progress_and_limit(model: Glm4v, processor: Processor, problems: Problems) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(
        model, processor, problems, max_new_tokens=2, batch=2, limit=3, on_progress=lambda *call: calls.append(call)
    )
    assert calls == [(2, 3), (3, 3)]


def test_no_problems_is_an_error(model: Glm4v, processor: Processor, problems: Problems) -> None:
    with pytest.raises(ValueError, match="problems: 0"):
        evaluate(model, processor, problems, max_new_tokens=2, limit=0)
    with pytest.raises(ValueError, match="batch: 0"):
        evaluate(model, processor, problems, max_new_tokens=2, batch=0)
