"""Names of substances: what they are made of. Salts are put together from the ions of data/ions.txt, molecules from
prefixes and elements; other names and formulas stand in data/substances.txt."""

import re
from functools import cache, lru_cache
from math import gcd

from glm4v.rewards import chemical, numerals
from glm4v.rewards.tables import rows
from glm4v.rewards.text import fold

_PREFIXES = {
    "mono": 1,
    "mon": 1,
    "di": 2,
    "tri": 3,
    "tetra": 4,
    "tetr": 4,
    "penta": 5,
    "pent": 5,
    "hexa": 6,
    "hepta": 7,
    "octa": 8,
    "deca": 10,
}
_IDES = {
    "oxide": "O",
    "xide": "O",
    "fluoride": "F",
    "chloride": "Cl",
    "bromide": "Br",
    "iodide": "I",
    "sulfide": "S",
    "nitride": "N",
    "hydride": "H",
    "phosphide": "P",
    "carbide": "C",
}
_NONMETALS = {
    "carbon": "C",
    "nitrogen": "N",
    "sulfur": "S",
    "sulphur": "S",
    "phosphorus": "P",
    "silicon": "Si",
    "chlorine": "Cl",
    "bromine": "Br",
    "iodine": "I",
    "boron": "B",
    "xenon": "Xe",
    "oxygen": "O",
    "selenium": "Se",
    "arsenic": "As",
    "fluorine": "F",
    "hydrogen": "H",
}
_WATERS = {
    "mono": 1,
    "di": 2,
    "tri": 3,
    "tetra": 4,
    "penta": 5,
    "hexa": 6,
    "hepta": 7,
    "octa": 8,
    "nona": 9,
    "deca": 10,
    "dodeca": 12,
}
_LONG_PREFIXES = {"o": "ortho", "m": "meta", "p": "para", "E": "trans", "Z": "cis"}
_HAN_WATERS = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "十二": 12}


@cache
def _ions() -> tuple[
    dict[str, tuple[str, int]], dict[str, tuple[str, int]], dict[str, tuple[str, int]], dict[str, tuple[str, int]]
]:
    """Cations and anions by English and by Chinese names."""
    tables: tuple[dict[str, tuple[str, int]], ...] = ({}, {}, {}, {})
    for formula, charge, english, han in rows("ions.txt", "|"):
        positive = int(charge) > 0
        for names, table in ((english, tables[0 if positive else 1]), (han, tables[2 if positive else 3])):
            table.update({name.strip(): (formula, int(charge)) for name in names.split(",") if name.strip()})
    return tables[0], tables[1], tables[2], tables[3]


@cache
def elements() -> dict[str, str]:
    """English and Chinese names of the elements to their symbols."""
    table = {name: row[0] for row in rows("elements.txt", "|") for name in row[1:]}
    return table | {"aluminum": "Al", "cesium": "Cs", "sulphur": "S", "wolfram": "W"}


@cache
def _known() -> dict[str, list[str]]:
    """Names and formulas in substances.txt to all names of the same thing."""
    table: dict[str, list[str]] = {}
    for row in rows("substances.txt", "|"):
        for name in row:
            table.setdefault(_plain(name), row)
    return table


def _plain(name: str) -> str:
    """A name without spaces, hyphens and case; a formula as it is."""
    if chemical.formulas(name):
        return chemical.normal(name)
    bare = re.sub(r"^(?:the|a|an)\s+", "", fold(name).casefold().strip(" ."))
    bare = re.sub(r"^poly\((\w+)\)$", r"poly\1", bare)
    return re.sub(r"[\s-]", "", locants_first(bare).replace("sulph", "sulf").replace("aluminum", "aluminium"))


def same_systematic(truth: str, candidates: list[str]) -> bool | None:
    """True for a systematic name with locants, 3-methylpentane, but for spaces and hyphens; None for anything else."""
    found, right = ({_plain(_prefix(name)) for name in names} for names in (candidates, [truth]))
    return (
        True
        if re.search(r"\d-[a-z]|^\W?(?:[ompEZDL]|ortho|meta|para|cis|trans)\W?-", truth) and found & right
        else None
    )


def _prefix(name: str) -> str:
    """p- as para-, (E)- as trans-."""
    return re.sub(r"^\(?([ompEZ])\)?-", lambda mark: _LONG_PREFIXES[mark[1]] + "-", name)


def locants_first(name: str) -> str:
    """propan-2-ol as 2-propanol, but-1-ene as 1-butene."""
    return re.sub(
        r"\b([a-z]*?(?:meth|eth|prop|but|pent|hex|hept|oct|non|dec)(?:an)?)-(\d+(?:,\d+)*)-((?:di|tri)?(?:ene|yne"
        r"|ol|one|al))\b",
        r"\2-\1\3",
        name,
    )


@lru_cache(maxsize=4096)
def identities(text: str) -> frozenset[object]:
    """All that a name or formula says about what it names: formulas as species, and the line of the table it is on."""
    text = text.strip(" .")
    found: set[object] = set()
    if not text or len(text) > chemical.MAX_CHARACTERS:
        return frozenset()
    formulas = chemical.formulas(text)
    found.update(formula.species for formula in formulas)
    line = _known().get(_plain(text))
    if line is not None:
        found.add(tuple(line))
        found.update(formula.species for name in line for formula in chemical.formulas(name)[:1])
    if not formulas:
        for formula in (_english(text), _han(text)):
            if formula is not None:
                found.update(one.species for one in chemical.formulas(formula))
                known = _known().get(chemical.normal(formula))
                if known:
                    found.add(tuple(known))
        found.update(_nuclide(text))
        symbol = elements().get(fold(text).casefold())
        if symbol:
            found.update(one.species for one in chemical.formulas(symbol))
    return frozenset(found)


