"""Mathematics: equal values, expressions, equations, sets, regions, figures, in the form that was asked for."""

import re

from glm4v.rewards import asked_form, choice, clock, conventions, formulas, geometry, open_answer, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.yes_no import read as polarity

_SCIENTIFIC = re.compile(r"scientific notation|standard form|科学[记计]数法", re.IGNORECASE)
_MANTISSA = re.compile(r"(?<![\d.])-?[1-9](?:\.\d+)?\s*(?:(?:×|\\times|\*|x|·|\\cdot)\s*10|[eE][-+]?\d)")
_quantities = values.reader(Rules())


def _measured(text: str, truth: str, question: str | None) -> bool | None:
    """Quantities with a unit, money or per cent; plain numbers are expressions."""
    right = values.truth_of(truth)
    if right is None or (right.unit is None and not right.percent):
        return None
    if asked_form.given_back(text, truth, question):
        return False
    return _quantities(text, truth, question)


def _numbers(text: str, truth: str, question: str | None) -> bool | None:
    """Plain numbers also in words, Chinese numerals and with what is counted; the rest may be expressions."""
    right = values.truth_of(truth)
    if right is None or asked_form.given_back(text, truth, question):
        return None
    given = values.given_by(text, truth, question, right)
    if given is not None and given.unit is not None and re.match(r"[-+]?\s*[$€£¥]\s*\d", text):
        return _quantities(text, truth, question)
    if re.search(r"(?<![A-Za-z])(?:sin|cos|tan|log|ln)(?![a-z])", text) and not re.search(r"[=:]|\bis\b|是", text):
        return None  # 3 sin 2x is an expression
    if _SCIENTIFIC.search(question or "") and not _MANTISSA.search(text):
        return False
    if given is None or not asked_form.has_form(given.tree, right.tree, question or ""):
        return None
    if _quantities(text, truth, question):
        return True
    return None if re.search(r"[\d\\π√^]", truth) else False  # six is no expression


def _times(text: str, truth: str, question: str | None) -> bool | None:
    """Times of day, where the question asks for one."""
    return None if truth.strip().isdigit() else clock.read(text, truth, question)


def _factors(text: str, truth: str, question: str | None) -> bool | None:
    """×9, 9-fold and 9 times for a factor of 9; but 3x is an expression."""
    return None if re.search(r"[A-Za-z]", truth) else values.multiples(text, truth, question)


check = open_answer.verifier(
    (choice.read, polarity, geometry.read, conventions.read, _times, _measured, _factors, _numbers, formulas.read),
    lists=(open_answer.words("words"),),
)
