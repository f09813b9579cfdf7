"""Any answer at all: no exception, a reward in [0, 1], and soon; the same both ways round where order says nothing."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v.rewards import VERIFIERS, Truth, extract_answer, verify
from glm4v.rewards.text import unwrap

PATIENCE = 0.2  # seconds for one answer of any length, of the process, not of the clock
TRUTHS: dict[str, tuple[Truth, ...]] = {
    "choice": ("B", "A, C"),
    "counting": ("5", "(1) 3; (2) 4"),
    "grounding": ({"boxes": [[10, 20, 300, 400]]},),
    "gui": ({"action": "click", "box": [10, 20, 300, 400]}, {"action": "type", "text": "hello"}),
    "ocr": ("No Parking",),
    "video_time": ("65",),
    "yes_no": ("yes", "否"),
}
OTHERS: tuple[Truth, ...] = ("12.5 kg", "x = 5", "CO2", "3:4", "1, 2, 3", "(-3, 5]", "left", "9 November 1989", "北京")
QUESTION = "How many of the red and blue cars are in image 1 or image 2, in kg? A. one B. two C. three"
_PIECES = (
    "0 1 42 3.14 1,000 10^{-3} -7 ½ ² √ \\frac{1}{2} \\sqrt[3]{x} x y = < ≥ ± + - * / ( ) [ ] { } | ! % ° ' "
    '" : ; , . … kg m/s² Ω $ € H2O Fe^{3+} → ⇌ ^{14}C N S 东 三 第 分之 个 和 或 不 是 没有 yes no not or and between '
    "about left behind image first A B (1) ① \\text{ \\begin{cases} \\\\ & ∪ ∞ ∅ AM BC 1990s Monday 5'-ATG-3' "
    'click(1,2) {"a":1} 3:25 0.\\overline{3}'
)
PIECES = _PIECES.split(" ")
ANSWERS = st.one_of(
    st.text(max_size=300),
    st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join),
    st.lists(st.sampled_from(PIECES)).map("".join),
)


@pytest.mark.parametrize("domain", VERIFIERS)
@given(answer=ANSWERS)
@settings(max_examples=60, deadline=None)
def test_every_answer_earns_between_0_and_1(domain: str, answer: str) -> None:
    for truth in TRUTHS.get(domain, OTHERS):
        assert 0.0 <= verify(domain, answer, truth) <= 1.0
        assert 0.0 <= verify(domain, answer, truth, QUESTION) <= 1.0


@pytest.mark.parametrize("domain", ["math", "chemistry", "vqa"])
@given(answer=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map(" ".join).filter(unwrap))
@settings(max_examples=60, deadline=None)
def test_an_answer_equals_itself(domain: str, answer: str) -> None:
    assert verify(domain, answer, answer) == 1.0


@given(*[st.fractions(-50, 50, max_denominator=12)] * 2)
def test_numbers_are_compared_alike_both_ways(first: object, second: object) -> None:
    for domain in ("math", "multi_image", "biology"):
        assert (
            verify(domain, str(first), str(second)) == verify(domain, str(second), str(first)) == float(first == second)
        )


@pytest.mark.parametrize(
    "words", [("yes", "True"), ("no", "错误"), ("left", "左边"), ("CO2", "carbon dioxide"), ("5 km", "5000 m")]
)
def test_names_are_compared_alike_both_ways(words: tuple[str, str]) -> None:
    assert verify("chemistry", *words) == verify("chemistry", *words[::-1]) == 1.0


@pytest.mark.parametrize(
    "piece", [*PIECES, "1 ", "(((", "a, ", "x+", "\\frac{", "1:", "不", "<|begin_of_box|>", "<think>"]
)
@pytest.mark.parametrize("size", [60, 199, 1499, 60_000, 10_000_000])
def test_no_answer_takes_long(piece: str, size: int) -> None:
    answer = piece * (size // len(piece) + 1)
    for domain in ("math", "chemistry", "counting", "choice", "grounding", "gui", "vqa", "yes_no"):
        truth = TRUTHS.get(domain, OTHERS)[0]
        start = time.process_time()
        verify(domain, answer, truth, QUESTION)
        assert time.process_time() - start < PATIENCE
    start = time.process_time()
    extract_answer(f"<think></think><|begin_of_box|>{answer}<|end_of_box|>")
    assert time.process_time() - start < PATIENCE
