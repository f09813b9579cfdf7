"""Actions on a screen as answers write them: a call such as click(512, 300), or JSON; read by our own small parser."""

import json
import re
from typing import Any, NamedTuple

from glm4v.rewards.tables import rows
from glm4v.rewards.text import fold

MAX_CHARACTERS = 1000
_SAME = {other: row[0] for row in rows("actions.txt", "|") for other in row[1:]}
_WITH_DIRECTION = re.compile(r"scroll_?(up|down|left|right)|(向[上下左右])(?:滚动|滑动)")
_CALL = re.compile(r"([A-Za-z]+(?:_[A-Za-z]+)*|[\u4e00-\u9fff]{1,7})\s*(.*)", re.S)
_TOKEN = re.compile(
    r"\s*(?:\"(?P<double>(?:[^\"\\]|\\.)*)\"|'(?P<single>(?:[^'\\]|\\.)*)'"
    r"|(?P<number>-?[0-9]{1,5}(?:\.[0-9]{1,6})?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*)\s*[=:]\s*|(?P<word>[^\W\d](?:[\w+]|[- ](?=\w))*)|(?P<mark>[()\[\],]))"
)
_KIND = ("action", "action_type", "name", "type", "function")
_INNER = ("arguments", "args", "params", "parameters", "action_inputs")
_POINT = (
    "point",
    "coordinate",
    "coordinates",
    "position",
    "box",
    "bbox",
    "start_box",
    "from",
    "start",
    "start_point",
    "start_coordinate",
    "to",
    "end",
    "end_point",
    "end_coordinate",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
)
_STRINGS = ("text", "content", "value", "direction", "key", "keys", "app", "app_name", "input")
_AT = re.compile(r"\W*([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*[,\s]\s*([0-9]{1,4}(?:\.[0-9]{1,6})?)\W*")
_IGNORED = (
    "thought",
    "explanation",
    "duration",
    "seconds",
    "time",
    "element",
    "button",
    "clicks",
    "id",
    "reason",
    "description",
    "amount",
)


class Action(NamedTuple):
    """kind: "click", "type", "scroll"...; numbers: coordinates in 0..1000; strings: text, key, direction, app."""

    kind: str
    numbers: tuple[float, ...]
    strings: tuple[str, ...]

    @property
    def point(self) -> tuple[float, float] | None:
        """Where it happens, or None."""
        return (self.numbers[0], self.numbers[1]) if len(self.numbers) == 2 else None

    @property
    def text(self) -> str:
        """Its strings together."""
        return " ".join(self.strings)


