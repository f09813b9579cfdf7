"""One step on a screen: the same kind of action, at a point inside the target, with the same text, key or direction."""

import re
from collections.abc import Mapping
from typing import Any

from glm4v.rewards.actions import Action, kind_of, parse_action
from glm4v.rewards.boxes import Box, parse_boxes
from glm4v.rewards.text import fold, plain
from glm4v.rewards.verdict import Truth, Verdict, quote

_KEYS = {
    **{"return": "enter", "esc": "escape", "del": "delete", "control": "ctrl", "cmd": "command", "meta": "command"},
    **{"windows": "win", "super": "win", "option": "alt", "pgup": "pageup", "pgdn": "pagedown", "page up": "pageup"},
    **{"page down": "pagedown", "spacebar": "space", "back space": "backspace", "回车": "enter", "arrowup": "up"},
    **{"arrowdown": "down", "arrowleft": "left", "arrowright": "right", "page_up": "pageup", "page_down": "pagedown"},
}
_DIRECTIONS = {
    "向下": "down",
    "向上": "up",
    "向左": "left",
    "向右": "right",
    "下": "down",
    "上": "up",
    "左": "left",
    "右": "right",
}
_POINTED = {"click", "double_click", "right_click", "long_press"}


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 when the action is the right one and what the truth says of it fits.

    Args:
        truth: {"action": "click", "box": [x1, y1, x2, y2] in 0..1000, ...} with "text", "key", "keys", "direction",
            "app", or "from" and "to" boxes as the action needs; or the text `click [x1, y1, x2, y2]`.
    """
    target = _target(truth)
    kind = kind_of(str(target["action"]))
    given = parse_action(prediction)
    if given is None:
        return Verdict(0.0, f"{quote(prediction)} is not one action such as click(512, 300)")
    if given.kind != kind:
        return Verdict(0.0, f"{given.kind} instead of {kind}")
    problem = _drag_problem(given, target) if kind == "drag" else _problem(given, target)
    if problem is not None:
        return Verdict(0.0, problem)
    return Verdict(1.0, f"{kind}{' inside the target' if 'box' in target else ''}")


def _problem(given: Action, target: Mapping[str, Any]) -> str | None:
    """What of the action does not fit, or None."""
    if "box" in target and not _inside(given.numbers, _box(target["box"])):
        return f"{given.kind} outside the target"
    if given.kind in _POINTED and ("box" not in target or given.strings):
        return f"{given.kind} of something" if given.strings else None
    if "text" in target and (len(given.strings) != 1 or fold(given.strings[0]) != fold(str(target["text"]))):
        return f"{quote(given.text)} instead of {quote(str(target['text']))}"
    if "direction" in target:
        directions = [
            _DIRECTIONS.get(word.casefold(), word.casefold().removesuffix("s").removesuffix("ward"))
            for word in given.strings
        ]
        if directions != [str(target["direction"]).casefold()]:
            return f"{quote(given.text)} instead of {quote(str(target['direction']))}"
    for name in ("key", "keys"):
        if name in target and _keys(given.strings) != _keys(_listed(target[name])):
            return f"{quote(given.text)} instead of {quote(str(target[name]))}"
    if "app" in target and [plain(word).removesuffix(" app") for word in given.strings] != [
        plain(str(target["app"])).removesuffix(" app")
    ]:
        return f"{quote(given.text)} instead of {quote(str(target['app']))}"
    if not set(target) & {"text", "direction", "key", "keys", "app", "box"} and (given.strings or given.numbers):
        return f"{given.kind} of something"
    return None


def _listed(value: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in value) if isinstance(value, (list, tuple)) else (str(value),)


def _keys(strings: tuple[str, ...]) -> list[str]:
    """Names of keys in one spelling, a combination taken apart."""
    names: list[str] = []
    for string in strings:
        name = string.strip().casefold()
        names += [name] if name in _KEYS or len(name) < 3 else re.split(r"\s*\+\s*|[ -](?=\w)", name)
    return sorted(_KEYS.get(name, name) for name in names)


def _inside(numbers: tuple[float, ...], box: Box) -> bool:
    """Whether a point, or all of a box, lies in the target."""
    if len(numbers) == 2:
        return box.holds(*numbers)
    return len(numbers) == 4 and Box(*numbers).area > 0 and box.holds(*numbers[:2]) and box.holds(*numbers[2:])


def _drag_problem(given: Action, target: Mapping[str, Any]) -> str | None:
    if len(given.numbers) != 4 or given.strings:
        return "a drag that is not from one point to another"
    if not _box(target["from"]).holds(*given.numbers[:2]):
        return "drag from outside the target"
    return None if _box(target["to"]).holds(*given.numbers[2:]) else "drag to outside the target"


def _box(value: Any) -> Box:
    return Box(*(float(number) for number in value))


def _target(truth: Truth) -> Mapping[str, Any]:
    if isinstance(truth, Mapping):
        target = truth
    else:
        kind, _, rest = str(truth).partition(" ")
        boxes = parse_boxes(rest) or []
        target = {"action": kind if len(boxes) < 2 else ""} | ({"box": list(boxes[0])} if boxes else {})
    if not target.get("action") or (target["action"] == "drag" and not {"from", "to"} <= set(target)):
        raise ValueError(
            f'truth: {truth!r}, expected {{"action": "click", "box": [x1, y1, x2, y2]}} or "click [x1, ...]"'
        )
    return target
