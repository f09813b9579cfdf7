"""History, literature, art, music, economics: names, works, years, centuries and decades."""

import re

from glm4v.rewards import choice, clock, open_answer, ranges, values
from glm4v.rewards.geography import located
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.yes_no import read as polarity

_KEY = re.compile(
    r"(?:(?:in )?(?:the )?key (?:of )?)?([A-G])[- ]?(sharp|flat|♯|♭|#|b(?=[- ]))?[- ]?(major"
    r"|minor|dur|moll|大调|小调)(?: key)?",
    re.IGNORECASE,
)
_MODES = {"dur": "major", "moll": "minor", "大调": "major", "小调": "minor"}
_SIGNS = {"♯": "sharp", "#": "sharp", "♭": "flat", "b": "flat"}


def musical_keys(text: str, truth: str, question: str | None) -> bool | None:
    """Keys such as C-sharp minor, and time signatures, which are no fractions."""
    if re.search(
        r"time signature|\bmetre\b|\bmeter\b"
        r"|拍",
        question or "",
        re.IGNORECASE,
    ) and re.fullmatch(r"\d+/\d+", truth):
        return any(re.sub(r"\s|time$", "", core) == truth for core in cores(text, question))
    right = _key(truth)
    if right is None:
        return None
    return hedge(text, truth) is None and any(_key(core) == right for core in cores(text, question))


def _key(text: str) -> tuple[str, str, str] | None:
    match = _KEY.fullmatch(text.strip())
    if match is None:
        return None
    sign, mode = (match[2] or "").casefold(), match[3].casefold()
    return match[1].upper(), _SIGNS.get(sign, sign), _MODES.get(mode, mode)


check = open_answer.verifier(
    (choice.read, polarity, musical_keys, ranges.read, clock.read, located, values.reader(Rules())),
    lists=(open_answer.words("culture", "places", "words", "things"),),
)
