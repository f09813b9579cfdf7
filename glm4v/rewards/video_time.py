"""When something happens in a video: a second, within a tolerance."""

import re
from collections.abc import Mapping

from glm4v.rewards.quantity import read
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import fold, foreign_script, unwrap
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

TOLERANCE = 0.5  # seconds; whole seconds must then be equal, and 2.4 serves for 2
MAX_CHARACTERS = 200
_CLOCK = re.compile(r"(?:([0-9]{1,2}):)?([0-9]{1,3}):([0-5][0-9](?:\.[0-9]{1,3})?)")
_LED = re.compile(
    r"^(?:it |she |he |they |(?:happens|occurs|appears|starts) |at |after |in |the |around |about "
    r"|approximately |t\s*=\s*|time\s*[:=]?\s*|第|在)*(?:second (?=\d|[a-z]))?"
)
_TAIL = re.compile(r"\s*(?:\binto the video|\bin|of the video|mark|时|处|秒时)$")


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 within truth["tolerance"] seconds (0.5 by default) of the truth.

    Args:
        truth: seconds as a number or text, or a dict with "answer" (or "second") and perhaps "tolerance".
    """
    target = str(truth["second"]) if isinstance(truth, Mapping) and "second" in truth else truth_text(truth)
    tolerance = float(truth.get("tolerance", TOLERANCE)) if isinstance(truth, Mapping) else TOLERANCE
    given, right = seconds(prediction, question), seconds(target)
    if right is None:
        raise ValueError(f"truth: {quote(target)}, expected seconds such as 3, 2.5 or 0:03")
    if given is None or foreign_script(prediction, target) is not None:
        return Verdict(0.0, f"{quote(prediction)} is not one moment")
    off = abs(given - right)
    return Verdict(float(off <= tolerance), f"{off:g} s off, {tolerance:g} s allowed")


def seconds(text: str, question: str | None = None) -> float | None:
    """`3`, `2.5 s`, `at second 3`, `0:03`, `1 min 5 s`, `three seconds` as seconds; None for anything else."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = fold(unwrap(text)).casefold()
    if hedge(text, "") is not None or re.search(r"\bevery\b|during|from .* to|每", text):
        return None
    for core in cores(text, question):
        found = _moment(core)
        if found is not None:
            return found
    return None


def _moment(text: str) -> float | None:
    text = _TAIL.sub("", _LED.sub("", text.strip(" .,"))).strip()
    text = re.sub(r"^(\d{1,3})\s?(?:'|′|m)\s?(\d{1,2})\s?(?:\"|″|''|s)$", r"\1:\2", text)
    clock = _CLOCK.fullmatch(re.sub(r"\s*(?:s|min|minutes)$", "", text))
    if clock:
        return 3600 * int(clock[1] or 0) + 60 * int(clock[2]) + float(clock[3])
    if text in ("a minute and a half", "one minute and a half", "one and a half minutes"):
        return 90.0
    if text.startswith(("-", "+")) or re.search(r"[=/^*%]|\d\s*-\s*\d", text) or len(text) > 60:
        return None
    text = re.sub(r"^(\d{1,4})秒半$", r"\1.5 s", text)
    text = re.sub(r"(?<=[0-9])\s*(?:secs?|seconds?)\.?$", " s", text)
    quantity = read(text)
    if quantity is None or quantity.percent or quantity.approximate or isinstance(quantity.value, complex):
        return None
    if quantity.unit is None:
        return float(quantity.value) if quantity.value < 10**7 else None
    return float(quantity.value) * quantity.unit.factor if quantity.unit.dimension == (("s", 1),) else None
