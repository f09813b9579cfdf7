"""What all verifiers share: the guards, the reasons, the known ways to cheat, and hostile input."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v.rewards import VERIFIERS, assess, explain, load_reward, verify
from glm4v.rewards.text import unwrap

# domain: a truth, its question, and an answer that is right
EXAMPLES: dict[str, tuple[object, str, str]] = {
    "biology": ("mitochondrion", "Which organelle makes most of the ATP?", "mitochondria"),
    "chemistry": ("H2SO4", "What is the formula of sulfuric acid?", "H₂SO₄"),
    "geography": ("Côte d'Ivoire", "Which country is shaded on the map?", "Ivory Coast"),
    "liberal_arts": ("1914", "In which year did the war begin?", "in 1914"),
    "mmsi": ("northwest", "In which direction is the shelf?", "NW"),
    "multi_image": ("image 2", "Which image shows a cat?", "the second image"),
    "physics": ("5.0 N", "What net force acts on the block?", "0.0050 kN"),
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
MOST = {"ocr": 0.3, "grounding": 0.1}  # reading is alike by chance up to 0.3
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
PIECES = [
    *(
        "0",
        "7",
        "-3.5",
        "1/2",
        "½",
        "10^6",
        "2x",
        "x^2",
        "√",
        "\\frac{1}{2}",
        "\\sqrt{",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        "|",
        "=",
        "<",
        "≥",
    ),
    *(
        "π",
        "°",
        "′",
        "%",
        "$",
        "€",
        "kg",
        "m/s²",
        "·",
        "×",
        "N",
        "℃",
        "万",
        "三",
        "百分之",
        "第二",
        "图3",
        "五个",
        "是",
        "不是",
        "或",
    ),
    *(
        "H2O",
        "Na+",
        "SO4^{2-}",
        "→",
        "⇌",
        "+ O2",
        "(aq)",
        "iron(III) chloride",
        "^{14}C",
        "[Ne] 3s1",
        "±",
        "∞",
        "∪",
        "∈",
        "∅",
    ),
    *(
        "1:30 PM",
        "March 14, 2015",
        "the 1960s",
        "18th century BC",
        "40° N, 116° E",
        "1:50,000",
        "the",
        "is",
        "so",
        "because",
        "and",
    ),
    *(
        "(1)",
        "(2)",
        "①",
        "A.",
        "B",
        "C. red",
        "yes",
        "no",
        "not",
        "or",
        "maybe",
        "\n",
        ";",
        ":",
        "\\boxed{",
        "**",
        "```",
        "the second image",
    ),
    *(
        "click(1, 2)",
        '{"action": "click"',
        "[1, 2, 3, 4]",
        "to the left",
        "Johann Sebastian Bach",
        "Louis XIV",
        "北偏东30°",
        "△ABC",
        "≅",
    ),
]
TRUTHS: dict[str, list[object]] = {
    "grounding": [{"boxes": [[1, 2, 3, 4]]}, {"boxes": [[1, 2, 3, 4], [10, 20, 30, 40]]}],
    "gui": [{"action": "type", "text": "a"}, {"action": "drag", "from": [0, 0, 9, 9], "to": [5, 5, 50, 50]}],
    "video_time": ["1:30", "0", "2.5"],
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
    limit = MOST.get(domain, 0.0)
    for asked in (question, None):
        verdict = assess(domain, text, truth, asked)
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
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_mixture_of_what_answers_are_made_of(domain: str, data: st.DataObject) -> None:
    """Pieces of real answers in any order reach deeper than random characters: never an exception, always in [0, 1]."""
    truth, question, right = EXAMPLES[domain]
    pieces = st.sampled_from([*PIECES, right, str(truth), question])
    text = data.draw(st.lists(pieces, max_size=12).map(data.draw(st.sampled_from(["", " ", ", "])).join))
    other = data.draw(st.sampled_from(TRUTHS.get(domain, PIECES)))
    assert 0.0 <= verify(domain, text, truth, question) <= 1.0
    assert 0.0 <= verify(domain, text, other, data.draw(st.sampled_from([question, text, None]))) <= 1.0


@pytest.mark.parametrize("domain", ["math", "physics", "chemistry", "geography", "vqa"])
@settings(max_examples=60, deadline=None)
@given(text=st.lists(st.sampled_from("0123456789.-+*/^()=,xyπ√ mkgs°%HOCNa"), min_size=1, max_size=14).map("".join))
def test_what_is_written_alike_is_the_same(domain: str, text: str) -> None:
    """A truth earns 1 as its own answer, whatever it is, unless it is empty once its typography is taken off."""
    if unwrap(text):
        assert verify(domain, text, text) == 1.0


@given(st.integers(-999, 999), st.integers(1, 60), st.integers(-999, 999), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_numbers_are_equal_both_ways_or_neither(a: int, b: int, c: int, d: int) -> None:
    one, other = f"{a}/{b}", f"{c}/{d}"
    assert verify("math", one, other) == verify("math", other, one) == float(a * d == c * b)


@pytest.mark.parametrize("domain", sorted(VERIFIERS))
def test_a_missing_answer_earns_nothing(domain: str) -> None:
    truth, question, _ = EXAMPLES[domain]
    assert verify(domain, None, truth, question) == 0.0
    assert "no answer" in explain(domain, None, truth, question)


def test_64_kilobytes_are_counted_in_bytes() -> None:
    assert "64 KB" in explain("ocr", "好" * 30_000, "好" * 30_000)
    assert verify("ocr", "好" * 10_000, "好" * 10_000) == 1.0


def test_an_unknown_domain_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'maths', expected one of biology, .*yes_no, or package\.module:function"):
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
