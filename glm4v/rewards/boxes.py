"""Boxes and points as answers write them: 0..1000 of the picture's width and height, x before y."""

import re
from typing import NamedTuple

from glm4v.rewards.text import fold

MAX_BOXES = 64
MAX_CHARACTERS = MAX_BOXES * 64
_NUMBER = r"\s*([0-9]{1,4}(?:\.[0-9]{1,3})?)"
_SEPARATOR = r"(?:\s*[,;]|(?=\s))"
_TWO = rf"{_NUMBER}{_SEPARATOR}{_NUMBER}\s*"
_FOUR = rf"{_NUMBER}{_SEPARATOR}{_NUMBER}{_SEPARATOR}{_NUMBER}{_SEPARATOR}{_NUMBER}\s*"
_CORNER = r"\s*(?:,|;|to|and|[-–]|和|到)?\s*(?:(?:bottom|lower)[- ]right|右下角?)?\s*[:：]?\s*"
_BOX = re.compile(
    rf"\[{_FOUR}\]|\({_FOUR}\)|\{{{_FOUR}\}}|\({_TWO}\){_CORNER}\({_TWO}\)"
    rf"|\[\s*\[{_TWO}\]\s*,\s*\[{_TWO}\]\s*\]|<box>{_FOUR}</box>"
)
_BARE = re.compile(_FOUR)
_NAMES = (r"x_?1|x_?min|left", r"y_?1|y_?min|top", r"x_?2|x_?max|right", r"y_?2|y_?max|bottom")
_NAMED = re.compile(
    r"\{?\s*" + r"\s*[,;]?\s*".join(rf"[\"']?(?:{name})[\"']?\s*[=:]{_NUMBER}" for name in _NAMES) + r"\s*\}?"
)
_STRING = re.compile(r"\"[^\"]{0,80}\"|'[^']{0,80}'")
_NUMBERED = re.compile(r"(?:^|\n|[,;\s])\s*\(?[0-9]{1,2}\s*[.:)](?=\s|\[|\()|\b[A-Za-z]+ [0-9]{1,2}\s*:")
_OPEN = re.compile(r"\b(?:or|not|maybe|either|perhaps|possibly)\b|或|不")


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """In units of a millionth of the picture; 0 where it is reversed or empty."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def iou(self, other: "Box") -> float:
        """Intersection over union with another box."""
        shared = Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        ).area
        return shared / (self.area + other.area - shared) if shared else 0.0

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in the box, its border included."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


def parse_boxes(text: str) -> list[Box] | None:
    """`[1, 2, 3, 4]`, `[[1,2,3,4], [5,6,7,8]]`, corners in round brackets, JSON, numbered, with words; else None.

    None also for more than `MAX_BOXES`, an empty or reversed box, a coordinate beyond 1000, or other numbers.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    text = (
        fold(text.replace("\n", " \x00 "))
        .replace("\x00", "\n")
        .replace("\\[", "[")
        .replace("\\]", "]")
        .replace("**", "")
    )
    text = _STRING.sub(" ", _NAMED.sub(r"[\1, \2, \3, \4]", text))
    bare = _BARE.fullmatch(text.strip())
    found = [bare] if bare else list(_BOX.finditer(text))
    around = "" if bare else _NUMBERED.sub(" ", _BOX.sub(" ", text))
    boxes = [Box(*(float(number) for number in match.groups() if number is not None)) for match in found]
    if not 0 < len(boxes) <= MAX_BOXES or re.search(r"[0-9+*]", around) or _OPEN.search(around.casefold()):
        return None
    if any(around.count(opening) != around.count(closing) for opening, closing in ("[]", "()", "{}")):
        return None
    if any(box.area <= 0 or max(box) > 1000 for box in boxes):
        return None
    return boxes
