"""Numbers as answers write them, with units, percent and currency; and units by themselves."""

from fractions import Fraction

import pytest

from glm4v.rewards.asked_unit import scale_asked, unit_asked
from glm4v.rewards.quantity import Rules, read, same
from glm4v.rewards.units import parse_unit


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5", 5, None),
        ("-1.2 × 10^3 J", -1200, "J"),
        ("27 million square kilometres", 27_000_000, "km^2"),
        ("0.5万元", 5000, "¥"),
        ("$1.2k", 1200, "$"),
        ("USD 1,200", 1200, "$"),
        ("six kilometres", 6, "km"),
        ("one and a half hours", Fraction(3, 2), "h"),
        ("1 h 30 min", Fraction(3, 2), "h"),
        ("5 ft 6 in", Fraction(11, 2), "ft"),
        ("5′6″", Fraction(11, 2), "ft"),
        ("109°30′", Fraction(219, 2), "°"),
        ("一分三十秒", Fraction(3, 2), "min"),
        ("½ cup", Fraction(1, 2), "cup"),
        ("1/50 s", Fraction(1, 50), "s"),
        ("18 dollars and 50 cents", Fraction(37, 2), "$"),
        ("minus 3.2", Fraction(-16, 5), None),
        ("1 in 4", Fraction(1, 4), None),
        ("三亿米每秒", 300_000_000, "m/s"),
    ],
)
def test_read(text: str, value: Fraction, unit: str | None) -> None:
    quantity = read(text)
    assert quantity is not None
    assert quantity.value == value
    assert quantity.unit == (None if unit is None else parse_unit(unit))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5 or 6",
        "36, 42",
        "5 foo",
        "5 m/",
        "30 min 1 h",
        "nan s",
        "inf",
        "5 kkm",
        "1e999",
        "5%%",
        "42 m^{999999999}/s",
    ],
)
def test_not_one_quantity(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kg·m/s²", "N"),
        ("N m", "J"),
        ("microfarads", "uF"),
        ("kilohms", "kΩ"),
        ("米每二次方秒", "m/s^2"),
        ("千克每立方米", "kg/m³"),
        ("miles per hour", "mph"),
        ("metres per second squared", "m s⁻²"),
        ("mol dm⁻³", "M"),
        ("A·s", "coulombs"),
        ("light-years", "ly"),
        ("revolutions per minute", "r/min"),
        ("J/(kg·K)", "J kg⁻¹ K⁻¹"),
        ("kWh", "kilowatt-hours"),
    ],
)
def test_equal_units(one: str, other: str) -> None:
    first, second = parse_unit(one), parse_unit(other)
    assert first is not None
    assert second is not None
    assert first.dimension == second.dimension
    assert first.factor == pytest.approx(second.factor, rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [("mW", "MW"), ("m/s", "m/s²"), ("rad/s", "Hz"), ("N", "J"), ("kPa", "kN"), ("Gy", "Sv"), ("°", "rad")],
)
def test_different_units(one: str, other: str) -> None:
    assert parse_unit(one) != parse_unit(other)


@pytest.mark.parametrize("text", ["", "foo", "kkm", "units", "m^", "m" * 200, "/" * 50, "kkkMMM m/s", "*/*"])
def test_no_unit(text: str) -> None:
    assert parse_unit(text) is None


def close(one: str, other: str, question: str | None = None, **rules: bool | float) -> bool:
    given, right = read(one), read(other)
    assert given is not None
    assert right is not None
    return same(given, right, question, Rules(**rules))  # type: ignore[arg-type]


def test_percent_is_a_value_and_a_unit() -> None:
    assert close("0.5", "50%")
    assert close("50%", "0.5")
    assert close("50", "50%", "What percentage?")
    assert not close("50", "50%", "What share?")
    assert not close("0.5%", "50%")
    assert not close("50%", "50", "How many?")


def test_measured_values_round_to_the_digits_of_the_truth() -> None:
    assert close("9.81 m/s²", "9.8 m/s²", "", measured=True)
    assert not close("9.9 m/s²", "9.8 m/s²", "", measured=True)
    assert close("26.85 °C", "300 K", "", measured=True)
    assert not close("9 m", "8.6 m", "", measured=True)


def test_units_that_the_question_names() -> None:
    assert unit_asked("How long is it, in metres?") == parse_unit("m")
    assert unit_asked("How many millimetres are there in 12 kilometres?") == parse_unit("mm")
    assert unit_asked("一共需要多少元？") == parse_unit("¥")
    assert unit_asked("In which year did it begin?") is None
    assert scale_asked("What is the population, in billions?") == 10**9
    assert close("5", "5 m", "How long is it, in metres?")
    assert not close("5", "5 m", "How long is it?")
