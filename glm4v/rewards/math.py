"""Mathematics: equal values, expressions, equations, sets, regions, figures and words, in the form that was asked for."""

from glm4v.rewards import choice, clock, formulas, geometry, open_answer, values
from glm4v.rewards.quantity import Rules

_quantities = values.reader(Rules())


def _measured(text: str, truth: str, question: str | None) -> bool | None:
    """Quantities with a unit, money or per cent; plain numbers are expressions."""
    right = values.truth_of(truth)
    if right is None or (right.unit is None and not right.percent):
        return None
    return _quantities(text, truth, question)


def _numbers(text: str, truth: str, question: str | None) -> bool | None:
    """Plain numbers also in words, Chinese numerals and with what is counted; what they refuse is still an expression."""
    return True if values.truth_of(truth) is not None and _quantities(text, truth, question) and not formulas.given_back(text, truth, question) else None


def _times(text: str, truth: str, question: str | None) -> bool | None:
    """Times of day, where the question asks for one."""
    return None if truth.strip().isdigit() else clock.read(text, truth, question)


check = open_answer.verifier(
    (choice.read, geometry.read, _times, _measured, _numbers, formulas.read), lists=(open_answer.words("words"),)
)