def kind_of(name: str) -> str:
    """The usual name of an action."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).casefold()
    return _SAME.get(name, _SAME.get(name.replace("_", ""), name))


def parse_action(text: str) -> Action | None:
    """`click(512, 300)`, `click [512, 300]`, `type("hello")`, `back`, `{"action": "wait"}`; else None."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = fold(text).strip("`*").strip()
    text = re.sub(r"^(?:json|python|[Aa]ction\s*:)\s*|^(?:pyautogui|device|self)\.(?=\w+\()", "", text)
    if re.fullmatch(r"[A-Za-z]+(?:\+[A-Za-z0-9]+)+", text):  # Ctrl+C
        return Action("hotkey", (), (text,))
    text = text[:-1] if text.endswith((").", "].", "。")) else text
    if text.startswith(("{", "[")):
        return _from_json(text)
    match = _CALL.fullmatch(text)
    if match is None:
        return None
    directed = _WITH_DIRECTION.fullmatch(match[1].casefold())
    if directed and match[2] in ("", "()"):
        return Action("scroll", (), (directed[1] or directed[2],))
    name, arguments = match[1], match[2].strip()
    key = re.fullmatch(r"press_([a-z]+)", name.casefold())
    if key and kind_of(name) == name.casefold() and arguments in ("", "()"):
        return Action("press", (), (key[1],))
    kind = kind_of(name)
    arguments = arguments.removeprefix(":").strip()
    if kind in ("click", "double_click", "right_click", "long_press"):
        arguments = re.sub(r"^(?:at|on)\b\s*", "", arguments)
    elif kind in ("press", "hotkey"):
        arguments = re.sub(r"(?<=\w)\s*\+\s*(?=\w)", "+", arguments)
    elif kind == "drag":
        arguments = re.sub(r"\s*(?:->|→)\s*", ", ", arguments)
    elif kind == "wait" and re.fullmatch(r"\(?\s*[\d.]{1,6}\s*(?:s|secs?|seconds?|ms)?\s*\)?", arguments):
        arguments = ""
    action = _call(kind, arguments)
    return None if action is None else _meant(action)


def _meant(action: Action) -> Action:
    """What a press or a swipe comes to: a key combination, a navigation button, a drag."""
    if action.kind == "press" and len(action.strings) > 1:
        return action._replace(kind="hotkey")
    if action.kind == "hotkey" and len(action.strings) == 1 and re.fullmatch(r"\w+", action.text):
        return action._replace(kind="press")
    if action.kind == "press" and len(action.strings) == 1:
        if action.text.casefold() in ("back", "home"):
            return Action(action.text.casefold(), (), ())
        if "+" in action.text[1:-1]:
            return action._replace(kind="hotkey")
    if action.kind == "swipe" and len(action.numbers) == 4 and not action.strings:
        return action._replace(kind="drag")
    return action


def _call(kind: str, text: str) -> Action | None:
    """The arguments of one call; its bracket must close at the end, and commas stand between values."""
    numbers: list[float] = []
    strings: list[str] = []
    position, depth, after_value, closed, name = 0, 0, False, False, ""
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or closed:
            return None
        position = match.end()
        token, mark = match.lastgroup, match["mark"]
        if mark in ("(", "["):
            if after_value and depth == 0:
                return None
            depth, after_value = depth + 1, False
        elif mark in (")", "]"):
            depth -= 1
            closed, after_value = depth == 0 and kind != "drag", True
            if depth < 0:
                return None
        elif mark == ",":
            after_value, name = False, name if depth > 1 else ""
        elif token == "name":
            if after_value and depth:
                return None
            name = match["name"].casefold()
        elif token == "word" and kind == "drag" and match["word"].casefold() in ("from", "to"):
            after_value = False
        elif after_value:
            return None
        else:
            after_value = True
            if name == "button" and kind == "click":
                kind = "right_click" if str(match[token or 0]).casefold() == "right" else kind
            elif name not in _IGNORED:
                _take(match, token or "", kind, numbers, strings)
    return Action(kind, *_useful(kind, numbers, strings)) if depth == 0 else None


def _take(match: re.Match[str], token: str, kind: str, numbers: list[float], strings: list[str]) -> None:
    """A value of a call, into its numbers or its strings; "(500, 300)" in quotes is a point."""
    value = match[token]
    if token == "number":
        numbers.append(float(value))
        return
    if (
        token != "word"
        and kind in ("click", "double_click", "right_click", "long_press")
        and re.fullmatch(r"\d{1,4}(?:\.\d{1,6})?", value)
    ):
        numbers.append(float(value))
        return
    at = (
        _AT.fullmatch(re.sub(r"<\|[a-z_]+\|>|</?[a-z_]+>", "", value))
        if kind not in ("type", "press", "hotkey")
        else None
    )
    if at:
        numbers += [float(at[1]), float(at[2])]
    else:
        strings.append(value.strip() if token == "word" else re.sub(r"\\([\"'\\])", r"\1", value))


def _useful(kind: str, numbers: list[float], strings: list[str]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Without the seconds of a wait and the amount of a scroll."""
    return () if kind == "wait" else tuple(numbers), tuple(strings)


def _from_json(text: str) -> Action | None:
    if '"' not in text:  # as Python prints it
        text = text.replace("'", '"')
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        return None
    name = next((key for key in _KIND if isinstance(data.get(key), str)), None)
    if name is None:
        return None
    fields = {key: value for key, value in data.items() if key != name}
    for key in _INNER:
        if isinstance(fields.get(key), dict):
            fields |= fields.pop(key)
    fields = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).casefold(): value for key, value in fields.items()}
    numbers: list[float] = []
    strings: list[str] = []
    for key in sorted(fields, key=lambda key: _POINT.index(key) if key in _POINT else 99):
        if key in _POINT:
            found = _coordinates(fields[key])
            if found is None:
                return None
            numbers += found
        elif key in _STRINGS:
            values = fields[key] if isinstance(fields[key], list) else [fields[key]]
            if not all(isinstance(value, str) for value in values):
                return None
            strings += values
        elif key not in _IGNORED:
            return None
    kind = "right_click" if str(fields.get("button", "")).casefold() == "right" else kind_of(data[name])
    directed = _WITH_DIRECTION.fullmatch(kind)
    if directed and not strings:
        kind, strings = "scroll", [directed[1] or directed[2]]
    return _meant(Action(kind, tuple(numbers), tuple(strings)))


def _coordinates(value: Any) -> list[float] | None:
    """A number, or a flat list of numbers, also as text."""
    if isinstance(value, dict) and set(value) == {"x", "y"}:
        value = [value["x"], value["y"]]
    if isinstance(value, str) and _AT.fullmatch(value):
        value = list(_AT.fullmatch(value).groups())  # type: ignore[union-attr]
    parts = value if isinstance(value, list) else [value]
    numbers = []
    for part in parts[:5]:
        if isinstance(part, str) and re.fullmatch(r"\s*[0-9]{1,4}(?:\.[0-9]{1,6})?\s*", part):
            part = float(part)
        if isinstance(part, bool) or not isinstance(part, (int, float)):
            return None
        if abs(part) > 1e6:
            return None
        numbers.append(float(part))
    return numbers


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
