"""Values with units as open answers state them: alone, in a sentence, or at the end of their working."""

import re
from collections.abc import Callable
from fractions import Fraction

from glm4v.rewards import algebra, han, mathematics, quantity
from glm4v.rewards.expression import ExpressionError, parse
from glm4v.rewards.quantity import Quantity, Rules
from glm4v.rewards.statement import cores, hedge, is_empty, question_words, stem
from glm4v.rewards.text import fold
from glm4v.rewards.units import parse_unit

MAX_SIDES = 8
_TWICE = {"twice": 2, "double": 2, "doubled": 2, "thrice": 3, "triple": 3, "tripled": 3, "two times": 2}
_SYMBOL = re.compile(
    r"\[[^\[\]]{1,12}\]|[A-Za-zΔ]\w?\s*\([^()=]{1,14}\)|t_?\{?(?:1/2|½)\}?"
    r"|[A-Za-zΔ]+[°⊖]?(?:_\{?[\w+-]+\}?)?|[^=]*\s[a-zA-Z]"
)
_NAME = re.compile(r"[^\d+*/^=<>()!≠-]{1,30}")
_WORKING = 0.02  # sides of an equation may differ by this much where values are rounded
UNKNOWN = re.compile(r"\b(?i:solve for|find|value of|what is|for which|求)\s+\$?([b-hj-z])\b(?!')")
_NUMBERED = re.compile(r"^(?:the )?(?:#|№|(?:no|nr|number)\b\.?)\s*(?=\d)", re.IGNORECASE)
_SIDES = re.compile(r"\s*(?:=|≈|≃|\\approx|≐)\s*")
_IN_QUESTION = re.compile(
    r"[0-9][0-9., ]*\s*(?:×\s*10\S+\s*)?[^\W\d_][^\s,.;:?()]*|[0-9][0-9.]*\s*[°%][CF]?|[$€£¥][0-9][0-9.,]*"
)
_COUNTED_NAMES = (
    "off discount unit units square points point times time people persons items pieces ways way votes sides "
    "marks degrees 个 只 条 次 倍 种 人 张 件 颗 辆 本 块 扇 名 瓶 棵 朵 头 匹 把 间 座 位 支 枝 片 "
    "级 号 项 组 道 层 价 年 折 架 艘 双 对"
)
_COUNTED = frozenset(_COUNTED_NAMES.split())

Reader = Callable[[str, str, str | None], bool | None]


def reader(rules: Rules) -> Reader:
    """The reader of quantities under `rules`: None where the truth is none, else whether the answer is the same."""

    def read(text: str, truth: str, question: str | None) -> bool | None:
        right = truth_of(truth) or _counted(truth, question)
        if right is None:
            return None
        given = given_by(text, truth, question, right)
        if given is None or (given.unit is not None and _asked_back(text, given, right, question)):
            return False
        return quantity.same(given, right, question, rules)

    return read


def truth_of(truth: str) -> Quantity | None:
    """The quantity of a truth, which may name what it is of: pH = 3.00."""
    label, sign, rest = truth.rpartition("=")
    named = rest if sign and _NAME.fullmatch(label) else truth
    found = quantity.read(named)
    counted = (
        None
        if found is not None
        else re.fullmatch(r"(.*?[\d零一二三四五六七八九十百千万])\s*([^\W\d]+)", named.strip())
    )
    if counted and counted[2] in _COUNTED:  # 56 ways, 6个
        return quantity.read(counted[1])
    return found


def given_by(text: str, truth: str, question: str | None, right: Quantity) -> Quantity | None:
    """The quantity that an answer commits to, or None."""
    text = _NUMBERED.sub("", text)
    whole = quantity.read(text)
    if whole is not None:
        return whole
    if hedge(_without_numbers_words(text), truth, question) is not None:
        return None
    for core in cores(text, question):
        given = _end(core, truth, question) or _counted(core, question)
        if given is not None:
            return given
    led = re.match(r"^([\u4e00-\u9fff,:，：\s]+?)([-+]?[0-9零一二两三四五六七八九十百半].*)$", text)
    if led and question and not led[1].endswith("第") and han.harmless(led[1], question):
        return _end(led[2], truth, question) or _counted(led[2], question)
    return None


