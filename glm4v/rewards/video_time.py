"""When something happens in a video: a second, within a tolerance."""

import re
from collections.abc import Mapping

from glm4v.rewards.numerals import number_word
from glm4v.rewards.text import fold
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

TOLERANCE = 0.5  # seconds; whole seconds must then be equal, and 2.4 serves for 2
MAX_CHARACTERS = 60
_CLOCK = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,3}):([0-5][0-9](?:\.[0-9]{1,3})?)")
_SECONDS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)")
_AROUND = re.compile(
    r"(?:it |at |second |the |in )*(.+?)\s*(?:s|sec|secs|second|seconds|st second|nd second|th second)?\.?"
)


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 within truth["tolerance"] seconds (0.5 by default) of the truth.

    Args:
        truth: seconds as a number or text, or a dict with "answer" (or "second") and perhaps "tolerance".
    """
    target = str(truth["second"]) if isinstance(truth, Mapping) and "second" in truth else truth_text(truth)
    tolerance = float(truth.get("tolerance", TOLERANCE)) if isinstance(truth, Mapping) else TOLERANCE
    given, right = seconds(prediction), seconds(target)
    if right is None:
        raise ValueError(f"truth: {quote(target)}, expected seconds such as 3, 2.5 or 0:03")
    if given is None:
        return Verdict(0.0, f"{quote(prediction)} is not one moment")
    off = abs(given - right)
    return Verdict(float(off <= tolerance), f"{off:g} s off, {tolerance:g} s allowed")


def seconds(text: str) -> float | None:
    """`3`, `2.5 s`, `at second 3`, `0:03`, `three seconds` as seconds; None for anything else."""
    text = fold(text).casefold()
    match = _AROUND.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        return None
    clock = _CLOCK.fullmatch(match[1])
    if clock:
        return 3600 * int(clock[1] or 0) + 60 * int(clock[2]) + float(clock[3])
    if _SECONDS.fullmatch(match[1]):
        return float(match[1])
    word = number_word(match[1])
    return None if word is None else float(word)
