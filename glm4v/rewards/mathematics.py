"""What a mathematical answer is: an expression, an equation, a region of the real line, a set or a tuple, and so on.

`read` gives one of the shapes below for a text, or None. Regions are unions of intervals; a pair in round brackets is a
tuple that may also be read as an open interval.
"""

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from glm4v.rewards import algebra
from glm4v.rewards.expression import MAX_CHARACTERS, ExpressionError, Tree, parse
from glm4v.rewards.notation import plain_relations
from glm4v.rewards.quantity import read as read_quantity
from glm4v.rewards.regions import (
    INFINITY,
    MAX_PARTS,
    Region,
    complement,
    half_line,
    intersection,
    interval,
    union,
    without,
)

MAX_DEPTH = 3


class Expression(NamedTuple):
    tree: Tree


class Equation(NamedTuple):
    """The sides of a = b = c, and as text what the first was."""

    sides: tuple[Tree | None, ...]
    label: str


class Inequality(NamedTuple):
    """greater - smaller > 0, or >= 0, in two or more variables."""

    difference: Tree
    strict: bool


class Items(NamedTuple):
    """Parts in an order that binds (a tuple, a vector) or not (a set), or that the question decides (a plain list)."""

    parts: tuple["Shape", ...]
    kind: str  # "tuple", "set" or "list"
    label: str = ""


Shape: TypeAlias = Expression | Equation | Inequality | Region | Items

_EMPTY = {
    "∅",
    "\\varnothing",
    "\\emptyset",
    "{}",
    "\\{\\}",
    "{ }",
    "empty set",
    "the empty set",
    "no solution",
    "no solutions",
}
_EMPTY |= {
    "no real solution",
    "no real solutions",
    "无解",
    "空集",
    "there is no solution",
    "there are no solutions",
    "no real roots",
}
_EMPTY |= {
    f"the {noun} has no {kind}{part}"
    for noun in ("equation", "inequality", "system")
    for kind in ("", "real ")
    for part in ("solution", "solutions", "roots")
}
_EMPTY |= {"Ø", "\\{ \\}", "none", "无实数解", "无实数根", "方程无解"}
_REALS = {
    "R",
    "ℝ",
    "\\mathbb{R}",
    "\\R",
    "all real numbers",
    "all reals",
    "(-∞,∞)",
    "全体实数",
    "实数集",
    "一切实数",
    "任意实数",
}
_ALL_REALS = re.compile(
    r"(?:x (?:is|can be) )?(?:all|any|every)(?: the)? real(?:s| numbers?| values?)?(?: (?:of )?x)?", re.IGNORECASE
)
_LABEL = re.compile(
    r"(?:[A-Za-z\u0370-\u03ff]|\\[a-z]+)(?:_\{?[A-Za-z0-9]{1,6}\}?|[0-9₀-₉ₙₐₑₓ])?'{0,3}(?:\s*\([A-Za-z0-9, ]{1,12}\))?"
    r"|\\?(?:d|frac\{?d)\^?\d?[A-Za-z]?\}?/?\{?d[A-Za-z](?:\^\d)?\}?|[Dd]/?d[A-Za-z]|\\[a-z]+ [A-Z]{1,3}"
    r"|[A-Z]{2,3}|∠[A-Z]{1,3}"
    r"|P\s*\([^=()]{1,20}\)|\\frac\{d\^?\d?[a-z]\}\{d[a-z]\^?\d?\}|\|[A-Z]{1,3}\||[xyz],\s*[xyz](?:,\s*z)?"
    r"|\([xyz],\s*[xyz](?:,\s*z)?\)|\|[A-Za-z]\||(?i:lcm|gcd|hcf|gcf|max|min|mean|median|mode|range)(?:\s*\([^()=]{1,40}\))?"
    r"|[fgh]\^\{?-1\}?\s*\([a-z]\)|\(?[fgh]\s*(?:∘|°|\\circ)\s*[fgh]\s*\)?\s*\([a-z0-9]\)|[fgh]\([fgh]\([a-z0-9]\)\)"
)
_OPERATION = re.compile(r"\\frac\{\\?d|\\?d/?d[a-z]|'|\\int|∫|\\lim|\\sum|[∑Σ]|\blim\b|\bvar|\bE\s*[(\[]")
_MATRIX = re.compile(r"\\begin\{([pbvB]?matrix|array|cases)\}(?:\{[clr|]*\})?(.*?)\\end\{\1\}", re.S)


