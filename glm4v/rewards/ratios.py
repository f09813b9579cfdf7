"""Ratios: 3:4, 9:3:3:1, 3 to 4, 3比4; equal when they are proportional."""

import re
from fractions import Fraction
from math import gcd

from glm4v.rewards import algebra
from glm4v.rewards.algebra import TIGHT, Value
from glm4v.rewards.expression import ExpressionError, parse
from glm4v.rewards.numerals import chinese, number_word
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import unwrap

_RATIO = re.compile(r"^\s*([^:,=]+(?::[^:,=]+){1,5})\s*$")


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of ratios such as 3:4 and 9:3:3:1; times of day are left to others."""
    right = _ratio(truth, spoken=re.search(r"ratio|比", question or "") is not None and not truth.strip().isdigit())
    if right is None and re.search(r"ratio|比", question or "") and re.fullmatch(r"\d+(?:\.\d+)?", truth):
        given = _ratio(text, spoken=True)
        return None if given is None else len(given) == 2 and _proportional(given, [Fraction(truth), Fraction(1)])
    if right is None or (re.fullmatch(r"\d{1,2}:\d{2}", truth) and re.search(r"\btime\b|\bwhen\b|时", question or "")):
        return None
    given = _ratio(text, spoken=True)
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip()) and len(right) == 2 and re.search(r"ratio|比", question or ""):
        given = [Fraction(text), Fraction(1)]
    for core in cores(text, question) if given is None and hedge(text, truth) is None else []:
        given = given or _ratio(core.rpartition("=")[2], spoken=True)
    if given is not None and re.search(r"simpl|lowest|最简|化简", question or "", re.IGNORECASE) and _lowest(right):
        return given == right and _lowest(given)
    return given is not None and _proportional(given, right)


def _lowest(parts: list[Value]) -> bool:
    """Whether a ratio is in whole numbers without a common factor."""
    whole = [int(part) for part in parts if isinstance(part, Fraction) and part.denominator == 1]
    return len(whole) == len(parts) and gcd(*whole) == 1


def _ratio(text: str, spoken: bool = False) -> list[Value] | None:
    """3:4, 2:3:5, and in answers 3 to 4, 3比4, 3/4."""
    text = unwrap(text).replace("\\colon", ":").replace("∶", ":").replace("：", ":").replace("比", ":")
    if spoken:
        text = re.sub(r"^\s*([a-z]+) to ([a-z]+)\s*$", _in_figures, text, flags=re.IGNORECASE)
        text = re.sub(r"(?<=\d)\s+to\s+(?=\d)", ":", text)
        text = re.sub(
            r"^\s*(?:\\frac\{(\d+|\\sqrt\{?\d+\}?)\}\{(\d+|\\sqrt\{?\d+\}?)\}|(√?\d+(?:\.\d+)?)\s*/\s*(√?\d+(?:\.\d+)?))\s*$",
            lambda m: f"{m[1] or m[3]}:{m[2] or m[4]}",
            text,
        )
    match = _RATIO.match(text)
    if match is None:
        return None
    parts = []
    for part in match[1].split(":"):
        try:
            value: Value = Fraction(chinese(part.strip()) or 0) or algebra.evaluate(parse(part.strip()))
        except ExpressionError:
            return None
        if abs(complex(value).imag) > TIGHT or complex(value).real <= 0:
            return None
        parts.append(value)
    return parts


def _in_figures(words: re.Match[str]) -> str:
    """Four to five as 4:5."""
    values = [number_word(word) for word in words.groups()]
    return words[0] if None in values else f"{values[0]}:{values[1]}"


def _proportional(given: list[Value], right: list[Value]) -> bool:
    return len(given) == len(right) and all(
        algebra.near(one * right[0], other * given[0], 0.0) for one, other in zip(given, right, strict=True)
    )
