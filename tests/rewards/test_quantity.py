"""Numbers with percent, currency and the truth's unit."""

from fractions import Fraction

import pytest

from glm4v.rewards.expression import ExpressionError
from glm4v.rewards.quantity import read, same, unit_of


@pytest.mark.parametrize(
    ("truth", "unit"),
    [("5 cm", "cm"), ("20°C", "°C"), ("5", ""), ("3 m/s", "m/s"), ("2pi", ""), ("12 m²", "m²"), ("x", "")],
)
def test_unit_of(truth: str, unit: str) -> None:
    assert unit_of(truth) == unit


def test_read_takes_the_unit_or_goes_without() -> None:
    assert read("5 cm", "cm") == read("5", "cm") == read("5 cm.", "cm")
    assert read("€5").number.value == 5
    assert read("12%").percent
    assert read("12%").number.value == Fraction(12, 100)
    with pytest.raises(ExpressionError):
        read("5 mm", "cm")


def test_same_knows_percent_as_value_and_as_unit() -> None:
    assert same(read("0.5"), read("50%"), None, 0.0)
    assert same(read("50"), read("50%"), None, 0.0)
    assert not same(read("50%"), read("50"), None, 0.0)
    assert same(read("50%"), read("50"), "What percent?", 0.0)
