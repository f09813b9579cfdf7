"""reward-check: counts, disagreements, errors that name the line, the page and the command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from glm4v.cli import app
from glm4v.report import reward_check

RECORDS = [
    {"domain": "math", "prediction": "1/2", "truth": "0.5", "label": True},
    {"domain": "math", "prediction": "0.6", "truth": "0.5", "label": True},
    {"domain": "choice", "prediction": "B", "truth": "B", "question": "A. red B. blue", "accept": True},
    {"verifier": "ocr", "domain": "signs", "prediction": "OPEN", "truth": "OPEN", "score": [1, 1]},
    {"domain": "vqa", "response": "<think>hm</think><|begin_of_box|>Red<|end_of_box|>", "truth": "red"},
    {"domain": "vqa", "response": "red, without a box", "truth": "red", "label": False},
]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n", encoding="utf-8")
    return path


def test_what_each_answer_earns_and_whether_its_label_agrees(answers: Path) -> None:
    checked = reward_check.read(answers)
    assert [each.reward for each in checked] == [1.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    assert [each.agrees for each in checked] == [True, False, True, True, None, True]
    assert [each.domain for each in checked] == ["math", "math", "choice", "ocr", "vqa", "vqa"]


def test_the_page_shows_disagreements_and_needs_no_network(answers: Path) -> None:
    html = reward_check.html(reward_check.read(answers), "answers <of mine>")
    assert "answers &lt;of mine&gt;" in html
    assert "Rewards that are not what the label says: 1." in html
    assert "http" not in html


def test_the_command(answers: Path) -> None:
    result = CliRunner().invoke(app, ["reward-check", str(answers)])
    assert result.exit_code == 0, result.output
    assert "verifiers on these answers" in result.output
    assert answers.with_suffix(".html").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1: expected an object"),
        ('{"domain": "math", "truth": "1"}', 'line 1: neither "prediction" nor "response"'),
        ('{"domain": "maths", "truth": "1", "prediction": "1"}', "line 1: verifier: 'maths'"),
        ('{"domain": "gui", "truth": {}, "prediction": "back"}', "line 1: truth:"),
        ("", "no answers"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        reward_check.read(path)
