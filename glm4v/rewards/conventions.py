"""Answers of school mathematics that are no expressions: 7 R 5, quadrant II, 6 cm by 4 cm, a sign of comparison."""

import re

from glm4v.rewards import quantity
from glm4v.rewards.numerals import chinese, number_word, ordinal, roman
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import unwrap

_REMAINDER = re.compile(
    r"(?:quotient:? )?(\d{1,9})\s*(?:,?\s*(?:with |and )?(?:a )?(?:remainder|rem\.?|r\.?)(?: of| is)?:?|余数?|……|…"
    r"|\.{3,6})\s*(\d{1,9})",
    re.IGNORECASE,
)
_QUADRANT = re.compile(
    r"(?:the )?(?:(?:quadrant|q)\s*(iv|i{1,3}|[1-4]|one|two|three|four)|([\w-]+) quadrant|(iv|i{1,3})"
    r"|第([一二三四1-4])象限)",
    re.IGNORECASE,
)
_SPOKEN = {
    "<": "less than|is less than|smaller than|is smaller than|小于|小于号|\\lt",
    ">": "greater than|is greater than|larger than|is larger than|大于|大于号|\\gt",
    "=": "equal|equals|equal to|is equal to|等于|等于号",
}
_SIGNS = {word: sign for sign, words in _SPOKEN.items() for word in (sign, *words.split("|"))}


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of these: None where the truth is none of them."""
    if _SIGNS.get(truth) == truth:
        return _comparison(text, question or "") == truth
    for parse in (_remainder, _quadrant, _dimensions):
        right = parse(truth, question)
        if right is not None:
            single = hedge(text, truth) is None and not re.search(r"\bquadrants\b", text, re.IGNORECASE)
            return single and any(parse(core, question) == right for core in cores(text, question))
    return None


def _remainder(text: str, question: str | None) -> tuple[int, int] | None:
    match = _REMAINDER.fullmatch(text.strip(" ."))
    return (int(match[1]), int(match[2])) if match else None


def _dimensions(text: str, question: str | None) -> tuple[float, ...] | None:
    """6 cm by 4 cm, 6 × 4 cm: the sides in metres, in any order."""
    parts = re.split(r"\s*(?:\bby\b|×|\*|\\times|(?<=[\sm\d])x(?=[\s\d]))\s*", text.strip(" ."))
    if not 2 <= len(parts) <= 3 or "=" in text:
        return None
    sides = [quantity.read(part) for part in parts]
    last = sides[-1].unit if sides[-1] else None
    if last is None or last.dimension != (("m", 1),):
        return None
    found = [(side, side.unit or last) for side in sides if side is not None]
    same_kind = len(found) == len(parts) and all(unit.dimension == last.dimension for _, unit in found)
    return (
        tuple(sorted(round(complex(side.value).real * unit.factor, 12) for side, unit in found)) if same_kind else None
    )


def _quadrant(text: str, question: str | None) -> int | None:
    asked = re.search(r"quadrant|象限", question or "", re.IGNORECASE) is not None
    text = text.strip(" .")
    match = _QUADRANT.fullmatch(text)
    if match is None:
        return ordinal(text.removeprefix("the ")) if asked else None
    name = next(group for group in match.groups() if group)
    if match[3] and not asked:
        return None
    value = int(name) if name.isdigit() else ordinal(name) or chinese(name) or number_word(name) or roman(name.upper())
    return value if value in (1, 2, 3, 4) else None


def _comparison(text: str, question: str) -> str | None:
    """The sign that an answer is, or that stands between two numbers of the question in their order."""
    text = unwrap(text).strip(" .\"'")
    sign = _SIGNS.get(text.casefold())
    between = re.fullmatch(r"([^<>=]+?)\s*([<>=])\s*([^<>=]+)", text)
    if sign is None and between:
        first, second = (question.find(part.strip()) for part in (between[1], between[3]))
        sign = between[2] if 0 <= first < second else None
    return sign
