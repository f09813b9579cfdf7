"""Multiple choice: a letter, alone or with its own option's text."""

import pytest

from glm4v.rewards import verify

QUESTION = "Which colour is it? A. red B. dark blue C. green"
TRUTH = {"answer": "B", "options": {"A": "red", "B": "dark blue", "C": "green"}}


@pytest.mark.parametrize(
    "prediction",
    ["B", "b", "(B)", "[B]", "B.", "B)", "Option B", "The answer is B", "B. dark blue", "(B) Dark blue", "dark blue"],
)
def test_right(prediction: str) -> None:
    assert verify("choice", prediction, "B", QUESTION) == 1.0
    assert verify("choice", prediction, TRUTH) == 1.0


@pytest.mark.parametrize(
    "prediction", ["A", "A or B", "A, B", "AB", "B. red", "B C", "not A", "blue", "red", "A. dark blue", "В"]
)
def test_wrong(prediction: str) -> None:
    assert verify("choice", prediction, "B", QUESTION) == 0.0
    assert verify("choice", prediction, TRUTH) == 0.0
