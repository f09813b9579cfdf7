"""Chemical formulas, nuclides and equations: composition, charge, state and order, without names (see compounds.py)."""

import re
from collections import Counter
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

from glm4v.rewards.tables import rows

MAX_CHARACTERS = 160
MAX_COUNT = 500
MAX_SPECIES = 12

_DOWN = str.maketrans("₀₁₂₃₄₅₆₇₈₉₋", "0123456789-")
_UP = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_STATE = re.compile(r"\s*\((aq|s|l|g|cr|固|液|气)\)$")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_NUMBER = re.compile(r"[0-9]{1,4}")
_ARROWS = re.compile(
    r"\\(?:xrightarrow|xlongequal|xlongrightarrow|overset|stackrel"
    r"|xrightleftharpoons)\s*(?:\[[^\]]*\])?\s*(?:\{[^{}]*\})?(?:\s*\\?(?:rightarrow|to))?"
    r"|\\(?:longrightarrow|rightarrow|to|rightleftharpoons|leftrightarrow|longleftrightarrow|Rightarrow"
    r"|leftrightharpoons|rightleftarrows)(?![a-z])"
    r"|<=+>|<-+>|<->|[-=]{1,3}>|={1,3}|→|⟶|⇌|⇄|⇋|↔|⟷|⇒|═+|—+>|⟹|➝|➞"
)
_TAKEN = re.compile(r"\s[-−–]\s*([0-9]{0,2}\s*e(?:\^?\{?[-−]\}?|⁻))\s*$")
_CONDITION = re.compile(
    r"^\s*(?:\[[^\]]*\]|\{[^{}]*\}|Δ|△|\\[Dd]elta|\(?(?:点燃|加热|高温|通电|催化剂|高温高压|光照|一定条件|heat|hv|hν|electricity"
    r"|catalyst|light)\)?)+|(?:点燃|高温|加热|通电|△|Δ|电解|催化剂)+\s*$"
)


class Formula(NamedTuple):
    """Atoms counted, the charge, the state or "", the mass of a nuclide or 0, and the text in one spelling."""

    atoms: frozenset[tuple[str, int]]
    charge: int
    state: str
    mass: int
    text: str

    @property
    def species(self) -> tuple[frozenset[tuple[str, int]], int, int, str]:
        """What must be equal; the text too where the same atoms can be arranged in several ways."""
        elements = {element for element, _ in self.atoms}
        carbon = "C" in elements and (elements & {"H", "N"}) != set()
        return self.atoms, self.charge, self.mass, self.text if carbon else ""


@cache
def symbols() -> dict[str, int]:
    """Symbols of the elements to their atomic numbers."""
    return {row[0]: number for number, row in enumerate(rows("elements.txt", "|"), 1)} | {"D": 1}


def normal(text: str) -> str:
    """A formula in plain text: subscripts as digits, charges and masses behind ^, hydrate dots as ·."""
    text = re.sub(r"\\(?:mathrm|text|ce|rm|mathsf|mathbf)(?![a-z])\s*", "", text).strip().strip("$").strip()
    text = re.sub(r"^([0-9/. ]*)\{\}(?=[\^_])", r"\1", text)
    text = re.sub(
        r"^([⁰¹²³⁴⁵⁶⁷⁸⁹]+)([₋₀₁₂₃₄₅₆₇₈₉]+)(?=[A-Z])",
        lambda m: f"^{{{m[1].translate(_UP)}}}_{{{m[2].translate(_DOWN)}}}",
        text,
    )
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda power: "^{" + power[0].translate(_UP) + "}", text).translate(_DOWN)
    text = re.sub(r"\\cdot|\s*[•⋅∙*]\s*|\s*·\s*|(?<=[A-Za-z0-9)])\.(?=[0-9]*[A-Z])", "·", text)
    text = text.replace("↑", "").replace("↓", "").replace("\\uparrow", "").replace("\\downarrow", "").replace("−", "-")
    text = re.sub(r"_\{?([0-9n]+)\}?", r"\1", text) if not re.match(r"^\s*(\^|_)", text) else text
    return text.replace("\\", "").replace(" ", "") if "\\" not in text else re.sub(r"\\[,;! ]|\s", "", text)


