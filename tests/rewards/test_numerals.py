"""Numbers in words."""

import pytest

from glm4v.rewards.numerals import number_word


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zero", 0),
        ("Three", 3),
        ("nineteen", 19),
        ("twenty", 20),
        ("forty-two", 42),
        ("forty two", 42),
        ("one hundred", 100),
        ("one hundred and five", 105),
        ("nine hundred ninety-nine", 999),
        ("two thousand", 2_000),
        ("two hundred thousand three", 200_003),
        ("one million two thousand and one", None),
        ("one million two thousand one", 1_002_001),
    ],
)
def test_values(text: str, value: int | None) -> None:
    assert number_word(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "several",
        "one two",
        "two twenty",
        "twenty ten",
        "twenty-zero",
        "hundred",
        "one hundred and",
        "and one",
        "one thousand thousand",
        "ten hundred",
        "one " * 40,
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert number_word(text) is None