@lru_cache(maxsize=4096)
def read(text: str) -> Shape | None:
    """The shape of all of `text`, or None."""
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        return _shape(plain_relations(text), 0)
    except (ExpressionError, RecursionError):
        return None


def _shape(text: str, depth: int) -> Shape | None:
    text = text.strip().strip(",;").strip()
    compact = text.replace(" ", "")
    if not text or depth > MAX_DEPTH:
        return None
    if text.casefold() in _EMPTY or compact in _EMPTY:
        return Items((), "set")
    if text in _REALS or compact in _REALS or _ALL_REALS.fullmatch(text):
        return Region(((-INFINITY, INFINITY, False, False),))
    named = re.match(r"^(?:[A-Z]\s*[∩∪∖]\s*[A-Z]|[A-Z]\^\{?[cC]\}?|\\overline\s*\{?[A-Z]\}?)\s*=(.+)$", text)
    if named:
        return _shape(named[1], depth + 1)
    builder = re.match(r"^\\?\{\s*([a-z])\s*(?:∈\s*[ℝR]\s*)?(?:\||:|\\mid)\s*(.+?)\\?\}$", text)
    if builder:
        return _shape(builder[2], depth + 1)
    column = re.fullmatch(r"\\binom\s*\{([^{}]+)\}\s*\{([^{}]+)\}", text) if "\\binom" in text and "-" in text else None
    if column:
        return _items([_shape(part, depth + 1) for part in column.groups()], "tuple")
    matrix = _MATRIX.fullmatch(text) or _MATRIX.fullmatch(text[1:-1].strip())
    if matrix:
        rows = [row for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        return _items([_row(row, depth) for row in rows], "tuple")
    member = re.match(r"^([A-Za-z])\s*∈\s*(.+)$", text)
    if member:
        inner = _shape(member[2], depth + 1)
        return _as_region(inner, member[1]) or inner
    if "∪" in text or "∩" in text or "∖" in text:
        return _combined(text, depth)
    if re.search(r"\s(?:or|and)\s", text):
        return _joined(text, depth)
    if re.search(r"[<>]|!=", text):
        return _inequalities(text, depth)
    return _bracketed(text, depth) or _listed(text, depth) or _equation(text, depth)


def _row(text: str, depth: int) -> Shape | None:
    cells = text.split("&")
    if len(cells) == 1:
        return _shape(text, depth + 1)
    return _items([_shape(cell, depth + 1) for cell in cells], "tuple")


def _items(parts: list[Shape | None], kind: str, label: str = "") -> Items | None:
    whole = tuple(part for part in parts if part is not None)
    return Items(whole, kind, label) if len(whole) == len(parts) <= MAX_PARTS else None


def split(text: str, separators: str) -> list[str]:
    """Parts between separators that stand outside of all brackets. A comma between groups of three digits is none."""
    parts, depth, start = [], 0, 0
    for position, mark in enumerate(text):
        if mark in "([{⟨":
            depth += 1
        elif mark in ")]}⟩":
            depth -= 1
        elif depth == 0 and mark in separators:
            thousands = mark == "," and re.match(r",[0-9]{3}(?![0-9])", text[position : position + 5])
            if (
                thousands
                and re.search(r"(?<![0-9])[0-9]{1,3}$", text[start:position])
                and not text[position + 4 :].startswith(", ")
            ):
                continue
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _bracketed(text: str, depth: int) -> Shape | None:
    """{1, 2}, {x | x > 1}, (1, 2), [1, 2), ⟨1, 2⟩; None where the brackets do not close over all of it."""
    text = text.replace("\\{", "{").replace("\\}", "}")
    label, sign, rest = text.partition("=")
    if sign and _LABEL.fullmatch(label.strip()) and rest.strip()[:1] in ("(", "{", "[", "⟨"):
        inner = _bracketed(rest.strip(), depth)
        return inner._replace(label=label.strip()) if isinstance(inner, Items) else inner
    point = re.match(r"^[A-Z]\s*(\(.+,.+\))$", text)
    if point:
        text = point[1]
    if len(text) < 2 or text[0] not in "{([⟨]" or text[-1] not in "})]⟩[":
        return None
    inside = text[1:-1]
    parts = split(inside, ",;")
    if text[0] == "{" and text[-1] == "}":
        return _items([_shape(part, depth + 1) for part in parts], "set")
    if len(parts) < 2:
        return None
    if len(parts) == 2 and text[0] + text[-1] != "()" and text[0] not in "⟨{":
        found = interval(text[0], parts[0], parts[1], text[-1])
        if found is not None:
            return found
    if text[0] + text[-1] in ("()", "⟨⟩", "[]"):
        if text[0] == "(" and re.search(r"[∞]|infty|infinity", inside):
            return interval("(", parts[0], parts[1], ")")
        return _items([_row_or(part, depth) for part in parts], "tuple")
    return None


def _row_or(text: str, depth: int) -> Shape | None:
    """[1, 2] inside brackets is the row of a matrix, not an interval."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]") and depth < MAX_DEPTH:
        return _items([_shape(part, depth + 2) for part in split(text[1:-1], ",;")], "tuple")
    return _shape(text, depth + 1)


def _as_region(shape: Shape | None, variable: str = "") -> Region | None:
    """A region, also from a pair in round brackets."""
    if isinstance(shape, Region):
        return shape._replace(variable=variable or shape.variable)
    if isinstance(shape, Items) and shape.kind == "tuple" and len(shape.parts) == 2 and not shape.label:
        ends = [_number(part) for part in shape.parts]
        if ends[0] is not None and ends[1] is not None and ends[0] < ends[1]:
            return Region(((ends[0], ends[1], False, False),), variable)
    return None


as_region = _as_region


def _number(shape: Shape) -> float | None:
    if not isinstance(shape, Expression):
        return None
    try:
        value = complex(algebra.evaluate(shape.tree))
    except ExpressionError:
        return None
    return value.real if abs(value.imag) < 1e-9 else None


def _combined(text: str, depth: int) -> Shape | None:
    """A ∪ B, A ∩ B, ℝ ∖ {a}."""
    if "∖" in text:
        whole, _, points = text.partition("∖")
        hole = _shape(points, depth + 1)
        region, cut = _as_region(_shape(whole, depth + 1)), _as_region(hole)
        if region is not None and cut is not None:
            return intersection([region, complement(cut)])
        values = [_number(part) for part in hole.parts] if isinstance(hole, Items) else [None]
        if region is None or any(value is None for value in values):
            return None
        return without(region, [value for value in values if value is not None])
    parts = [_as_region(_shape(part, depth + 1)) for part in re.split("∪" if "∪" in text else "∩", text)]
    if any(part is None for part in parts):
        return None
    regions = [part for part in parts if part is not None]
    return union(regions) if "∪" in text else intersection(regions)


def _joined(text: str, depth: int) -> Shape | None:
    """x < 1 or x > 7; x > 1 and x < 7; x = 2 or x = 3; 2, 5 and 9."""
    alternatives = re.split(r",?\s+or\s+", text)
    if len(alternatives) > 1:
        shapes = [_shape(part, depth + 1) for part in alternatives]
        regions = [_as_region(shape) if isinstance(shape, Region) else None for shape in shapes]
        if all(region is not None for region in regions):
            return union([region for region in regions if region is not None])
        flat: list[Shape | None] = []
        for shape in shapes:
            flat += list(shape.parts) if isinstance(shape, Items) and shape.kind == "list" else [shape]
        return None if any(isinstance(shape, Region) for shape in shapes) else _items(flat, "set")
    parts = re.split(r",?\s+and\s+", text)
    if re.search(r"[<>]|!=", text):
        regions = [_as_region(_shape(part, depth + 1)) for part in parts]
        return None if None in regions else intersection([region for region in regions if region is not None])
    return _listed(", ".join(parts), depth)


def _listed(text: str, depth: int) -> Items | None:
    """2, 5, 9 or 2; 5; 9; and ±3 as both signs."""
    parts = split(text, ";") if ";" in text else split(text, ",")
    if len(parts) > 1:
        flat: list[Shape | None] = []
        for part in parts:
            shape = _shape(part, depth + 1)
            flat += list(shape.parts) if isinstance(shape, Items) and shape.kind == "set" and "±" in part else [shape]
        return _items(flat, "list")
    if text.count("±") == 1:
        return _items([_shape(text.replace("±", sign), depth + 1) for sign in "+-"], "set")
    return None


def is_label(text: str) -> bool:
    """Whether what stands before an equals sign only names or calls for what follows it: f'(x), dy/dx, a_n, ∠A."""
    return _LABEL.fullmatch(text.strip()) is not None or (len(text) < 60 and _OPERATION.search(text) is not None)


def _equation(text: str, depth: int) -> Shape | None:
    sides = text.split("=")
    if len(sides) == 1:
        return Expression(_side(text))
    if len(sides) > 6 or any(not side.strip() for side in sides):
        return None
    trees: list[Tree | None] = []
    for index, side in enumerate(sides):
        label = index == 0 and is_label(side)
        try:
            trees.append(_side(side))
        except ExpressionError:
            if not label:
                return None
            trees.append(None)
    return Equation(tuple(trees), sides[0].strip())


def _side(text: str) -> Tree:
    if "±" in text:
        raise ExpressionError("both signs")
    try:
        return parse(text)
    except ExpressionError:
        quantity = read_quantity(text)
        if quantity is None or quantity.unit is not None or quantity.approximate:
            raise
        return quantity.tree


def _inequalities(text: str, depth: int) -> Shape | None:
    """a < x <= b; x > a; |x - a| < b; x != a; y > 2x + 1. Only solved for the variable: else it is the question."""
    parts = re.split(r"(<=|>=|!=|<|>)", text)
    sides, signs = parts[0::2], parts[1::2]
    conditions = split(text, ",;")
    if len(conditions) > 1:
        parts_of = [_as_region(_shape(part, depth + 1)) for part in conditions]
        return None if None in parts_of else intersection([region for region in parts_of if region is not None])
    if len(signs) > 2 or (len(signs) == 2 and signs[0][0] != signs[1][0]):
        return None
    regions = []
    for left, sign, right in zip(sides[:-1], signs, sides[1:], strict=True):
        region = half_line(left.strip(), sign, right.strip())
        if region is None:
            return _general(sides, signs)
        regions.append(region)
    if len({region.variable for region in regions}) > 1:
        return None
    return intersection(regions)


def _general(sides: list[str], signs: list[str]) -> Inequality | None:
    if len(signs) != 1 or signs[0] == "!=":
        return None
    left, right = parse(sides[0]), parse(sides[1])
    if len(algebra.variables(left) | algebra.variables(right)) < 2:
        return None
    tree = algebra.difference(left, right) if signs[0][0] == ">" else algebra.difference(right, left)
    return Inequality(tree, not signs[0].endswith("="))
