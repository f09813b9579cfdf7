"""Units of measurement: symbols with SI prefixes, names, Chinese names, products and powers: a factor and dimensions.

The table is data/units.txt. Case counts in symbols (mW, MW) and not in names. Everything is bounded by the length of
the text and the number of factors.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from glm4v.rewards.tables import rows

MAX_CHARACTERS = 80
MAX_FACTORS = 8
MAX_EXPONENT = 12

_PREFIXES = {
    **{"da": 1e1, "h": 1e2, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24},
    **{"d": 1e-1, "c": 1e-2, "m": 1e-3, "μ": 1e-6, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18},
}
_PREFIX_NAMES = {
    **{"deca": 1e1, "hecto": 1e2, "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18},
    **{"deci": 1e-1, "centi": 1e-2, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12, "femto": 1e-15},
}
_CHINESE_PREFIXES = {
    "千": 1e3,
    "兆": 1e6,
    "吉": 1e9,
    "百": 1e2,
    "分": 1e-1,
    "厘": 1e-2,
    "毫": 1e-3,
    "微": 1e-6,
    "纳": 1e-9,
    "皮": 1e-12,
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_TEMPERATURES = {  # factor and zero in kelvin
    **dict.fromkeys(("°C", "℃", "celsius", "degrees celsius", "degree celsius", "摄氏度", "degC"), (1.0, 273.15)),
    **dict.fromkeys(("deg C", "° C", "degrees C", "degrees centigrade", "deg. C"), (1.0, 273.15)),
    **dict.fromkeys(("°F", "℉", "fahrenheit", "degrees fahrenheit", "华氏度", "° F"), (5 / 9, 459.67 * 5 / 9)),
    **dict.fromkeys(("degree fahrenheit", "degrees F", "deg F", "degF"), (5 / 9, 459.67 * 5 / 9)),
}
_TEMPERATURE_WORDS = {name.casefold(): value for name, value in _TEMPERATURES.items() if len(name) > 4}
_WORD_POWERS = {"square": 2, "squared": 2, "cubic": 3, "cubed": 3, "sq": 2, "cu": 3}
_LATEX = {
    r"\Omega": "Ω",
    r"\mu": "μ",
    r"\cdot": "·",
    r"\times": "·",
    r"\degree": "°",
    r"\circ": "°",
    r"\%": "%",
    r"\AA": "Å",
}
_COUNTED = re.compile(
    r"^(?:people|persons?|inhabitants?|residents?|beats?|heartbeats|times|breaths|cars|vehicles|molecules|particles|人|次|辆)\s*"
    r"(?=/|\s*per\s|每|an? minute)"
)
_FACTOR = re.compile(
    r"(?P<unit>[^\W\d_]+(?:_[^\W\d_]+)*|[°′″%‰$€£¥₹₩₽¢℃℉'\"]{1,2}[CF]?"
    r"|US\$)(?:\s*\^\s*[{(]?\s*(?P<power>[-+]?[0-9]{1,2})\s*[)}]?|"
    r"(?P<plain>-?[0-9]{1,2})(?![0-9.]))?"
)

Dimension = tuple[tuple[str, int], ...]


class Unit(NamedTuple):
    """Its size in base units (m, g, s, A, K, mol, cd...), its dimension, and the zero of a temperature scale."""

    factor: float
    dimension: Dimension
    zero: float = 0.0


class _Table(NamedTuple):
    symbols: dict[str, Unit]
    names: dict[str, Unit]
    chinese: dict[str, Unit]
    prefixed: set[str]
    phrases: re.Pattern[str]


@lru_cache(maxsize=4096)
def parse_unit(text: str) -> Unit | None:
    """The unit that all of `text` spells, or None."""
    text = text.strip()
    if not 0 < len(text) <= MAX_CHARACTERS:
        return None
    for old, new in _LATEX.items():
        text = text.replace(old, new)
    text = re.sub(r"\^\s*\{?\s*°\s*\}?", "°", text)
    text = re.sub(r"\b([mc]m) Hg\b", r"\1Hg", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"\1/(\2)", text)
    text = _COUNTED.sub("", text)
    inverse = re.match(r"(?:1\s*)?/\s*|per\s+", text)
    if inverse and inverse.end() < len(text):
        below = parse_unit(text[inverse.end() :])
        return below and Unit(1 / below.factor, tuple((name, -power) for name, power in below.dimension))
    text = re.sub(r"(?<=μ)\s+(?=[A-Za-zΩ])|(?<=\b[kMGmn])\s+(?=Ω)", "", text)
    temperature = _TEMPERATURES.get(text) or _TEMPERATURE_WORDS.get(text.casefold())
    if temperature:
        return Unit(temperature[0], (("K", 1),), temperature[1])
    text = re.sub(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: "^" + power[0].translate(_SUPERSCRIPTS), text)
    if re.search(r"[\u4e00-\u9fff]", text):
        return _chinese(text)
    return _product(_phrases(text))


def _phrases(text: str) -> str:
    """Names of several words as one, and per as a slash."""
    text = _table().phrases.sub(lambda name: re.sub(r"[\s-]+", "_", name[0]), text)
    text = re.sub(r"\s*\bper\b\s*", "/", text, flags=re.IGNORECASE)
    return re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", text)


def _product(text: str) -> Unit | None:
    """Factors side by side or joined by dots; all that follow a slash are divided by."""
    factor, powers, sign, position, count, waiting = 1.0, dict[str, int](), 1, 0, 0, 1
    last: Unit | None = None
    if text.count("(") > 1 or text.count("(") != text.count(")") or re.search(r"\)\s*\^", text):
        return None
    text = (
        re.sub(r"\(([^()/]*)/([^()/]*)\)", lambda part: f"({part[1]} {_turned(part[2])})", text)
        if "/" in text.partition("(")[0]
        else text
    )
    text = text.replace("(", " ").replace(")", " ").strip()
    while position < len(text):
        if text[position] in " ·⋅*.×•":
            position += 1
            continue
        if text[position] == "/":
            sign, position = -1, position + 1
            continue
        match = _FACTOR.match(text, position)
        if match is None or count >= MAX_FACTORS:
            return None
        position, name = match.end(), match["unit"]
        if name.casefold() in _WORD_POWERS and match["power"] is None:
            power = _WORD_POWERS[name.casefold()]
            if name.casefold().endswith("d"):  # "metres per second squared": the factor before
                if last is None:
                    return None
                factor *= last.factor ** (sign * (power - 1))
                _add(powers, last.dimension, sign * (power - 1))
            else:
                waiting = power
            continue
        one = _named(name)
        exponent = int(match["power"] or match["plain"] or 1) * waiting
        if one is None or abs(exponent) > MAX_EXPONENT:
            return None
        factor *= one.factor ** (sign * exponent)
        _add(powers, one.dimension, sign * exponent)
        last, waiting, count = one, 1, count + 1
    if not count or waiting != 1 or text.endswith("/"):
        return None
    return Unit(factor, tuple(sorted((name, power) for name, power in powers.items() if power)))


def _turned(text: str) -> str:
    """The factors of a denominator with powers of the other sign, so that they can stand in the numerator."""
    turned = []
    for match in _FACTOR.finditer(text):
        turned.append(f"{match['unit']}^{-int(match['power'] or match['plain'] or 1)}")
    return " ".join(turned)


def _add(powers: dict[str, int], dimension: Dimension, times: int) -> None:
    for name, power in dimension:
        powers[name] = powers.get(name, 0) + power * times


@lru_cache(maxsize=4096)
def _named(name: str) -> Unit | None:
    """One unit by its symbol, with a prefix or without, or by its name in the singular or plural."""
    table = _table()
    if name in table.symbols:
        return table.symbols[name]
    if name in ("°C", "℃", "°F", "℉"):
        return Unit(1.0 if name in ("°C", "℃") else 5 / 9, (("K", 1),))
    for length in (1, 2):
        if name[:length] in _PREFIXES and name[length:] in table.prefixed:
            unit = table.symbols[name[length:]]
            return Unit(unit.factor * _PREFIXES[name[:length]], unit.dimension)
    lower = name.casefold()
    if len(lower) < 3:
        return None
    for word in (lower, lower.removesuffix("s"), lower.removesuffix("es")):
        if word in table.names:
            return table.names[word]
        for prefix, factor in _PREFIX_NAMES.items():
            if word.startswith(prefix):
                rest = word[len(prefix) :]
                found = table.names.get(rest) or (table.names.get("ohm") if rest == "hm" else None)
                if found is None and prefix.endswith("o") and word[len(prefix) - 1 :] in table.names:
                    found = table.names[word[len(prefix) - 1 :]]  # kilohm
                if found is not None:
                    return Unit(found.factor * factor, found.dimension)
    return None


def _chinese(text: str) -> Unit | None:
    """千克每立方米, 米每二次方秒, 米/秒^2: names one after another, longest first."""
    factor, powers, sign, position, count, power = 1.0, dict[str, int](), 1, 0, 0, 1
    table = _table()
    while position < len(text):
        rest = text[position:]
        if rest[0] in "每/":
            sign, position = -1, position + 1
            continue
        if rest[0] in " ·⋅*" or rest.startswith("的"):
            position += 1
            continue
        word = next((word for word in ("二次方", "三次方", "平方", "立方") if rest.startswith(word)), None)
        if word:
            power, position = 2 if word in ("二次方", "平方") else 3, position + len(word)
            continue
        found = _longest(rest, table)
        if found is None or count >= MAX_FACTORS:
            return None
        unit, length = found
        position += length
        exponent = re.match(r"\^\{?(-?[0-9])\}?", text[position:])
        if exponent:
            power, position = int(exponent[1]), position + exponent.end()
        factor *= unit.factor ** (sign * power)
        _add(powers, unit.dimension, sign * power)
        power, count = 1, count + 1
    if not count or power != 1:
        return None
    return Unit(factor, tuple(sorted((name, power) for name, power in powers.items() if power)))


def _longest(text: str, table: _Table) -> tuple[Unit, int] | None:
    for length in range(min(6, len(text)), 0, -1):
        name = text[:length]
        if name in table.chinese:
            return table.chinese[name], length
        if name[0] in _CHINESE_PREFIXES and name[1:] in table.chinese:
            unit = table.chinese[name[1:]]
            return Unit(unit.factor * _CHINESE_PREFIXES[name[0]], unit.dimension), length
    symbol = re.match(r"[A-Za-zμΩ]{1,4}", text)
    unit_of_symbol = _named(symbol[0]) if symbol else None
    return (unit_of_symbol, symbol.end()) if symbol and unit_of_symbol else None


@cache
def _table() -> _Table:
    symbols: dict[str, Unit] = {}
    names: dict[str, Unit] = {}
    chinese: dict[str, Unit] = {}
    prefixed: set[str] = set()
    for signs, english, han, definition, prefix in rows("units.txt", "|"):
        unit = _define(definition, symbols)
        for symbol in signs.split():
            symbols[symbol] = unit
        names.update((name, unit) for name in english.split())
        chinese.update((name, unit) for name in han.split())
        if prefix == "p":
            prefixed.update(signs.split())
    phrases = sorted((name for name in names if "_" in name or "-" in name), key=len, reverse=True)
    pattern = "|".join(re.sub(r"[_-]", r"[\\s_-]+", name) + "s?" for name in phrases)
    for name in list(names):
        names[name.replace("-", "_")] = names[name]
    return _Table(
        symbols,
        names,
        chinese,
        prefixed,
        re.compile(rf"\b(?:kilo|mega|giga|milli|tera)?(?:{pattern})\b", re.IGNORECASE),
    )


def _define(definition: str, symbols: dict[str, Unit]) -> Unit:
    if definition.startswith("="):
        return Unit(1.0, ((definition[1:].strip(), 1),))
    factor, powers = 1.0, dict[str, int]()
    for part in definition.split():
        symbol, _, power = part.partition("^")
        if symbol in symbols:
            factor *= symbols[symbol].factor ** int(power or 1)
            _add(powers, symbols[symbol].dimension, int(power or 1))
        else:
            factor *= float(symbol)
    return Unit(factor, tuple(sorted((name, power) for name, power in powers.items() if power)))
