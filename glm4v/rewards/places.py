"""Compass directions, bearings, coordinates on the globe, scales of maps."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from glm4v.rewards import quantity
from glm4v.rewards.numerals import chinese
from glm4v.rewards.statement import cores, hedge

TOLERANCE = 1e-5
_ENGLISH = {"north": "N", "south": "S", "east": "E", "west": "W", "n": "N", "s": "S", "e": "E", "w": "W"}
_HAN = {"北": "N", "南": "S", "东": "E", "西": "W"}
_NUMBER = r"([-+]?\d{1,3}(?:\.\d{1,8})?)"
_ANGLE = re.compile(
    rf"{_NUMBER}\s*(?:°|º|度|degrees?|deg\b)?\s*(?:(\d{{1,2}}(?:\.\d{{1,6}})?)\s*(?:′|'|分"
    rf"|minutes?))?\s*(?:(\d{{1,2}}(?:\.\d{{1,6}})?)\s*(?:″|\"|''|秒|seconds?))?"
)
_LETTER = r"(?:north|south|east|west|[NSEW])(?:\s+(?:latitude|longitude))?(?![A-Za-z])"
_COORDINATE = re.compile(rf"(?:({_LETTER}|[北南]纬|[东西]经)\s*)?{_ANGLE.pattern}\s*({_LETTER})?", re.IGNORECASE)
_BEARING_HAN = re.compile(r"(?:方向为?)?([东南西北])偏([东南西北])(\d+(?:\.\d+)?)\s*(?:°|度)(?:方向)?")
_BEARING = re.compile(
    r"([ns])\s*(\d+(?:\.\d+)?)\s*°?\s*([ew])|(\d+(?:\.\d+)?)\s*(?:°|degrees?)\s*(north|south|east"
    r"|west) of (north|south|east|west)"
)
_SCALE = re.compile(r"1\s*[:/]\s*([\d, ]+)")


class Coordinate(NamedTuple):
    """Degrees, north and east positive; the axis, "" where only the sign tells; whether a sign was written."""

    degrees: Fraction
    axis: str


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of coordinates, bearings and scales: None where the truth is none of them."""
    turned = [_degrees(part, question) for part in (text, truth)]
    if None not in turned:
        return turned[0] == turned[1]
    way = _compass(truth)
    if way is not None and hedge(text, truth) is None:
        ways = [heading for heading in map(_heading, cores(text, question)) if heading is not None]
        if ways:
            return ways[0] == way
    for parse in (_bearing, _scale, _zone):
        right = parse(truth)
        if right is not None and not re.fullmatch(r"[+-]\s*\d+", truth.strip()):  # -2 alone is a number
            if hedge(text, truth) is not None:
                return False
            return any(parse(core) == right for core in cores(text, question)[:6])
    wanted = coordinates(truth)
    if not wanted or not all(part.axis for part in wanted) or not re.search(r"°|度|degree|\\circ", truth):
        return None
    if hedge(text, truth) is not None:
        return False
    for core in cores(text, question):
        given = coordinates(core.strip(" ().").strip())
        if given:
            return _same(given, wanted)
    return False


def _same(given: list[Coordinate], wanted: list[Coordinate]) -> bool:
    if len(given) != len(wanted):
        return False
    if not all(part.axis for part in given):  # signed numbers: latitude first
        if any(part.axis for part in given) or [part.axis for part in wanted] == ["lon", "lat"]:
            return False
        if len(wanted) == 1 and given[0].degrees == -wanted[0].degrees:
            return False
        given = [part._replace(axis=target.axis) for part, target in zip(given, wanted, strict=True)]
    mine = {part.axis: part.degrees for part in given}
    return len(mine) == len(wanted) and all(
        abs(mine.get(part.axis, Fraction(9999)) - part.degrees) <= TOLERANCE * max(1.0, float(abs(part.degrees)))
        for part in wanted
    )


@lru_cache(maxsize=4096)
def coordinates(text: str) -> list[Coordinate]:
    """One or two coordinates that all of `text` spells, or none."""
    if len(text) > 100:
        return []
    text = re.sub(r"\\circ|\^\s*\{?\s*\\circ\s*\}?|\^°", "°", text).replace("^{°}", "°")
    text = re.sub(
        r"^(?:latitude|longitude|lat|lon|long)\.?:?\s*|(?<=[,;])\s*(?:latitude|longitude|lon|long)\.?:?\s*",
        " ",
        text,
        flags=re.I,
    ).strip()
    found: list[Coordinate] = []
    position = 0
    while position < len(text) and len(found) < 2:
        match = _COORDINATE.match(text, position)
        if match is None or match.end() == position:
            return []
        one = _coordinate(match)
        if one is None:
            return []
        found.append(one)
        rest = re.match(r"\s*(?:,|;|and|和)?\s*", text[match.end() :])
        position = match.end() + (rest.end() if rest else 0)
    return found if position >= len(text) else []


