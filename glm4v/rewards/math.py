"""Numbers and numeric expressions: equal values, integers exactly, all else within a relative 1e-5."""

import re
from fractions import Fraction

from glm4v.rewards.expression import ExpressionError, Number, equal
from glm4v.rewards.quantity import Quantity, read, same, unit_of
from glm4v.rewards.text import fold
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

TOLERANCE = 1e-5
MAX_SIDES = 4
_VARIABLE = re.compile(r"\s*[A-Za-z][A-Za-z0-9_]{0,9}\s*")


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right value, worked out: `3+5` is no answer where the truth is 8, nor is a term of the question.

    A truth that is not a number is compared as text. `question` also tells whether a percent sign is a mere unit.
    """
    target = truth_text(truth)
    unit = unit_of(target)
    try:
        right = _end_of_equation(target, unit)
    except ExpressionError:
        same_text = _compact(prediction) == _compact(target)
        return Verdict(
            float(same_text), f"{quote(prediction)} is {'' if same_text else 'not '}the text {quote(target)}"
        )
    try:
        given = _end_of_equation(prediction, unit)
    except ExpressionError as error:
        return Verdict(0.0, f"{quote(prediction)} is not one number: {error}")
    if not same(given, right, question, TOLERANCE):
        return Verdict(0.0, f"{quote(prediction)} is not {quote(target)}")
    if not _worked_out(given.number, right.number):
        return Verdict(0.0, f"{quote(prediction)} is not worked out")
    if given.number.steps and question and _compact(prediction) in _compact(question) and prediction != target:
        return Verdict(0.0, f"{quote(prediction)} is a term of the question")
    return Verdict(1.0, f"{quote(prediction)} equals {quote(target)}")


def _end_of_equation(text: str, unit: str) -> Quantity:
    """The last side of "x = 5" or "3+5 = 8"; all sides must agree.

    Raises:
        ExpressionError: a side is not a number, sides differ, or there are more than `MAX_SIDES`.
    """
    sides = fold(text).split("=")
    if len(sides) > MAX_SIDES:
        raise ExpressionError(f"more than {MAX_SIDES} sides of an equation")
    if len(sides) > 1 and _VARIABLE.fullmatch(sides[0]):
        sides = sides[1:]
    quantities = [read(side, unit) for side in sides]
    end = quantities[-1]
    if not all(equal(side.number.value, end.number.value) for side in quantities):
        raise ExpressionError("the sides of the equation differ")
    return end


def _worked_out(given: Number, right: Number) -> bool:
    """No more steps left than the truth leaves, except where a decimal truth stands for an irrational value."""
    if given.steps <= right.steps:
        return True
    decimal = not isinstance(right.value, Fraction) or right.value.denominator > 1
    return isinstance(given.value, float) and decimal


def _compact(text: str) -> str:
    return fold(text).replace(" ", "").strip("$")
