"""A magnitude with a direction: 10 N to the left."""

import re

from glm4v.rewards import names, quantity
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge

_MAGNITUDE = re.compile(
    r"(?:[-−](?=\d))?[0-9][0-9.,]*(?:\s*(?:×|\\times)\s*10\^?\{?[-0-9⁰-⁹¹²³⁻]+\}?)?\s*(?:[A-Za-zμΩ°]+(?:[/·^][A-Za-z0-9²³⁻]+"
    r"|[²³])*|[\u4e00-\u9fff]{1,6}?(?=,|，|$|\s|方向|向))"
)


_DIRECTION = re.compile(
    r"\b(?:left|right|up|down|north|south|east|west|forward|backward|horizontal|vertical|toward|away|along"
    r"|opposite|into|out|inward|outward|clockwise)"
    r"|anticlockwise|counterclockwise|[上下左右东南西北前后]",
    re.IGNORECASE,
)


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of vectors in words: None where the truth is no magnitude with a direction."""
    right = _apart(truth)
    if right is None:
        return None
    if hedge(text, truth) is not None:
        return False
    for core in (text, *cores(text, question)):
        given = _apart(core)
        if given is not None:
            return quantity.same(given[0], right[0], question, Rules(measured=True)) and names.same(
                given[1], right[1], question, ("words",)
            )
    return False


def _apart(text: str) -> tuple[quantity.Quantity, str] | None:
    """The one magnitude in a text, and what else it says."""
    found = list(_MAGNITUDE.finditer(text)) if len(text) < 200 else []
    if len(found) != 1:
        return None
    value = quantity.read(found[0][0])
    rest = f"{text[: found[0].start()]} {text[found[0].end() :]}".strip(" ,.;")
    if value is None or value.unit is None or not _DIRECTION.search(rest) or re.search(r"=|^from\b(?!.* to )", rest):
        return None
    rest = re.sub(r"^(?:方向为?|,)+|^.*\b(?:is|are|was)\b\s*,?|\bdirected\b|,", " ", rest).strip()
    return (value, rest) if len(rest.split()) <= 6 and rest else None
