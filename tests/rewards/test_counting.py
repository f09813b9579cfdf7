"""Counts: one number, typed."""

import pytest

from glm4v.rewards import verify
from glm4v.rewards.counting import count

QUESTION = "How many red circles are in the picture, 3 or 4?"


@pytest.mark.parametrize(
    "prediction",
    ["3", "three", "Three.", "3 circles", "3 red circles", "There are three red circles.", "The answer is 3", "03"],
)
def test_right(prediction: str) -> None:
    assert verify("counting", prediction, "3", QUESTION) == 1.0


@pytest.mark.parametrize(
    "prediction",
    [
        "4",
        "-3",
        "3.0",
        "3.5",
        "3+",
        "~3",
        "3-4",
        "3 or 4",
        "3 4",
        "3, 4",
        "about 3",
        "not 3",
        "at least 3",
        "3 dozen",
        "3 green circles",
        "two or three",
        "⅓",
        "³",
        "٣",
        "3!" + "!" * 200,
    ],
)
def test_wrong(prediction: str) -> None:
    assert verify("counting", prediction, "3", QUESTION) == 0.0


def test_none_is_zero_and_thousands_have_separators() -> None:
    assert count("none") == count("no") == count("zero") == 0
    assert count("1,234") == 1234
    assert count("1,23") is None
    assert count("one hundred and five") == 105
