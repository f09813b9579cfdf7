"""Geography: places by any of their names, directions, coordinates, scales, times and dates, measured values."""

import re

from glm4v.rewards import choice, clock, formulas, names, open_answer, places, ranges, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.yes_no import read as polarity

_STATE = re.compile(
    r"(?:the )?(?:(?:federal|federative|islamic|democratic|people's|arab|co-operative|plurinational|socialist"
    r"|united|bolivarian)\s+)*"
    r"(?:republic|kingdom|state|commonwealth|union|sultanate|principality|federation)s? of (?:the (?:union of )?)?",
    re.IGNORECASE,
)
_TABLES = ("places", "words", "things")


def located(text: str, truth: str, question: str | None) -> bool | None:
    """A place followed by the country or part of the world that it lies in is one answer; so is Republic of Kenya."""
    state = _STATE.match(text)
    if (
        state
        and names.place_size(truth) == 2
        and not re.search(r"congo|korea|china|ireland|macedonia", text, re.IGNORECASE)
    ):
        return names.same(text[state.end() :], truth, question, _TABLES)
    match = re.match(r"^([^,，]+?)\s*[,，]\s*(?:the capital of |in )?([^,，]+)$", text)
    if match is None or re.search(r"[,，]| and ", truth):
        return None
    if names.place_size(match[2]) > names.place_size(truth):
        return names.same(match[1], truth, question, _TABLES)
    return None


check = open_answer.verifier(
    (
        choice.read,
        polarity,
        places.read,
        formulas.points,
        ranges.read,
        clock.read,
        located,
        values.reader(Rules(measured=True)),
    ),
    lists=(open_answer.words(*_TABLES),),
)
