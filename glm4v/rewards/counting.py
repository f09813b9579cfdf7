"""How many: one whole number, in figures or words, at most with words of the question around it."""

import re

from glm4v.rewards.numerals import number_word
from glm4v.rewards.text import fold
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 120
_FIGURES = re.compile(r"[0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2}")
_AROUND = {"there", "are", "is", "answer", "the", "objects", "object", "in", "total", "of", "them", "picture", "image"}
_HEDGES = {"or", "and", "to", "not", "about", "between", "least", "most", "more", "less", "than", "maybe", "either"}
_NONE = {"none", "no"}


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right count: `3`, `three`, `3 red circles` where the question speaks of red circles."""
    target = truth_text(truth)
    right, given = count(target), count(prediction, question)
    if given is None or right is None:
        return Verdict(0.0, f"{quote(prediction)} is not one count")
    return Verdict(float(given == right), f"{given} counted, {right} there")


def count(text: str, question: str | None = None) -> int | None:
    """The only number in `text`; None when there is none, or more than one, or a word that could bend it."""
    text = fold(text).casefold()
    if len(text) > MAX_CHARACTERS:
        return None
    allowed = (_AROUND | set(re.findall(r"[^\W\d_]+", (question or "").casefold()))) - _HEDGES
    allowed |= {word.removesuffix("s") for word in allowed} | {f"{word}s" for word in allowed}
    numbers, parts = [], text.rstrip(".!").split()
    while parts:
        length = next((n for n in range(len(parts), 0, -1) if _value(parts[:n]) is not None), 0)
        if length:
            numbers.append(_value(parts[:length]))
        elif parts[0].strip(",:") not in allowed:
            return None
        parts = parts[max(length, 1) :]
    return numbers[0] if len(numbers) == 1 else None


def _value(parts: list[str]) -> int | None:
    """The number that these words spell together, or None."""
    text = " ".join(parts)
    if text in _NONE:
        return 0
    return int(text.replace(",", "")) if _FIGURES.fullmatch(text) else number_word(text)