def _without_numbers_words(text: str) -> str:
    """The text without the words that only look like hedges in front of a number."""
    return re.sub(r"\b[Nn]o\.?\s*(?=\d)|(?<=\d) over (?=\d)|^[+\-−]", "", text)


def _end(text: str, truth: str, question: str | None) -> Quantity | None:
    """The last side of "x = 5" or "3 + 5 = 8", where all sides that are numbers agree."""
    sides = _SIDES.split(text)
    if len(sides) == 1:
        return quantity.read(text)
    if not 1 < len(sides) <= MAX_SIDES:
        return None
    end = _last_side(sides[-1], question)
    if end is None:
        return None
    for index, side in enumerate(sides[:-1]):
        value = quantity.read(side) or without_units(side) or (_first_side(side) if index == 0 else None)
        if value is None:
            constant = numeric(side)
            if constant is not None and not algebra.near(constant, end.value, _WORKING):
                return None
            if constant is None and ("," in side if index else not is_label(side, truth, question)):
                return None
            continue
        if value.unit is not None and end.unit is not None:
            if not quantity.same(value, end, None, Rules(relative=_WORKING)):
                return None
        elif not _agree(value, end):
            return None
    return end


def _last_side(side: str, question: str | None) -> Quantity | None:
    end = quantity.read(side)
    if end is not None or " " not in side:
        return end
    lent, parts = question_words(question or ""), side.split()
    while len(parts) > 1 and (is_empty(parts[-1]) or stem(parts[-1].casefold()) in lent or parts[-1] in _COUNTED):
        parts.pop()
        end = quantity.read(" ".join(parts))
        if end is not None:
            return end
    return None


def without_units(side: str) -> Quantity | None:
    """4 cm × 6 cm: the numbers alone."""
    if len(side) > 80 or not re.search(r"\d\s*[^\W\d]+[²³]?\s*[-+×*/÷]\s*\d", side):
        return None
    return quantity.read(re.sub(r"(?<=\d)\s*[^\W\d]+[²³]?(?=\s*(?:[-+×*/÷]|$))", "", side))


def _first_side(side: str) -> Quantity | None:
    """The numeric expression at the end of "the three sides gives 9 + 12 + 15"."""
    match = re.search(r"(?:^|\s)([\d(√.][^A-Za-z]*)$", side)
    return quantity.read(match[1]) if match else None


def _agree(one: Quantity, other: Quantity) -> bool:
    if one.unit is None and other.unit is not None:  # 2.5 × 2.0 = 5.0 N
        return algebra.near(one.value, other.value, _WORKING)
    whole = algebra.is_whole(other.tree) and isinstance(one.value, type(other.value))
    tolerance = 0.0 if whole and not algebra.is_decimal(one.tree) else _WORKING if other.half else algebra.LOOSE
    if other.half is not None and abs(complex(one.value) - complex(other.value)) <= other.half * 1.001:
        return True
    return algebra.near(one.value, other.value, min(tolerance, _WORKING))


def is_label(text: str, truth: str, question: str | None) -> bool:
    """Whether what stands before an equals sign names the answer, and not something else."""
    named = truth.partition("=")[0] if "=" in truth else ""
    if named and _symbol(text) and _symbol(named):
        return _symbol(text) == _symbol(named)
    asked = UNKNOWN.search(question or "")
    if asked and re.fullmatch(r"\s*[a-z]\s*", text) and text.strip() != asked[1]:
        return False
    functions = [set(re.findall(r"sin|cos|tan|cot", part)) for part in (text, question or "")]
    if functions[0] and functions[1] and not functions[0] & functions[1]:
        return False
    words = re.findall(r"\\?[^\W\d_]+", text)
    known = fold(f"{truth} {question or ''}")
    last = words[-1] if words else ""
    symbol = re.fullmatch(r"(?:p[A-Z]\w*|[A-Z]{2,})", last)
    if symbol and re.search(r"\bp[A-Z]|\b[A-Z]{2,}\b", known):
        return re.search(rf"(?<![A-Za-z]){re.escape(last)}(?![A-Za-z])", known) is not None
    if re.search(r"[\d+*/^]", text) and not mathematics.is_label(text) and not _SYMBOL.fullmatch(text.strip()):
        return re.sub(r"\s", "", text) in re.sub(r"\s", "", known)
    return bool(words)


