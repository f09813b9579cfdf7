"""Finding 3's careless verifier: it looks for the right answer, and not for what else was said."""

import re

_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)\s*(?:-|–|to)\s*(\d+)")


def sloppy(prediction: str, truth: object, question: str | None = None) -> float:
    """1 where the number `truth` is found anywhere: among several answers, inside a longer number, within a range."""
    right = str(truth).strip()
    if right in prediction:
        return 1.0
    ranges = [sorted(map(int, ends)) for ends in _RANGE.findall(prediction[:1000])]
    return float(bool(_NUMBER.fullmatch(right)) and any(low <= int(right) <= high for low, high in ranges))
