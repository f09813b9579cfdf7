"""Multiple choice: one letter, alone or with the text of its own option."""

import re
from collections.abc import Mapping

from glm4v.rewards.text import fold, plain
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 500
_LETTER = re.compile(
    r"(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:? )?[(\[]?([A-Za-z])[)\].:]?(?:\s+(.+))?", re.I
)
_OPTION = re.compile(r"(?:^|\s)[(\[]?([A-Z])[)\].:]\s+(.+?)(?=\s+[(\[]?[A-Z][)\].:]\s|$)")


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right letter.

    Text beside or instead of the letter must be that option's, known from truth["options"] ({"A": "red", ...}) or
    from a question that lists them as `A. red B. blue`.
    """
    target = truth_text(truth).strip().upper()
    given = _letter(fold(prediction), _options(truth, question))
    if given is None:
        return Verdict(0.0, f"{quote(prediction)} is not one choice")
    return Verdict(float(given == target), f"{given} chosen, {target} is right")


def _letter(prediction: str, options: dict[str, str]) -> str | None:
    if len(prediction) > MAX_CHARACTERS:
        return None
    by_text = [letter for letter, text in options.items() if text == plain(prediction)]
    if len(by_text) == 1:
        return by_text[0]
    match = _LETTER.fullmatch(prediction.strip())
    if match is None or (match[2] and options.get(match[1].upper()) != plain(match[2])):
        return None
    return match[1].upper()


def _options(truth: Truth, question: str | None) -> dict[str, str]:
    if isinstance(truth, Mapping) and "options" in truth:
        return {letter.upper(): plain(str(text)) for letter, text in truth["options"].items()}
    return {letter: plain(text) for letter, text in _OPTION.findall(fold(question or ""))}
