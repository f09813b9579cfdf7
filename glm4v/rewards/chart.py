"""Values and labels read off a chart: numbers within a relative 1e-5, years exactly, text exact after normalisation."""

from glm4v.rewards import vqa
from glm4v.rewards.expression import ExpressionError
from glm4v.rewards.quantity import read, same, unit_of
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

TOLERANCE = 1e-5
YEARS = range(1000, 2200)


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right value or label. A whole truth from 1000 to 2199 is taken for a year: equal, or wrong."""
    target = truth_text(truth)
    unit = unit_of(target)
    try:
        right = read(target, unit)
    except ExpressionError:
        return vqa.check(prediction, truth, question)
    try:
        given = read(prediction, unit)
    except ExpressionError as error:
        return Verdict(0.0, f"{quote(prediction)} is not one number: {error}")
    if given.number.steps:
        return Verdict(0.0, f"{quote(prediction)} is not a number that a chart shows")
    year = right.number.value in YEARS
    if same(given, right, question, 0.0 if year else TOLERANCE, integers=False):
        return Verdict(1.0, f"{quote(prediction)} equals {quote(target)}")
    return Verdict(0.0, f"{quote(prediction)} is not {'the year ' if year else ''}{quote(target)}")
