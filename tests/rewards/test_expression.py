"""The bounded parser: values against Python's own arithmetic, limits on what it will do."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm4v.rewards.expression import ExpressionError, equal, evaluate


@pytest.mark.parametrize(
    ("text", "value", "steps"),
    [
        ("5", 5, 0),
        ("-0.50", Fraction(-1, 2), 0),
        (".5", Fraction(1, 2), 0),
        ("1,234,567.5", Fraction(2469135, 2), 0),
        ("1{,}234", 1234, 0),
        ("1\u202f234", 1234, 0),
        ("1/3", Fraction(1, 3), 0),
        ("6/3", 2, 1),
        ("3 1/2", Fraction(7, 2), 0),
        ("3½", Fraction(7, 2), 0),
        (r"3\frac{1}{2}", Fraction(7, 2), 0),
        (r"-\dfrac{3}{4}", Fraction(-3, 4), 0),
        (r"\frac12", 12, None),
        ("25%", Fraction(1, 4), 0),
        (r"25\%", Fraction(1, 4), 0),
        ("1.5e3", 1500, 0),
        ("2 × 10^5", 200_000, 0),
        (r"2\times10^{-3}", Fraction(1, 500), 0),
        ("3·10⁴", 30_000, 0),
        ("−5", -5, 0),
        ("2+3*4", 14, 2),
        ("(2+3)*4", 20, 2),
        ("2-3-4", -5, 2),
        ("12/3/2", 2, 2),
        ("-2^2", -4, 1),
        ("2^3^2", 512, 2),
        ("2^-1", Fraction(1, 2), 1),
        ("3²", 9, 1),
        ("2(3)(4)", 24, 2),
        ("sqrt(9/4)", Fraction(3, 2), 1),
        ("√9", 3, 1),
        (r"\sqrt[3]{27}", 3.0, 1),
        (r"\left(1+2\right)", 3, 1),
        (r"\(7\)", 7, 0),
        ("$7$", 7, 0),
    ],
)
def test_values_and_steps(text: str, value: float, steps: int | None) -> None:
    if steps is None:
        with pytest.raises(ExpressionError):
            evaluate(text)
        return
    number = evaluate(text)
    assert number.value == pytest.approx(value, rel=1e-15)
    assert isinstance(number.value, Fraction) or isinstance(value, float)
    assert number.steps == steps


@pytest.mark.parametrize(("text", "value"), [("2√3", 2 * math.sqrt(3)), ("π/2", math.pi / 2), (r"2\pi", 2 * math.pi)])
def test_irrational_values(text: str, value: float) -> None:
    assert evaluate(text).value == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "five",
            "1 2",
            "1,2",
            "1,23",
            "12,34",
            "1,2345",
            "1..2",
            "1/0",
            "2/(1-1)",
            "0^0",
            "0^-1",
            "(1",
            "1)",
            "+",
        ),
        *(
            "()",
            "1+",
            "*2",
            "√",
            "√-1",
            "(-8)^(1/3)",
            "5!",
            "1:2",
            "0x10",
            "1_000",
            "٣",
            "1e301",
            "1e-99999",
            "nan",
            "inf",
        ),
        *(
            "9^9^9^9",
            "10^400",
            "2^-2000^2",
            "(" * 100 + "1" + ")" * 100,
            "1^" * 100 + "1",
            "-" * 300 + "1",
            "1+" * 200 + "1",
        ),
        *("__import__('os')", "lambda: 0", "1 or 2", "3–5", "3 4/3", "sqrtx", "pie"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(text)


@given(st.text(alphabet="0123456789.,+-*/^()[]{}%eE √π½²⁻\\fracsqtpi ", max_size=60))
def test_any_text_gives_a_finite_number_or_the_named_error(text: str) -> None:
    try:
        number = evaluate(text)
    except ExpressionError:
        return
    assert math.isfinite(number.value)
    assert number.steps >= 0


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map("({0[0]}{0[1]}{0[2]})".format),
        max_leaves=12,
    )
)
def test_agrees_with_python_on_whole_numbers(text: str) -> None:
    assert evaluate(text).value == eval(text)  # the text is our own: digits, + - * and parentheses


def test_equal_is_exact_for_integers_and_relative_for_the_rest() -> None:
    assert not equal(Fraction(1_000_001), Fraction(1_000_000))
    assert equal(Fraction(1_000_001), Fraction(1_000_000), integers=False)
    assert equal(Fraction("3.14159"), math.pi)
    assert not equal(Fraction("3.1415"), math.pi)
    assert equal(Fraction(0), Fraction(0))
    assert not equal(Fraction(1, 10**9), Fraction(0))
