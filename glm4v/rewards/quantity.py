"""A number as answers write it: with a percent sign, a currency sign, or the unit that the truth has."""

import re
from typing import NamedTuple

from glm4v.rewards.expression import Number, equal, evaluate
from glm4v.rewards.text import fold

_UNIT = re.compile(r"(?<=[0-9])\s*(°\s*[CF]?|(?!pi\b)[A-Za-zµΩ]+[²³]?(?:/[A-Za-z]+)?)$")


class Quantity(NamedTuple):
    """`number.value` counts 3% as 0.03; `percent` tells that it was written so."""

    number: Number
    percent: bool


def unit_of(truth: str) -> str:
    """The unit behind a truth's number ("cm", "°C"), or "" where it has none."""
    match = _UNIT.search(fold(truth))
    return match[1] if match else ""


def read(text: str, unit: str = "") -> Quantity:
    """The quantity in `text`, in which `unit` and a currency sign may stand or be left out.

    Raises:
        ExpressionError: as `expression.evaluate`.
    """
    bare = fold(text).removesuffix(".").removesuffix(unit).rstrip()
    if not bare.endswith("$"):  # "$5" is money, "$5$" is LaTeX
        bare = bare.lstrip("$€£¥")
    return Quantity(evaluate(bare), bare.endswith("%"))


def same(given: Quantity, right: Quantity, question: str | None, tolerance: float, integers: bool = True) -> bool:
    """Equal values; "50" also serves for "50%", and "50%" for "50" where the question asks for a percentage.

    `integers`: whether two integers must be equal exactly.
    """
    value, target = given.number.value, right.number.value
    if equal(value, target, tolerance, integers):
        return True
    if right.percent and not given.percent:
        return equal(value, target * 100, tolerance, integers)
    asked = question is not None and ("%" in question or "percent" in question.casefold())
    return given.percent and not right.percent and asked and equal(value * 100, target, tolerance, integers)
