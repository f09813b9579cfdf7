"""Boxes and points as answers write them: 0..1000 of the picture's width and height, x before y."""

import re
from typing import NamedTuple

MAX_BOXES = 64
_NUMBER = r"\s*([0-9]{1,4}(?:\.[0-9]{1,3})?)\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


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
    """`[1, 2, 3, 4]`, `[[1,2,3,4], [5,6,7,8]]`, or boxes separated by commas or spaces; None for anything else.

    None also for more than `MAX_BOXES`, an empty or reversed box, or a coordinate beyond 1000.
    """
    found = list(_BOX.finditer(text[: MAX_BOXES * 64]))
    between = re.sub(r"[\s,]+", "", _BOX.sub("", text)) if len(text) <= MAX_BOXES * 64 else "too long"
    boxes = [Box(*(float(number) for number in match.groups())) for match in found]
    if between not in ("", "[]") or not 0 < len(boxes) <= MAX_BOXES:
        return None
    if any(box.area <= 0 or max(box) > 1000 for box in boxes):
        return None
    return boxes
