"""A number with its unit, as answers write it: in figures, words, Chinese, per cent, with currency, in parts."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from glm4v.rewards import algebra, numerals
from glm4v.rewards.algebra import LOOSE, TIGHT, Value
from glm4v.rewards.asked_unit import (
    angle_asked,
    percentage_asked,
    scale_asked,
    temperature_difference_asked,
    unit_asked,
)
from glm4v.rewards.expression import ExpressionError, Tree, literal, parse
from glm4v.rewards.statement import without_approximation
from glm4v.rewards.units import Unit, parse_unit

MAX_CHARACTERS = 200
MEASURED = 0.05  # a rounded value may be off by half a unit of its last digit, and by no more than this share

_PLAIN = re.compile(
    r"([-+]?(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?"
    r"|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?)"
    r"(?:\s*(?:\*|×|·|⋅|x|X|\\times|\\cdot)\s*10\s*(?:\^\s*\{?\s*\(?([-+]?[0-9]{1,3})\)?\s*\}?"
    r"|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})))?(?![0-9.])"
)
_POWER_OF_TEN = re.compile(r"([-+]?)10\s*(?:\^\s*\{?\(?([-+]?[0-9]{1,3})\)?\}?|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))")
_UP = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SCALE = re.compile(
    r"\s*(thousand|million|billion|trillion|dozen|hundred|k|K|M|m|mn|bn|B|万亿|千万|百万|十亿|亿|万|千)(?![A-Za-z/·^²³]"
    r"|\s*[/·^²³])"
)
_SCALES: dict[str, int] = {
    **numerals.SCALES,
    "dozen": 12,
    "hundred": 100,
    "k": 1000,
    "K": 1000,
    "M": 10**6,
    "m": 10**6,
    "mn": 10**6,
}
_SCALES |= {"bn": 10**9, "B": 10**9, "万": 10**4, "亿": 10**8, "千": 1000, "百万": 10**6, "千万": 10**7, "十亿": 10**9}
_SCALES |= {"万亿": 10**12}
_CURRENCY = re.compile(r"^([-+]?)\s*(US\$|HK\$|[$€£¥₹₩₽]|(?:USD|EUR|GBP|CNY|RMB|JPY|INR|CHF)(?![A-Za-z]))\s*(?=[\d.])")
_EXPRESSION = re.compile(
    r"((?:\\(?:frac|dfrac|tfrac|sqrt|pi|times|cdot|div)(?![A-Za-z])|[-+*/^(){}!\d.,\s√π½⅓⅔¼¾⅛×·⋅÷⁰¹²³⁴⁵⁶⁷⁸⁹⁻])+)(.*)",
    re.S,
)
_PART = re.compile(r"\s*(?:and\s+|,\s*)?([0-9]+(?:\.[0-9]+)?)\s*(°|′|″|''|'|\"|[^\W\d_]+(?:[ -](?!and\b)[^\W\d_]+)?)")
_PERCENT = re.compile(r"(?:%|percent(?:age points?)?|per cent|pct)$", re.IGNORECASE)
_SEXAGESIMAL = {"′": "′", "'": "′", "″": "″", '"': "″", "''": "″"}


_ANGLE = (("rad", 1),)


class Quantity(NamedTuple):
    """A value (percent counted as a hundredth), its unit, half a unit of its last digit, and how it is written."""

    value: Value
    unit: Unit | None
    half: float | None
    tree: Tree
    percent: bool = False
    approximate: bool = False


@lru_cache(maxsize=4096)
def read(text: str) -> Quantity | None:
    """The quantity that all of `text` spells, or None."""
    text, approximate = without_approximation(text.strip(" ,;"))
    text = text.removesuffix(".").rstrip() if not text.endswith("..") else text
    if not 0 < len(text) <= MAX_CHARACTERS:
        return None
    text = re.sub(r"^([-+]?\d{1,6}) and (?=\d{1,6}/\d{1,6}(?!\d))", r"\1 ", text)
    text = re.sub(r"^零下", "-", re.sub(r"^(\d.*?) below zero$", r"-\1", text))
    text = re.sub(r"^(?:minus|negative|负)\s*", "-", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)\s*\^\s*\{?o\}?$", "°", text)
    text = re.sub(r"^人民币(?=[\d.]+元)| above sea level$| (?:away|long|tall|high|wide|deep|thick)$", "", text)
    text = re.sub(r"^(\d{1,3})\s*h\s*([0-5]?\d)$|^(\d{1,3}):([0-5]\d)\s*(?:h|hours|hrs)$", _hours, text)
    text = re.sub(r"\^\s*\{?\s*(?:\\circ|°)\s*\}?|\\circ(?=\s*\d)|\\degree", "°", text)
    text = re.sub(r"\^\s*\{?\s*\\prime\s*\}?|\\prime", "′", text) if "°" in text else text
    text = re.sub(r"^(\d{1,6}) (?:in|out of) (\d{1,6})$", r"\1/\2", text)
    try:
        quantity = _parts(text) or _figures(text) or _words(text) or _expression(text) or _parts(_in_figures(text))
    except (ExpressionError, ZeroDivisionError):
        return None
    return quantity._replace(approximate=True) if quantity and approximate else quantity


def _hours(match: re.Match[str]) -> str:
    """2h15 and 2:15 h, which are lengths of time."""
    return f"{match[1] or match[3]} h {match[2] or match[4]} min"


def _in_figures(text: str) -> str:
    """One minute thirty seconds, 一分三十秒: the same with its numbers in figures."""
    if re.search(r"[\u4e00-\u9fff]", text):
        return re.sub(
            r"[零一二两三四五六七八九十百]+", lambda number: str(numerals.chinese(number[0]) or number[0]), text
        )
    parts = [(numerals.number_word(part), part) for part in text.split()]
    return " ".join(part if value is None else str(value) for value, part in parts)


def _figures(text: str) -> Quantity | None:
    """-1.2 × 10^3 J, $1.2k, 27 million square kilometres, 0.5万元, 45 %."""
    currency = _CURRENCY.match(text)
    if currency:
        text = currency[1] + text[currency.end() :]
    match = _PLAIN.match(text) or _POWER_OF_TEN.match(text)
    if match is None:
        return None
    value, half, tree = _number(match)
    rest = text[match.end() :]
    scale = _SCALE.match(rest)
    written_unit = rest.strip()
    if scale and (scale[1] not in ("k", "K", "M", "m", "B") or (currency and scale.end() == len(rest))):
        factor = _SCALES[scale[1]]
        rest = rest[scale.end() :]
        rest = re.sub(r"^\s*of\s+", " ", rest)
        if re.match(r"\s*(?:million|billion)", rest):
            return None
        value, half = value * factor, None if half is None else half * factor
        tree, written_unit = ("number", value, True), rest.strip()
    return _with_unit(value, half, tree, written_unit, currency[2] if currency else None)


def _with_unit(value: Value, half: float | None, tree: Tree, text: str, currency: str | None = None) -> Quantity | None:
    text = text.strip().removeprefix("-").strip() if text.startswith("-") and len(text) > 2 else text.strip()
    if currency is not None:
        money, rate = parse_unit("USD" if currency == "US$" else currency), re.match(r"(?:/|per\s+|an?\s+)", text)
        below = parse_unit(text[rate.end() :]) if rate else None
        if money and below:
            dimension = tuple(sorted((*money.dimension, *((name, -power) for name, power in below.dimension))))
            return Quantity(value, Unit(money.factor / below.factor, dimension), half, tree)
        if text and not (parse_unit(text) and parse_unit(text) == parse_unit(currency)):
            return None
        return Quantity(value, parse_unit("USD" if currency == "US$" else currency), half, tree)
    if not text:
        return Quantity(value, None, half, tree)
    if _PERCENT.fullmatch(text):
        return Quantity(value / 100, None, None if half is None else half / 100, ("percent", tree), percent=True)
    unit = None if re.match(r"[×*]|[$€£¥]\d", text) else parse_unit(text)
    return None if unit is None else Quantity(value, unit, half, tree)


def _number(match: re.Match[str]) -> tuple[Fraction, float, Tree]:
    """The value of a plain number or power of ten, and half a unit of its last digit."""
    if match.re is _POWER_OF_TEN:
        exponent = int((match[2] or match[3]).translate(_UP))
        value = Fraction(10) ** exponent * (-1 if match[1] == "-" else 1)
        return value, float(Fraction(10) ** exponent) / 2, ("number", value, exponent < 0)
    sign = -1 if match[1].startswith("-") else 1
    tree = literal(match[1].lstrip("+-"))
    power = int((match[2] or match[3] or "0").translate(_UP))
    value = sign * tree[1] * Fraction(10) ** power
    digits, _, shift = match[1].lower().partition("e")
    last = power + int(shift or 0) - len(digits.partition(".")[2])
    decimal = tree[2] or (power != 0 and power < 0)
    return value, 10.0**last / 2 if last > -300 else 0.0, ("number", value, decimal)


def _parts(text: str) -> Quantity | None:
    """5 ft 6 in, 1 h 30 min, 109°30′, 5′6″, 18 dollars and 50 cents, 1小时30分."""
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("-")
    matches: list[re.Match[str]] = []
    position = 0
    while position < len(text) and len(matches) < 4:
        match = _PART.match(text, position)
        if match is None:
            return None
        matches.append(match)
        position = match.end()
    if position < len(text) or len(matches) < 2:
        return None
    feet = matches[0][2] in ("′", "'")
    names = [_SEXAGESIMAL.get(match[2], match[2]) for match in matches]
    if feet:
        names = ["ft" if name == "′" else "in" if name == "″" else name for name in names]
    if names[0] in ("°", "度", "degrees", "degree"):
        names = [
            {"minutes": "′", "minute": "′", "分": "′", "seconds": "″", "second": "″", "秒": "″"}.get(n, n)
            for n in names
        ]
    if names[0] in ("h", "hr", "hrs"):
        names = ["min" if name == "m" else name for name in names]
    if names[-1] in ("pence", "penny", "p"):
        names = ["£" if name in ("pounds", "pound") else name for name in names]
    units = [parse_unit(name) for name in names]
    total, smaller = Fraction(0), None
    for match, unit in zip(matches, units, strict=True):
        if unit is None or units[0] is None or unit.dimension != units[0].dimension or unit.zero:
            return None
        if smaller is not None and (unit.factor >= smaller or float(match[1]) * unit.factor >= smaller * (1 + TIGHT)):
            return None
        smaller = unit.factor
        total += Fraction(match[1]) * Fraction(unit.factor / units[0].factor).limit_denominator(10**9)
    assert units[0] is not None
    assert smaller is not None
    half = smaller / units[0].factor / 2 * 10.0 ** -len(matches[-1][1].partition(".")[2])
    return Quantity(sign * total, units[0], half, ("number", sign * total, False))


def _words(text: str) -> Quantity | None:
    """Six kilometres, half a cup, one and a half hours, 四十二, 百分之二十五, 三千米."""
    if re.search(r"[\u4e00-\u9fff]", text):
        return _chinese(text)
    negative = text.startswith("-")
    parts = text.removeprefix("-").split()
    for length in range(min(len(parts), 12), 0, -1):
        phrase = " ".join(parts[:length])
        value: int | Fraction | None = numerals.number_word(phrase)
        if value is None:
            value = numerals.fraction_words(phrase)
        if value is None:
            continue
        rest = parts[length:]
        if isinstance(value, Fraction) and rest[:1] in (["a"], ["an"], ["of"]):
            rest = rest[1:]
        number = Fraction(-value if negative else value)
        if rest[:1] == ["dozen"]:
            number, rest = number * 12, rest[1:]
        return _with_unit(number, 0.5, ("number", number, False), " ".join(rest))
    if parts[:1] in (["a"], ["one"]) and parts[1:2] == ["dozen"]:
        return _with_unit(Fraction(12), 0.5, ("number", Fraction(12), False), " ".join(parts[2:]))
    return None


def _chinese(text: str) -> Quantity | None:
    if text.startswith("-"):
        positive = _chinese(text[1:])
        return positive and positive._replace(value=-positive.value, tree=("number", -positive.value, False))
    half = re.fullmatch(r"([一二两三四五六七八九十]{1,3}|\d{1,3})个半(.+)", text)
    if half:
        whole = numerals.chinese_or_figures(half[1])
        if whole is None:
            return None
        halves = Fraction(whole) + Fraction(1, 2)
        return _with_unit(halves, None, ("number", halves, False), half[2])
    if text.startswith("百分之"):
        number = numerals.chinese_or_figures(text[3:])
        if number is None:
            return None
        tree: Tree = ("percent", ("number", Fraction(number), False))
        return Quantity(Fraction(number) / 100, None, None, tree, percent=True)
    for length in range(min(len(text), 16), 0, -1):
        part = text[:length]
        value = numerals.fraction_words(part) if "分之" in part or part == "一半" else numerals.chinese_or_figures(part)
        if value is not None and re.search(r"[\u4e00-\u9fff]", part):
            rest = text[length:]
            if rest.startswith("半"):
                return None
            number = Fraction(value)
            quantity = _with_unit(number, 0.5, ("number", number, False), rest)
            if quantity is not None:
                return quantity
    if text.startswith("半") and len(text) > 1:
        return _with_unit(Fraction(1, 2), None, ("number", Fraction(1, 2), False), text[1:].removeprefix("个"))
    return None


def _expression(text: str) -> Quantity | None:
    """4π cm, \\frac14 A, 1/50 s: an expression without variables, then perhaps a unit."""
    match = _EXPRESSION.match(text)
    if match is None:
        return None
    body, rest = match[1].strip(), match[2].strip()
    glued = rest and not match[1][-1:].isspace() and re.search(r"[-+]", body[1:])  # 7+4y is no time
    if glued or rest.startswith("^") or not re.search(r"[\dπ½⅓⅔¼¾⅛]|\\pi", body):
        return None
    percent = rest in ("%", "percent")
    tree = parse(body.rstrip("*·⋅×"))
    value = algebra.evaluate(tree)
    if isinstance(value, complex) and abs(value.imag) > TIGHT:
        return None
    if percent:
        return Quantity(value / 100, None, None, ("percent", tree), percent=True)
    return _with_unit(value, None, tree, rest)


class Rules(NamedTuple):
    """How values are compared: `measured` to the truth's digits; bare numbers, any unit for a bare truth;
    a relative tolerance."""

    measured: bool = False
    bare: bool = False
    any_unit: bool = False
    relative: float | None = None
    approximate: bool = False


def same(given: Quantity, right: Quantity, question: str | None, rules: Rules) -> bool:
    """Whether two quantities are the same: dimensions, then values in the unit of the truth."""
    exact = algebra.is_whole(right.tree) and right.unit is None and right.half is not None
    if given.approximate and right.value == 0 and not right.approximate:
        return False
    if given.approximate and exact and not (right.approximate or rules.approximate or rules.measured):
        return False
    pairs = _comparable(given, right, question, rules)
    scale = scale_asked(question)
    if scale and given.unit is None and right.unit is None:
        pairs += [(given.value / scale, right.value), (given.value * scale, right.value)]
    return any(_close(value, target, given, right, rules) for value, target in pairs)


def _is_money(unit: Unit) -> bool:
    return bool(unit.dimension) and re.fullmatch(r"[A-Z]{3}", unit.dimension[0][0]) is not None


def _comparable(given: Quantity, right: Quantity, question: str | None, rules: Rules) -> list[tuple[Value, Value]]:
    """Pairs of values, one of which must be close: by unit, by percent, or the bare number."""
    if given.unit is None and right.unit is None:
        pairs = [(given.value, right.value)]
        if right.percent and not given.percent and (rules.bare or question is None or percentage_asked(question)):
            pairs.append((given.value / 100, right.value))
        if given.percent and not right.percent and percentage_asked(question):
            pairs.append((given.value * 100, right.value))
        return pairs
    asked, scale = unit_asked(question), scale_asked(question)
    if scale and right.unit is None and given.unit is not None and not right.percent:
        unit = asked or given.unit
        same_kind = unit.dimension == given.unit.dimension
        return [(complex(_convert(given.value, given.unit, unit)) / scale, right.value)] if same_kind else []
    if right.unit is None:
        assert given.unit is not None
        if given.value == 0 and right.value == 0 and rules.measured:
            return [(given.value, right.value)]
        if given.unit == parse_unit("rad") and algebra.is_whole(right.tree) and abs(right.value) > 7:  # type: ignore[operator]
            return []
        if asked is None and given.unit == parse_unit("°") and angle_asked(question):
            return [(given.value, right.value)]
        if asked is None or right.percent or given.percent:
            if rules.any_unit and asked is None and not (right.percent or given.percent):
                return [(given.value, right.value)]  # the figure tells the unit
            if question is None and _is_money(given.unit):
                return [(given.value, right.value)]
            free = not given.unit.dimension or (
                given.unit.dimension == _ANGLE and (angle_asked(question or "angle") or "radian" in (question or ""))
            )
            return [(complex(given.value) * given.unit.factor, right.value)] if free else []
        right = right._replace(unit=asked)
    assert right.unit is not None
    if given.unit is None:
        if given.percent:
            return []
        angle = right.unit.dimension == _ANGLE
        bare = (
            rules.bare
            or (question is None and not rules.measured)
            or given.value == 0
            or (asked is not None and asked == right.unit)
            or (_is_money(right.unit) and _currencies(question) == {right.unit})
            or (angle and angle_asked(question))
        )
        pairs = [(given.value, right.value)] if bare else []
        if asked is not None and asked.dimension == right.unit.dimension and asked != right.unit:
            pairs = [(_convert(given.value, asked, right.unit), right.value)]
        if angle:
            pairs.append((complex(given.value) / right.unit.factor, right.value))
        return pairs
    if given.unit == parse_unit("lb") and right.unit == parse_unit("£"):
        given = given._replace(unit=right.unit)
    assert given.unit is not None
    if (
        right.unit == parse_unit("°")
        and given.unit.zero
        and re.search(r"temperature|温", question or "", re.IGNORECASE)
    ):
        return [(given.value, right.value)]
    if given.unit == parse_unit("°") and right.unit.dimension == (("K", 1),) and right.unit.zero:
        return [(given.value, right.value)]  # 18 degrees, where only degrees Celsius can be meant
    letters = {parse_unit("F"): "°F", parse_unit("C"): "°C"}  # 72 F, where a temperature is meant
    if right.unit.zero and given.unit in letters and parse_unit(letters[given.unit]) == right.unit:
        return [(given.value, right.value)]
    if given.unit.dimension != right.unit.dimension:
        return []
    copied = given.value == right.value and given.value != 0 and given.unit.zero == right.unit.zero
    if copied and not algebra.near(given.unit.factor, right.unit.factor, LOOSE):
        return []  # 2 bar, where 2 atm is right: the number of another unit, however close
    units = (given.unit, right.unit)
    if temperature_difference_asked(question):
        units = (given.unit._replace(zero=0.0), right.unit._replace(zero=0.0))
    return [(_convert(given.value, *units), right.value)]


def _currencies(question: str | None) -> set[Unit | None]:
    """The currencies that a question speaks of in amounts."""
    return {parse_unit(sign) for sign in re.findall(r"[$€£¥](?=\s?\d)", question or "")}


def _convert(value: Value, unit: Unit, to: Unit) -> Value:
    if unit == to:
        return value
    base = complex(value) * unit.factor + unit.zero
    return (base - to.zero) / to.factor


def _close(value: Value, target: Value, given: Quantity, right: Quantity, rules: Rules) -> bool:
    if rules.relative is not None:
        return algebra.near(value, target, rules.relative)
    if rules.measured and right.half is not None and not (right.unit is None and algebra.is_whole(right.tree)):
        off = abs(complex(value) - complex(target))
        return off <= right.half * (1 + 1e-6) and off <= MEASURED * abs(complex(target)) + 1e-12 * right.half
    converted = isinstance(value, complex) or isinstance(target, complex)
    if algebra.is_whole(right.tree) and right.unit is None:
        return algebra.near(value, target, TIGHT if converted else 0.0)
    decimal = algebra.is_decimal(given.tree) or algebra.is_decimal(right.tree)
    return algebra.near(value, target, LOOSE if decimal else TIGHT if converted else 0.0)