def is_systematic(text: str) -> bool:
    """Whether a name says of which ions or atoms a substance is made, or is a formula."""
    return bool(chemical.formulas(text)) or (_english(text) or _han(text)) is not None


def _nuclide(text: str) -> list[object]:
    match = re.fullmatch(r"([a-z]+|[\u4e00-\u9fff])\s*-?\s*(\d{1,3})", fold(text).casefold())
    symbol = elements().get(match[1]) if match else None
    return [one.species for one in chemical.formulas(f"{symbol}-{match[2]}")] if match and symbol else []


def _english(text: str) -> str | None:
    """The formula of an English name: iron(III) chloride, dinitrogen tetroxide, copper sulfate pentahydrate."""
    name = fold(text).casefold().replace("sulph", "sulf")
    waters = re.search(r"[\s-]*([a-z]+?)hydrate$", name)
    if waters and waters[1] in _WATERS:
        body = _english(name[: waters.start()])
        return None if body is None else f"{body}·{_WATERS[waters[1]]}H2O"
    cations, anions, _, _ = _ions()
    ion = re.sub(r"\s+(?:ion|cation|anion)s?$", "", name)
    if ion != name or ion in anions or (ion in cations and len(cations[ion][0]) > 2):
        return _with_charge(_cation(ion) or anions.get(ion))
    molecule = _molecule(name)
    if molecule:
        return molecule
    for length in range(len(name) - 1, 2, -1):
        if name[length] == " " and name[length + 1 :] in anions:
            cation = _cation(name[:length])
            if cation is not None:
                return salt(cation, anions[name[length + 1 :]])
    return None


def _cation(name: str) -> tuple[str, int] | None:
    """iron(III), iron (iii), ferric, sodium; copper and iron alone do not say their charge, silver and zinc do."""
    match = re.fullmatch(r"([a-z]+)\s*\(([ivx]+|\d)\+?\)", name)
    if match:
        symbol = elements().get(match[1])
        charge = numerals.roman(match[2].upper()) if match[2].isalpha() else int(match[2])
        return (symbol, charge) if symbol and charge else None
    if name == "copper":
        return ("Cu", 2)
    return _ions()[0].get(name)


def _molecule(name: str) -> str | None:
    """carbon dioxide, dinitrogen tetroxide, sulfur hexafluoride."""
    match = re.fullmatch(r"([a-z]+) ([a-z]+)", name)
    if match is None:
        return None
    first, second = match.groups()
    count = 1
    if first not in _NONMETALS:
        prefix = next(
            (prefix for prefix in _PREFIXES if first.startswith(prefix) and first[len(prefix) :] in _NONMETALS), None
        )
        if prefix is None:
            return None
        first, count = first[len(prefix) :], _PREFIXES[prefix]
    for prefix, number in _PREFIXES.items():
        if second.startswith(prefix) and second[len(prefix) :] in _IDES:
            other = _IDES[second[len(prefix) :]]
            return f"{_NONMETALS[first]}{count if count > 1 else ''}{other}{number if number > 1 else ''}"
    return None


def _with_charge(ion: tuple[str, int] | None) -> str | None:
    if ion is None:
        return None
    return f"{ion[0]}^{{{abs(ion[1]) if abs(ion[1]) > 1 else ''}{'+' if ion[1] > 0 else '-'}}}"


def salt(cation: tuple[str, int], anion: tuple[str, int]) -> str:
    """The neutral formula of two ions."""
    common = gcd(cation[1], -anion[1])
    return _times(cation[0], -anion[1] // common) + _times(anion[0], cation[1] // common)


def _times(part: str, count: int) -> str:
    single = re.fullmatch(r"[A-Z][a-z]?", part) is not None
    return part if count == 1 else f"{part}{count}" if single else f"({part}){count}"


def _han(text: str) -> str | None:
    """The formula of a Chinese name: 氯化钠, 硫酸亚铁, 五氧化二磷, 铁离子, 五水合硫酸铜."""
    if not re.fullmatch(r"[\u4e00-\u9fff]{2,12}", text):
        return None
    _, _, cations, anions = _ions()
    waters = re.match(r"(十二|[一二三四五六七八九十])水合?", text)
    if waters:
        body = _han(text[waters.end() :])
        return None if body is None else f"{body}·{_HAN_WATERS[waters[1]]}H2O"
    if text.endswith("离子"):
        stem = text.removesuffix("离子").removesuffix("根")
        return _with_charge(
            cations.get(stem)
            or anions.get(stem)
            or anions.get(stem + "化")
            or anions.get(stem.removesuffix("酸") + "酸")
        )
    if text.endswith("根"):
        return _with_charge(anions.get(text[:-1]))
    match = re.fullmatch(r"([一二三四五六七八十])?([\u4e00-\u9fff])化([一二三四五六七八])?([\u4e00-\u9fff])", text)
    if match and (match[1] or match[3]):
        symbols = [elements().get(match[2]), elements().get(match[4])]
        if None in symbols:
            return None
        counts = [numerals.chinese(part) or 1 if part else 1 for part in (match[1], match[3])]
        return f"{symbols[1]}{counts[1] if counts[1] > 1 else ''}{symbols[0]}{counts[0] if counts[0] > 1 else ''}"
    for length in range(len(text) - 1, 1, -1):
        if text[:length] in anions and text[length:] in cations:
            return salt(cations[text[length:]], anions[text[:length]])
    return None
