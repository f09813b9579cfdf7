"""What all verifiers share: the guards, the reasons, the known ways to cheat, and hostile input."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v.rewards import VERIFIERS, explain, judge, load_reward, verify

# domain: a truth, its question, and an answer that is right
EXAMPLES: dict[str, tuple[object, str, str]] = {
    "chart": ("45%", "What share of sales was online in 2020?", "45%"),
    "choice": ({"answer": "B", "options": {"A": "red", "B": "blue"}}, "Which colour is it? A. red B. blue", "B"),
    "counting": ("3", "How many red circles are there?", "3"),
    "grounding": ("[[100, 200, 400, 500]]", "Where is the red circle?", "[[100, 200, 400, 500]]"),
    "gui": ({"action": "click", "box": [100, 200, 400, 500]}, "Click the OK button.", "click(250, 350)"),
    "math": ("8", "What is 3+5?", "8"),
    "ocr": ("Fresh bread daily", "What does the sign say?", "Fresh bread daily"),
    "video_time": ("4", "At which second does the ball appear?", "4"),
    "vqa": ("gray", "What colour is the square?", "grey"),
    "yes_no": ("yes", "Is there a dog in the picture?", "Yes"),
}
GRADED = {"ocr", "grounding"}
ATTACKS: dict[str, object] = {
    "empty": "",
    "blank": " \n\t ",
    "enormous": "8 " * 40_000,
    "long": "ab " * 20_000,
    "question": lambda truth, question, right: question,
    "question and answer": lambda truth, question, right: f"{question} {right}" * 2,
    "several answers": lambda truth, question, right: f"{right} or {right}",
    "a list of answers": lambda truth, question, right: f"{right}, 1, 2, 3, 4, 5, 6, 7, 8, 9, red, blue",
    "a range": "between 0 and 10",
    "a range of numbers": "0-100",
    "everything boxed": "[[0, 0, 1000, 1000]]",
    "a reversed box": "[[400, 500, 100, 200]]",
    "thousands of boxes": "[" + ", ".join(f"[{x}, {x}, {x + 9}, {x + 9}]" for x in range(2000)) + "]",
    "boxes beyond the picture": "[[-5000, -5000, 9999, 9999]]",
    "the whole screen": "click(0, 0, 1000, 1000)",
    "two clicks": "click(250, 350) click(700, 700)",
    "an expression that never ends": "9^" * 5000 + "9",
    "nesting": "(" * 20_000,
    "brackets": "[" * 20_000,
    "not a number": "NaN",
    "infinity": "inf",
    "code": "__import__('os').system('true')",
    "zero width": lambda truth, question, right: f"\u200b{right}",
    "direction mark": lambda truth, question, right: f"\u202e{right}",
    "nested box": lambda truth, question, right: f"<|begin_of_box|>{right}<|end_of_box|>",
    "template": "{answer} %s {0.__class__}",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("domain", sorted(VERIFIERS))
def test_the_right_answer_is_right(domain: str) -> None:
    truth, question, right = EXAMPLES[domain]
    assert verify(domain, right, truth, question) == 1.0
    assert verify(domain, right, truth) == 1.0


@pytest.mark.parametrize("attack", sorted(ATTACKS))
@pytest.mark.parametrize("domain", sorted(VERIFIERS))
def test_no_known_cheat_pays(domain: str, attack: str) -> None:
    truth, question, right = EXAMPLES[domain]
    answer = ATTACKS[attack]
    text = answer(truth, question, right) if callable(answer) else answer
    limit = 0.1 if domain in GRADED else 0.0
    for asked in (question, None):
        verdict = judge(domain, text, truth, asked)
        assert verdict.reward <= limit, verdict.reason
        assert verdict.reason
        assert "\n" not in verdict.reason


@pytest.mark.parametrize("domain", sorted(VERIFIERS))
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_gets_a_reward_between_0_and_1(domain: str, text: str) -> None:
    truth, question, _ = EXAMPLES[domain]
    assert 0.0 <= verify(domain, text, truth, question) <= 1.0


@pytest.mark.parametrize("domain", sorted(VERIFIERS))
def test_a_missing_answer_earns_nothing(domain: str) -> None:
    truth, question, _ = EXAMPLES[domain]
    assert verify(domain, None, truth, question) == 0.0
    assert "no answer" in explain(domain, None, truth, question)


def test_64_kilobytes_are_counted_in_bytes() -> None:
    assert "64 KB" in explain("ocr", "好" * 30_000, "好" * 30_000)
    assert verify("ocr", "好" * 10_000, "好" * 10_000) == 1.0


def test_an_unknown_domain_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'maths', expected one of chart, .*yes_no, or package\.module:function"):
        verify("maths", "1", "1")


def test_a_users_own_verifier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own_rewards.py").write_text(
        "def near(prediction, truth, question):\n    return float(abs(int(prediction) - int(truth)) <= 1)\n"
        "def generous(prediction, truth, question):\n    return 7.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert verify("own_rewards:near", "4", "5") == 1.0
    assert load_reward("own_rewards:near")("3", "5", None).reward == 0.0
    assert "own_rewards:near" in explain("own_rewards:near", "4", "5")
    with pytest.raises(ValueError, match=r"returned 7\.0"):
        verify("own_rewards:generous", "4", "5")
    with pytest.raises(ValueError, match="cannot be imported"):
        verify("own_rewards:absent", "4", "5")