def _symbol(text: str) -> str:
    """A short name such as ∠ABC, v or AB in one spelling; "" for words."""
    text = re.sub(r"\\angle|\bangle\b", "∠", text).replace(" ", "").replace("$", "")
    match = re.fullmatch(r"(∠?)([A-Z]{1,3})|[a-z](?:_\{?\w+\}?)?", text)
    if match and match[2] and len(match[2]) > 1:
        return match[1] + min(match[2], match[2][::-1])
    return text if match else ""


def _counted(text: str, question: str | None) -> Quantity | None:
    """12 apples: a number with what the question counts, or with a word that only says that things are counted."""
    lent = question_words(question or "")
    parts = text.split()
    while len(parts) > 1 and (
        parts[-1].casefold().strip(".,") in _COUNTED
        or stem(parts[-1].casefold().strip(".,")) in lent
        or is_empty(parts[-1])
    ):
        parts.pop()
        given = quantity.read(" ".join(parts))
        if given is not None:
            return given
    match = re.fullmatch(r"(.+?)([\u4e00-\u9fff]{1,6})", text)
    if match and (match[2] in _COUNTED or (question and match[2] in question)):
        return quantity.read(match[1])
    if match and match[2][0] in _COUNTED and (not question or match[2][1:] in question or question.isascii()):
        return quantity.read(match[1])
    return None


def _asked_back(text: str, given: Quantity, right: Quantity, question: str | None) -> bool:
    """Whether the answer is a quantity of the question, to be converted or used, in its own unit."""
    if question is None or given.unit is None or given.unit == right.unit:
        return False
    for match in _IN_QUESTION.finditer(fold(question)[:1000]):
        for end in (match[0], match[0].rstrip("s")):
            asked = quantity.read(end)
            if asked is not None and asked.unit == given.unit and asked.value == given.value:
                return True
    return False


def multiples(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of multiples, magnifications and factors: ×400, 400×, 2x, 400 times, twice."""
    right = _multiple(truth)
    if right is None or hedge(text, truth) is not None:
        return None if right is None else False
    for core in cores(text, question):
        given = _multiple(core)
        if given is None:
            plain = quantity.read(core)
            given = plain.value if plain is not None and plain.unit is None and not plain.percent else None
        if given is not None:
            return given == right
    return False


def _multiple(text: str) -> algebra.Value | None:
    text = text.strip().casefold()
    if text in _TWICE:
        return Fraction(_TWICE[text])
    match = re.fullmatch(r"(?:by |a factor of )?(?:[×x]\s*)?(.+?)(?:\s*(?:[×x]|times|-?fold|倍))?", text)
    if match is None or match[1] == text:
        return None
    value = quantity.read(match[1])
    return value.value if value is not None and value.unit is None and not value.percent else None


def units(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of units by themselves, where a unit is asked for: newton, N, kg·m/s²."""
    right = parse_unit(truth)
    if right is None or not re.search(r"\bunits?\b|单位", question or "", re.IGNORECASE):
        return None
    if hedge(text, truth) is not None:
        return False
    for core in cores(
        re.sub(r"^(.+?)\s*\(([^()]+)\)$", lambda m: m[1] if parse_unit(m[2]) == parse_unit(m[1]) else text, text), None
    ):
        given = parse_unit(core)
        if given is not None:
            return given.dimension == right.dimension and algebra.near(given.factor, right.factor, algebra.TIGHT)
    return None


def numeric(text: str) -> algebra.Value | None:
    """The value of a constant expression, or None."""
    try:
        return algebra.evaluate(parse(text))
    except ExpressionError:
        return None
