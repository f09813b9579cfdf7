"""Charts: values, years and labels."""

import pytest

from glm4v.rewards import verify


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("45", "45"),
        ("45.0", "45"),
        ("1,200,000", "1200000"),
        ("1200001", "1200000"),
        ("2015", "2015"),
        ("45%", "45%"),
        ("45", "45%"),
        ("0.45", "45%"),
        ("$30", "30"),
        ("30 kg", "30 kg"),
        ("North America", "north america"),
        ("the Apples", "apples"),
    ],
)
def test_right(prediction: str, truth: str) -> None:
    assert verify("chart", prediction, truth) == 1.0


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("46", "45"),
        ("45.01", "45"),
        ("2015.01", "2015"),
        ("2014", "2015"),
        ("2014 and 2015", "2015"),
        ("40-50", "45"),
        ("40+5", "45"),
        ("30 g", "30 kg"),
        ("0.45%", "45%"),
        ("apples, pears", "apples"),
        ("apples", "45"),
    ],
)
def test_wrong(prediction: str, truth: str) -> None:
    assert verify("chart", prediction, truth) == 0.0
