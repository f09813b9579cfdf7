"""Directions that are put together: behind and to the right, back-right, 右后方; as sets, in any order."""

import re

from glm4v.rewards.statement import cores, hedge

_DIRECTIONS = {
    word: direction
    for direction, words in {
        "front": "front frontal 前",
        "back": "behind back rear 后",
        "left": "left leftward leftwards 左",
        "right": "right rightward rightwards 右",
        "up": "up upward upwards above top upper 上",
        "down": "down downward downwards below bottom lower beneath 下",
        "forward": "forward forwards ahead",
        "backward": "backward backwards",
    }.items()
    for word in words.split()
}
_OPPOSED = ({"front", "back"}, {"left", "right"}, {"up", "down"}, {"forward", "backward"})
_BETWEEN_WORDS = "to the of and in on at side hand it is a its my your me you also slightly corner direction towards"
_BETWEEN = frozenset(_BETWEEN_WORDS.split())
_HAN = re.compile(r"[在向往朝]?(?:[^\W\d_]*的)?([前后左右上下]{2})(?:方向?|侧|边|角|部)?")


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of directions in two or three parts: None where the truth is none."""
    right = _parts(truth)
    way = re.search(r"from (?:the )?(\w+) to (?:the )?(\w+)", text.casefold())
    if len(right) == 1 and way and way[1] in _DIRECTIONS and way[2] in _DIRECTIONS:  # the way it goes
        return _DIRECTIONS[way[2]] in right and {_DIRECTIONS[way[1]], _DIRECTIONS[way[2]]} in _OPPOSED
    if len(right) < 2:
        return None
    return hedge(text, truth) is None and any(_parts(core) == right for core in cores(text, question))


def _parts(text: str) -> frozenset[str]:
    """The directions that make up all of a text; none where it says anything else, or one twice."""
    text = text.strip(" .,").casefold()
    han = _HAN.fullmatch(text)
    found = []
    for word in han[1] if han else re.findall(r"[^\W_]+", text)[:20]:
        if word in _DIRECTIONS:
            found.append(_DIRECTIONS[word])
        elif word not in _BETWEEN:
            return frozenset()
    parts = frozenset(found)
    return parts if len(parts) == len(found) and not any(pair <= parts for pair in _OPPOSED) else frozenset()
