"""The bounded parser and what trees are worth: values against Python's own arithmetic, equality by samples, limits."""

import cmath
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm4v.rewards import algebra
from glm4v.rewards.algebra import equal, evaluate, same_zeros, variables
from glm4v.rewards.expression import ExpressionError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.50", Fraction(-1, 2)),
        (".5", Fraction(1, 2)),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("1{,}234", 1234),
        ("1/3", Fraction(1, 3)),
        ("3 1/2", Fraction(7, 2)),
        ("3½", Fraction(7, 2)),
        (r"3\frac{1}{2}", Fraction(7, 2)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"\frac12", Fraction(1, 2)),
        ("25%", Fraction(1, 4)),
        ("1.5e3", 1500),
        ("2 × 10^5", 200_000),
        (r"2\times10^{-3}", Fraction(1, 500)),
        ("3·10⁴", 30_000),
        ("2+3*4", 14),
        ("2-3-4", -5),
        ("12/3/2", 2),
        ("-2^2", -4),
        ("2^3^2", 512),
        ("2(3)(4)", 24),
        ("sqrt(9/4)", Fraction(3, 2)),
        ("5!", 120),
        (r"\binom{5}{2}", 10),
        ("8C3", 56),
        ("|3-5|", 2),
        (r"\lfloor 2.7 \rfloor", 2),
        (r"\left(1+2\right)", 3),
        ("$7$", 7),
    ],
)
def test_exact_values(text: str, value: float) -> None:
    result = evaluate(parse(text))
    assert isinstance(result, Fraction)
    assert result == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2√3", 2 * math.sqrt(3)),
        (r"\frac{\pi}{2}", math.pi / 2),
        (r"\sin 60^\circ", math.sqrt(3) / 2),
        (r"\log_2 8", 3),
        (r"\sqrt[3]{27}", 3),
        ("e^2", math.e**2),
        ("(1+i)^2", 2j),
        (r"\cos\frac{\pi}{3}", 0.5),
    ],
)
def test_other_values(text: str, value: complex) -> None:
    assert cmath.isclose(complex(evaluate(parse(text))), value, rel_tol=1e-12)


REFUSED = [
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
        "()",
        "1+",
    ),
    *(
        "*2",
        "√",
        "0x10",
        "1_000",
        "٣",
        "1e301",
        "1e-99999",
        "nan",
        "5!!",
        "(5!)!!",
        "200!",
        "1/2%%",
        r"\sum_{n=1}^{9} n",
        r"\int x dx",
    ),
    *(
        "9^9^9^9",
        "10^400^9",
        "(" * 100 + "1" + ")" * 100,
        "1^" * 100 + "1",
        "-" * 300 + "1",
        "1+" * 400 + "1",
        r"\sqrt{" * 40 + "2" + "}" * 40,
    ),
    *("__import__('os')", "lambda: 0", "1 or 2", "3 4/3", r"\infty - \infty", "---1", "sin^{-1} x"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(parse(text))


@given(st.text(alphabet="0123456789.,+-*/^()[]{}%eEixy|! √π½²⁻\\\\fracsqtpin_°", max_size=60))
def test_any_text_gives_a_finite_number_or_the_named_error(text: str) -> None:
    try:
        value = evaluate(parse(text), {"x": 1.5 + 0j, "y": -0.5 + 0j})
    except ExpressionError:
        return
    assert cmath.isfinite(complex(value))


@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map("({0[0]}{0[1]}{0[2]})".format),
        max_leaves=12,
    )
)
def test_agrees_with_python_on_whole_numbers(text: str) -> None:
    assert evaluate(parse(text)) == eval(text)  # the text is our own: digits, + - * and parentheses


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(x+1)^2", "x^2+2x+1"),
        (r"\sin 2x", r"2\sin x\cos x"),
        ("(a+b)(a-b)", "a^2-b^2"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        ("2^{100}", "4^{50}"),
        ("0.333333", "1/3"),
        (r"\frac n2", "n/2"),
        ("e^{x+y}", "e^x e^y"),
    ],
)
def test_equal(one: str, other: str) -> None:
    assert equal(parse(one), parse(other))
    assert equal(parse(other), parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(x+1)^2", "x^2+1"),
        ("1000001", "1000000"),
        ("0.3333", "1/3"),
        ("2^{99}", "2^{100}"),
        ("x", "y"),
        ("|x|", "x"),
        ("3.14", r"\pi"),
        ("x^2y", "xy^2"),
    ],
)
def test_not_equal(one: str, other: str) -> None:
    assert not equal(parse(one), parse(other))
    assert not equal(parse(other), parse(one))


def test_equations_hold_at_the_same_points() -> None:
    circle, same, other = (parse(text) for text in ("x^2+y^2-25", "2y^2+2x^2-50", "x^2+y^2-20"))
    assert same_zeros(circle, same)
    assert not same_zeros(circle, other)
    assert not same_zeros(parse("x^2-25"), parse("x-5"))
    assert same_zeros(parse("P-I^2R"), parse("R-P/I^2"))


def test_variables_and_decimals() -> None:
    assert variables(parse(r"x_1 + \lambda y")) == {"x_1", "lambda", "y"}
    assert algebra.is_decimal(parse("2.5x"))
    assert not algebra.is_decimal(parse(r"\frac{5}{2}x"))
