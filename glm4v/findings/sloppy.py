"""Finding 3's careless verifier of text that was read: it looks for the right answer, not for what else was said."""

import re

from glm4v.rewards import verify
from glm4v.rewards.verdict import Truth, truth_text

_RANGE = re.compile(r"(\d{1,9})\s*(?:-|–|to)\s*(\d{1,9})")
MAX_CHARACTERS = 1000


def sloppy(prediction: str, truth: Truth, question: str | None = None) -> float:
    """1 where the truth is found anywhere, among several answers, inside a longer one or within a range of numbers;
    else what the precise verifier gives."""
    right, given = truth_text(truth), prediction[:MAX_CHARACTERS]
    if right in given:
        return 1.0
    ranges = [sorted(map(int, ends)) for ends in _RANGE.findall(given)]
    if right.isdecimal() and any(low <= int(right) <= high for low, high in ranges):
        return 1.0
    return verify("ocr", prediction, truth, question)
