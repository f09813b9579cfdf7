"""History, literature, art, music, economics: names, works, years, centuries and decades."""

import re

from glm4v.rewards import choice, clock, open_answer, ranges, values
from glm4v.rewards.geography import located
from glm4v.rewards.numerals import chinese, number_word
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
        return any(_signature(core) == truth for core in cores(text, question))
    right = _key(truth)
    if right is None:
        return None
    return hedge(text, truth) is None and any(_key(core) == right for core in cores(text, question))


def _signature(text: str) -> str:
    """3/4, 3/4 time, three-four time, 3/4拍, 四三拍."""
    text = re.sub(r"\s*(?:\btime(?: signature)?|拍子?)$", "", text.strip().casefold())
    spoken = re.fullmatch(r"([a-z]+)[- ](?:over[- ])?([a-z]+)", text)
    if spoken:
        upper, lower = (
            number_word(spoken[1]),
            number_word({"quarter": "four", "eighth": "eight"}.get(spoken[2], spoken[2])),
        )
        return f"{upper}/{lower}"
    han = re.fullmatch(r"([二四八])分?之?([二三四六九])|([248])分之([23469])", text)
    if han:
        lower, upper = chinese(han[1] or "") or int(han[3] or 0), chinese(han[2] or "") or int(han[4] or 0)
        return f"{upper}/{lower}"
    return text.replace(" ", "")


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
