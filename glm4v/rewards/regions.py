"""Regions of the real line: unions of intervals, from interval notation and from inequalities that are solved."""

import re
from typing import NamedTuple

from glm4v.rewards import algebra
from glm4v.rewards.expression import ExpressionError, parse
from glm4v.rewards.notation import plain_mathematics

MAX_PARTS = 40
INFINITY = float("inf")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}


class Region(NamedTuple):
    """Disjoint intervals in order: (low, high, low is in, high is in)."""

    intervals: tuple[tuple[float, float, bool, bool], ...]
    variable: str = ""


def interval(opening: str, low: str, high: str, closing: str) -> Region | None:
    ends = (bound(low), bound(high))
    if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return None
    return Region(((ends[0], ends[1], opening == "[", closing == "]"),))


def bound(text: str) -> float | None:
    """A number or plus or minus infinity."""
    bare = plain_mathematics(text).replace(" ", "").replace("\\", "")
    if bare in ("infinity", "+infinity", "inf", "+inf", "infty", "+infty"):
        return INFINITY
    if bare in ("-infinity", "-inf", "-infty"):
        return -INFINITY
    try:
        value = complex(algebra.evaluate(parse(text)))
    except ExpressionError:
        return None
    return value.real if abs(value.imag) < 1e-9 else None


def half_line(left: str, sign: str, right: str) -> Region | None:
    variable = r"[A-Za-zα-ω]|\\[a-z]+"
    left, right = (re.sub(r"^[fgh]\([a-z]\)$", "y", side) for side in (left, right))
    if not re.fullmatch(variable, left):
        if not re.fullmatch(variable, right):
            return _distance(left, sign, right)
        left, right, sign = right, left, _FLIPPED[sign]
    end = bound(right)
    if end is None:
        return None
    if sign == "!=":
        return without(Region(((-INFINITY, INFINITY, False, False),), left), [end])
    closed = sign.endswith("=") and abs(end) != INFINITY
    if sign[0] == "<":
        return Region(((-INFINITY, end, False, closed),), left)
    return Region(((end, INFINITY, closed, False),), left)


def _distance(left: str, sign: str, right: str) -> Region | None:
    """|x - a| < b and |x - a| > b."""
    if right.startswith("|"):
        left, right, sign = right, left, _FLIPPED[sign]
    match = re.fullmatch(r"\|\s*([a-z])\s*(?:([-+])([^|<>]+))?\|", left)
    width = bound(right)
    if match is None or width is None or width <= 0 or sign == "!=":
        return None
    shift = bound(match[3]) if match[3] else 0.0
    if shift is None:
        return None
    middle = -shift if match[2] == "+" else shift
    closed = sign.endswith("=")
    if sign[0] == "<":
        return Region(((middle - width, middle + width, closed, closed),), match[1])
    return Region(((-INFINITY, middle - width, False, closed), (middle + width, INFINITY, closed, False)), match[1])


def union(regions: list[Region]) -> Region | None:
    """All points of any of them, as disjoint intervals; None where the variables differ."""
    if len({region.variable for region in regions} - {""}) > 1:
        return None
    merged: list[tuple[float, float, bool, bool]] = []
    for low, high, low_in, high_in in sorted(part for region in regions for part in region.intervals):
        if merged and (low < merged[-1][1] or (low == merged[-1][1] and (low_in or merged[-1][3]))):
            before = merged[-1]
            end = max((before[1], before[3]), (high, high_in))
            merged[-1] = (before[0], end[0], before[2] or (low == before[0] and low_in), end[1])
        else:
            merged.append((low, high, low_in, high_in))
    return Region(tuple(merged), max(region.variable for region in regions))


def intersection(regions: list[Region]) -> Region | None:
    """The points of all of them; None where the variables differ."""
    if len({region.variable for region in regions} - {""}) > 1 or not regions:
        return None
    found = regions[0].intervals
    for region in regions[1:]:
        common = []
        for one in found[:MAX_PARTS]:
            for other in region.intervals[:MAX_PARTS]:
                low, low_out = max((one[0], not one[2]), (other[0], not other[2]))
                high, high_in = min((one[1], one[3]), (other[1], other[3]))
                if low < high or (low == high and not low_out and high_in):
                    common.append((low, high, not low_out, high_in))
        found = tuple(common)
    return Region(found, max(region.variable for region in regions))


def without(region: Region, points: list[float]) -> Region | None:
    holes = []
    for low, high in zip([-INFINITY, *sorted(points)], [*sorted(points), INFINITY], strict=True):
        holes.append((low, high, False, False))
    return intersection([region, Region(tuple(holes), region.variable)])


def complement(region: Region) -> Region:
    """The points that are not in a region."""
    gaps, low, low_in = [], -INFINITY, False
    for start, end, start_in, end_in in region.intervals:
        gaps.append((low, start, low_in, not start_in))
        low, low_in = end, not end_in
    gaps.append((low, INFINITY, low_in, False))
    return Region(tuple(gap for gap in gaps if gap[0] < gap[1] or (gap[0] == gap[1] and gap[2] and gap[3])))