@lru_cache(maxsize=4096)
def formulas(text: str) -> tuple[Formula, ...]:
    """The readings of a formula: more than one where Fe3+ may be an iron ion or three atoms with one charge."""
    if not 0 < len(text) <= MAX_CHARACTERS:
        return ()
    text = text.strip()
    state = _STATE.search(text)
    if state:
        text = text[: state.start()]
    rising = "g" if re.search(r"↑$|\\uparrow$", text) else "s" if re.search(r"↓$|\\downarrow$", text) else ""
    nuclide = _nuclide(normal(text), text)
    if nuclide:
        return (nuclide,)
    text = normal(text)
    found = []
    for body, charge in _charges(text):
        atoms = _atoms(body)
        if atoms is not None or (body == "e" and charge == -1):
            counted = frozenset((atoms or Counter()).items())
            name = state[1] if state else rising
            found.append(
                Formula(counted, charge, {"cr": "s", "固": "s", "液": "l", "气": "g"}.get(name, name), 0, _outer(body))
            )
    return tuple(found)


def _outer(body: str) -> str:
    """Without square brackets around all of it, and with single bonds left out."""
    body = body.replace("-", "")
    return body[1:-1] if body.startswith("[") and body.endswith("]") and body.count("[") == 1 else body


def _charges(text: str) -> list[tuple[str, int]]:
    """The formula without its charge, and the charge, in all ways to read it."""
    match = re.fullmatch(r"(.+?)\^\{?\(?(?:([0-9]{0,2})([+-])|([+-])([0-9]{1,2}))\)?\}?", text)
    if match:
        size = int(match[2] or match[5] or 1)
        return [(match[1], size if (match[3] or match[4]) == "+" else -size)]
    match = re.fullmatch(r"(.+?)(?:\(([0-9])([+-])\)|(?:(?<=[0-9)])([-+])|(?<=[a-z])(\+))([1-4]))", text)
    if match and "-" not in match[1]:  # SO4(2-), SO4-2, Ca+2
        size = int(match[2] or match[6])
        return [(match[1], size if "+" in (match[3], match[4], match[5]) else -size)]
    match = re.fullmatch(r"(.+?)([0-9]?)([+-])", text)
    if match is None:
        return [(text, 0)] if "^" not in text else []
    sign = 1 if match[3] == "+" else -1
    readings = [(match[1], sign * int(match[2]))] if match[2] and match[2] != "0" else []
    return [*readings, (match[1] + match[2], sign)]


def _atoms(text: str) -> Counter[str] | None:
    """How many atoms of each element; None where it is no formula."""
    total: Counter[str] = Counter()
    for index, part in enumerate(re.split(r"·", text)):
        match = re.match(r"([0-9]{0,3})(.*)$", part, re.S)
        assert match is not None
        times = int(match[1] or 1) if index else 1
        counted = _group(part if index == 0 else match[2])
        if counted is None or times == 0:
            return None
        for element, count in counted.items():
            total[element] += count * times
    return total if total and max(total.values()) <= MAX_COUNT else None


def _group(text: str) -> Counter[str] | None:
    stack: list[Counter[str]] = [Counter()]
    position = 0
    while position < len(text):
        mark = text[position]
        if mark in "([":
            if len(stack) > 4:
                return None
            stack.append(Counter())
            position += 1
        elif mark in ")]":
            if len(stack) < 2:
                return None
            group, position = stack.pop(), position + 1
            position, times = _times(text, position)
            for element, count in group.items():
                stack[-1][element] += count * times
        elif mark in "=≡-" and 0 < position < len(text) - 1:
            position += 1
        else:
            match = _ELEMENT.match(text, position)
            if match is None:
                return None
            name = match[0] if match[0] in symbols() else match[0][0]
            if name not in symbols():
                return None
            position, times = _times(text, position + len(name))
            stack[-1][name] += times
        if times_too_many(stack[-1]):
            return None
    return stack[0] if len(stack) == 1 else None


def times_too_many(group: Counter[str]) -> bool:
    """Whether a group has more atoms than any answer needs, or none."""
    return any(not 0 < count <= MAX_COUNT for count in group.values())


def _times(text: str, position: int) -> tuple[int, int]:
    match = _NUMBER.match(text, position)
    if match is None:
        return position, 1
    return match.end(), int(match[0])


def _nuclide(text: str, raw: str) -> Formula | None:
    """^{234}_{90}Th, 234Th, Th-234."""
    match = re.fullmatch(r"(?:_\{?([0-9]{1,3})\}?)?\^\{?([0-9]{1,3})\}?(?:_\{?(-?[0-9]{1,3})\}?)?([A-Z][a-z]?)", text)
    match = match or re.fullmatch(r"()([0-9]{2,3})()([A-Z][a-z]?)", raw)
    if match:
        protons, mass, second, symbol = match.groups()
    else:
        match = re.fullmatch(r"([A-Z][a-z]?)-([0-9]{1,3})", text)
        if match is None:
            return None
        symbol, mass = match.groups()
        protons = second = ""
    number = symbols().get(symbol)
    stated = protons or second
    if number is None or (stated and int(stated) != number) or not number <= int(mass) <= 2.7 * number + 3:
        return None
    return Formula(frozenset(((symbol, 1),)), 0, "", int(mass), symbol)