def _coordinate(match: re.Match[str]) -> Coordinate | None:
    before, degrees, minutes, seconds, after = match.groups()
    if before and after:
        return None
    value = Fraction(degrees)
    part = Fraction(minutes or 0) / 60 + Fraction(seconds or 0) / 3600
    if part >= 1 or (minutes and Fraction(minutes) >= 60):
        return None
    value = value - part if degrees.startswith("-") else value + part
    name = (before or after or "").casefold()
    letter = _HAN.get(name[:1]) or _ENGLISH.get(name.split()[0] if name else "", "")
    if name and value < 0:
        return None
    axis = "" if not letter else "lat" if letter in "NS" else "lon"
    if abs(value) > (90 if axis == "lat" else 180):
        return None
    return Coordinate(-value if letter in ("S", "W") else value, axis)


def _zone(text: str) -> Fraction | None:
    """Hours ahead of UTC: UTC+8, GMT+08:00, 东八区."""
    text = re.sub(
        r"^(\d{1,2}) hours? (ahead of|behind) (?:UTC|GMT)$",
        lambda m: f"UTC{'+' if m[2] != 'behind' else '-'}{m[1]}",
        text.strip(),
    )
    match = re.fullmatch(r"(?:UTC|GMT)?\s*([+-])\s*(\d{1,2})(?::([0-5]\d))?(?: hours)?", text.strip())
    if match:
        hours = int(match[2]) + Fraction(int(match[3] or 0), 60)
        return hours if match[1] == "+" else -hours
    match = re.fullmatch(r"([东西])([一二三四五六七八九十]{1,2}|\d{1,2})区", text.strip())
    if match is None:
        return None
    number = int(match[2]) if match[2].isdigit() else chinese(match[2]) or 0
    return Fraction(number if match[1] == "东" else -number)


def _bearing(text: str) -> tuple[str, str, Fraction] | None:
    """From which point towards which, and by how many degrees: 北偏东30°, N30°E, 30° east of north."""
    match = _BEARING_HAN.fullmatch(text.strip())
    if match:
        return _HAN[match[1]], _HAN[match[2]], Fraction(match[3])
    match = _BEARING.fullmatch(text.strip().casefold())
    if match is None:
        return None
    if match[1]:
        return match[1].upper(), match[3].upper(), Fraction(match[2])
    return _ENGLISH[match[6]], _ENGLISH[match[5]], Fraction(match[4])


def _degrees(text: str, question: str | None) -> Fraction | None:
    """A bearing, where the question asks for one, clockwise from north: 060° and N60°E are 60."""
    if not re.search(r"\bbearing\b|方位角", question or "", re.IGNORECASE):
        return None
    found = _bearing(text)
    if found is None or {found[0], found[1]} in ({"N", "S"}, {"E", "W"}):
        angle = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*(?:°|degrees)?", text.strip())
        return Fraction(angle[1]) if angle else None
    start = {"N": 0, "E": 90, "S": 180, "W": 270}[found[0]]
    clockwise = found[0] + found[1] in ("NE", "ES", "SW", "WN")
    return (start + (found[2] if clockwise else -found[2])) % 360


def _heading(text: str) -> str | None:
    """Where something goes that comes from the opposite side: from northwest to southeast, 自西北向东南."""
    match = re.fullmatch(
        r"from (?:the )?([a-z-]+) (?:to|towards?) (?:the )?([a-z-]+)|(?:自|从)([东南西北]{1,2})向([东南西北]{1,2})",
        text.strip().casefold(),
    )
    if match is None:
        return None
    start, end = _compass(match[1] or match[3]), _compass(match[2] or match[4])
    opposite = (start or "").translate(str.maketrans("NSEW", "SNWE"))
    return end if end == opposite else "?"


def _compass(text: str) -> str | None:
    """N, NE, ... for north, north-east, 东北."""
    bare = re.sub(r"[\s-]|wards?$|ern$", "", text.strip().casefold())
    name = re.fullmatch(r"(north|south)?(east|west)?", bare)
    if bare and name:
        return (_ENGLISH.get(name[1] or "", "") + _ENGLISH.get(name[2] or "", "")) or None
    han = re.fullmatch(r"([东西]?)([南北]?)(?:方向?|部)?", text.strip()) if text.strip() else None
    return (_HAN.get(han[2], "") + _HAN.get(han[1], "")) or None if han else None


def _scale(text: str) -> Fraction | None:
    """1:50,000, 1/50000, 1 to 50,000, 1 cm to 500 m."""
    text = re.sub(r"图上|实地|实际|距离", "", text)
    text = re.sub(r"(?<=\d)\s+to\s+(?=\d)|比", ":", text.strip().replace("∶", ":"))
    match = _SCALE.fullmatch(text)
    if match:
        digits = re.sub(r"[, ]", "", match[1])
        return Fraction(digits) if 2 <= len(digits) <= 12 else None
    parts = re.split(r"\s*(?:\bto\b|\brepresents?\b|:|=|\bequals?\b|\bon the map is\b|代表|表示)\s*", text)
    if len(parts) != 2:
        return None
    one, other = (quantity.read(part) for part in parts)
    if one is None or other is None or one.unit is None or other.unit is None or one.unit.dimension != (("m", 1),):
        return None
    if one.unit.dimension != other.unit.dimension or one.value == 0:
        return None
    ratio = complex(other.value) * other.unit.factor / (complex(one.value) * one.unit.factor)
    return Fraction(round(ratio.real)) if abs(ratio.real) < 1e12 else None
