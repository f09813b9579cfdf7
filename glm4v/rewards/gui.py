"""One step on a screen: the same kind of action, at a point inside the target, with the same text."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from glm4v.rewards.boxes import Box, parse_boxes
from glm4v.rewards.text import fold, plain
from glm4v.rewards.verdict import Truth, Verdict, quote

MAX_CHARACTERS = 500
_NUMBER = r"([0-9]{1,4}(?:\.[0-9]{1,3})?)"
_ACTION = re.compile(r"([a-z]+(?:_[a-z]+)?)\s*(.*)", re.IGNORECASE)
_ARGUMENTS = re.compile(rf"[(\[\s]*(?:{_NUMBER}\s*,\s*{_NUMBER}[)\]]*)?[\s,]*(?:\"([^\"]*)\"|'([^']*)')?[)\]\s]*")
_SAME = {"tap": "click", "press": "click", "left_click": "click", "input": "type", "write": "type"}


class Action(NamedTuple):
    """kind: "click", "type", "scroll"...; point in 0..1000, or None; text to type, or ""."""

    kind: str
    point: tuple[float, float] | None
    text: str


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 when the action is the right one and, where the truth has a box or a text, point and text fit it.

    Args:
        truth: {"action": "click", "box": [x1, y1, x2, y2] in 0..1000, "text"?}, or the text `click [x1, y1, x2, y2]`.
    """
    kind, box, text = _target(truth)
    given = parse_action(prediction)
    if given is None:
        return Verdict(0.0, f"{quote(prediction)} is not one action such as click(512, 300)")
    if given.kind != kind:
        return Verdict(0.0, f"{given.kind} instead of {kind}")
    if box is not None and (given.point is None or not box.holds(*given.point)):
        return Verdict(0.0, f"{kind} outside the target")
    if text and plain(given.text) != plain(text):
        return Verdict(0.0, f"{quote(given.text)} instead of {quote(text)}")
    return Verdict(1.0, f"{kind}{' inside the target' if box else ''}")


def parse_action(text: str) -> Action | None:
    """`click(512, 300)`, `click [512, 300]`, `type("hello")`, `type([512, 300], "hello")`, `back`; else None."""
    text = fold(text)
    match = _ACTION.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    arguments = _ARGUMENTS.fullmatch(match[2]) if match else None
    if match is None or arguments is None:
        return None
    x, y, double, single = arguments.groups()
    kind = match[1].casefold()
    return Action(_SAME.get(kind, kind), None if x is None else (float(x), float(y)), double or single or "")


def _target(truth: Truth) -> tuple[str, Box | None, str]:
    if isinstance(truth, Mapping):
        kind, text = str(truth.get("action", "")), str(truth.get("text", ""))
        boxes = [Box(*(float(number) for number in truth["box"]))] if "box" in truth else []
    else:
        kind, _, rest = str(truth).partition(" ")
        boxes, text = parse_boxes(rest) or [], ""
    if not kind or len(boxes) > 1:
        raise ValueError(
            f'truth: {truth!r}, expected {{"action": "click", "box": [x1, y1, x2, y2]}} or "click [x1, ...]"'
        )
    return _SAME.get(kind, kind), boxes[0] if boxes else None, text