class Reaction(NamedTuple):
    """Coefficients of the species on both sides, and the states that were written."""

    left: dict[tuple[object, ...], Fraction]
    right: dict[tuple[object, ...], Fraction]
    states: dict[tuple[object, ...], str]


@lru_cache(maxsize=2048)
def reactions(text: str) -> tuple[Reaction, ...]:
    """An equation with one arrow, read in at most two ways; () when it is none, or not balanced in atoms and charge."""
    if not 0 < len(text) <= 4 * MAX_CHARACTERS:
        return ()
    sides = _ARROWS.split(text)
    if len(sides) == 3 and not re.search(r"[A-Z][a-z]?", _CONDITION.sub("", sides[1])):
        sides = [sides[0], sides[2]]
    if len(sides) != 2:
        return ()
    taken = _TAKEN.search(sides[0])
    if taken:  # Fe²⁺ - e⁻ → Fe³⁺
        sides = [sides[0][: taken.start()], f"{sides[1]} + {taken[1]}"]
    left, right = (_side(_CONDITION.sub("", side).strip(" —")) for side in sides)
    if not left or not right:
        return ()
    first, second = _merge(left, True), _merge(right, True)
    found = Reaction(first[0], second[0], first[1] | second[1])
    return (found,) if _balanced(left, right) and found.left != found.right else ()


def _side(text: str) -> list[tuple[Fraction, Formula]]:
    """Terms between plus signs that are not charges."""
    text = re.sub(r"\^\s*\{([^{}]*)\}", lambda power: "^{" + power[1].replace(" ", "") + "}", text)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda power: "^{" + power[0].translate(_UP) + "}", text).translate(_DOWN)
    terms = re.split(
        r"\s+\+\s*|(?<=[)\]A-Za-z0-9}↑↓])\+\s+(?!\+)|(?<=[A-Za-z0-9)\]}])\+(?!\((?:aq|s|l|g)\))(?=[0-9]*(?:[A-Z(\[]|e(?![a-z])))",
        text,
    )
    found = []
    for term in terms[: MAX_SPECIES + 1]:
        match = re.match(
            r"\s*(?:([0-9]{1,3})\s*/\s*([0-9]{1,3})|\\frac\{([0-9]+)\}\{([0-9]+)\}|\\frac([0-9])([0-9])"
            r"|([0-9]{1,3}(?:\.[0-9]{1,3})?)|(½))?\s*(.+?)(?:\s+[v^])?\s*$",
            term,
            re.S,
        )
        if match is None:
            return []
        over, under = match[1] or match[3] or match[5], match[2] or match[4] or match[6]
        times = (
            Fraction(1, 2)
            if match[8]
            else Fraction(int(over), int(under or 1) or 1)
            if over
            else Fraction(match[7] or 1)
        )
        readings = formulas(match[9])
        if not readings or times <= 0:
            return []
        found.append((times, readings[0]))
    return found if len(found) <= MAX_SPECIES else []


def _merge(
    side: list[tuple[Fraction, Formula]], states: bool
) -> tuple[dict[tuple[object, ...], Fraction], dict[tuple[object, ...], str]]:
    total: dict[tuple[object, ...], Fraction] = {}
    named: dict[tuple[object, ...], str] = {}
    for times, formula in side:
        total[formula.species] = total.get(formula.species, Fraction(0)) + times
        if formula.state:
            named[formula.species] = formula.state
    return total, named


def _balanced(left: list[tuple[Fraction, Formula]], right: list[tuple[Fraction, Formula]]) -> bool:
    totals = []
    for side in (left, right):
        atoms: dict[str, Fraction] = {}
        charge = Fraction(0)
        for times, formula in side:
            charge += times * formula.charge
            for element, count in formula.atoms:
                key = element if not formula.mass else "nucleons"
                atoms[key] = atoms.get(key, Fraction(0)) + times * (count if not formula.mass else formula.mass)
        totals.append((atoms, charge))
    return totals[0] == totals[1]


def same_reaction(given: Reaction, right: Reaction) -> bool:
    """The same species the same way round, coefficients up to one factor, and no state contradicted."""
    if given.left.keys() != right.left.keys() or given.right.keys() != right.right.keys():
        return False
    ratios = {given.left[key] / right.left[key] for key in right.left} | {
        given.right[key] / right.right[key] for key in right.right
    }
    return len(ratios) == 1 and all(right.states.get(key, state) == state for key, state in given.states.items())
