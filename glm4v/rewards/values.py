"""Values with units as open answers state them: alone, in a sentence, or at the end of their working."""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from glm4v.rewards import algebra, han, mathematics, names, quantity, ranks
from glm4v.rewards.asked_form import is_task
from glm4v.rewards.expression import FUNCTIONS, ExpressionError, Tree, parse
from glm4v.rewards.quantity import Quantity, Rules
from glm4v.rewards.statement import cores, hedge, is_empty, of_another, question_words, stem, without_approximation
from glm4v.rewards.text import fold
from glm4v.rewards.units import parse_unit

MAX_SIDES = 8
_TWICE = {"twice": 2, "double": 2, "doubled": 2, "thrice": 3, "triple": 3, "tripled": 3, "two times": 2}
_FAMILIES = tuple(
    {name: re.compile(pattern, re.IGNORECASE) for name, pattern in family.items()}
    for family in (
        {
            "acid": r"\bpH\b|\bH(?:3O|₃O)?\^?\{?[+⁺]|hydrogen ion|hydronium|氢离子",
            "base": r"\bpOH\b|\bOH\^?\{?[-−⁻]|hydroxide|氢氧根",
        },
        {"pH": r"\bpO?H\b", "concentration": r"\[[A-Z]|concentration|浓度|mol/L"},
        {"sin": r"sin", "cos": r"cos", "tan": r"tan(?!g)", "cot": r"\bcot"},
        {
            "lcm": r"\blcm\b|common multiple|公倍数",
            "gcd": r"\b(?:gcd|hcf|gcf)\b|common (?:divisor|factor)|公约数|公因数",
        },
        {"mean": r"\bmean\b|average", "median": r"\bmedian\b", "mode": r"\bmode\b", "range": r"\brange\b"},
        {"area": r"\barea\b", "perimeter": r"\bperimeter\b|circumference", "volume": r"\bvolume\b"},
        {"max": r"\bmax", "min": r"\bmin(?:imum|imal)?\b"},
    )
)
_LABELLED = re.compile(
    r"(?:the )?(?:image|picture|photo|figure|panel|frame|option|page|room|no\.|#)\s*\d+\.?$", re.IGNORECASE
)
_FACTOR_ASKED = re.compile(r"\bfactor\b|how many times|magnification|multiple|\bfold\b|倍", re.IGNORECASE)
_SYMBOL = re.compile(
    r"[01]+_\{?2\}?|"
    r"\|[A-Za-z]\||[A-Z]\w?\s*[-−]\s*[A-Z]\w?|\\?[A-Za-zΔ]+\s*[A-Z]?\^?\{?\\circ\}?|(?i:lcm|gcd|hcf|gcf)\s*\([^()=]{1,30}\)|"
    r"\[[^\[\]]{1,12}\]|[A-Za-zΔ]\w?\s*\([^()=]{1,14}\)|t_?\{?(?:1/2|½)\}?"
    r"|[A-Za-zΔ]+[°⊖]?(?:_\{?[\w+-]+\}?)?|[^=]*\s[a-zA-Z]"
)
_NAME = re.compile(r"[^\d+*/^=<>()!≠-]{1,30}")
_TORQUE = re.compile(r"torque|moment of (?:the|a|this) (?:force|couple)|力矩", re.IGNORECASE)
_SYMBOL_ASKED = re.compile(r"\bsymbol\b|符号", re.IGNORECASE)
_CODE = re.compile(r"\d+[A-Z]")
_CODE_ASKED = re.compile(
    r"\b(?:number|code|plate|label|seat|gate|model|address|bus|tram|route|room|flight|flat|road)\b(?! of)",
    re.IGNORECASE,
)
PEOPLE = re.compile(
    r"\b(?:people|person|who|player|student|pupil|m[ae]n|wom[ae]n|child|kid|worker|passenger|boy|girl"
    r"|guest|dancer|runner|rider|inhabitant|resident|citizen|visitor|population|spectator|member)",
    re.IGNORECASE,
)
_WORKING = 0.02  # sides of an equation may differ by this much where values are rounded
UNKNOWN = re.compile(r"\b(?i:solve for|find|value of|what is|for which|求)\s+\$?([b-hj-z])\b(?!')")
_NUMBERED = re.compile(r"^(?:the )?(?:#|№|(?:no|nr|number)\b\.?)\s*(?=\d)", re.IGNORECASE)
_SIDES = re.compile(r"\s*(?:=|≈|≃|\\approx|≐)\s*")
_COUNTING = frozenset(("a", "an", "one", "two", "three", "four", "five", "six", "ten", "half", "minus"))
_COUNTED_NAMES = (
    "off discount stars star unit units square points point times time people persons items pieces ways way votes "
    "sides marks degrees "
    "行 页 步 节 章 段 句 字 岁 级 个 只 条 次 倍 种 人 张 件 颗 辆 本 块 扇 名 瓶 棵 朵 头 匹 把 间 座 位 支 枝 片 "
    "号 项 组 道 层 价 年 折 架 艘 双 对"
)
_COUNTED = frozenset(_COUNTED_NAMES.split())

Reader = Callable[[str, str, str | None], bool | None]


def reader(rules: Rules) -> Reader:
    """The reader of quantities under `rules`: None where the truth is none, else whether the answer is the same."""

    def read(text: str, truth: str, question: str | None) -> bool | None:
        right = truth_of(truth) or _counted(truth, question)
        if right is not None and right.unit is None and ranks.asked(question):
            return names.same(text, truth, question, ("words", "things"))
        if right is None or (_CODE.fullmatch(truth.strip()) and _CODE_ASKED.search(question or "")):
            return None
        text = _signed(text) if complex(right.value).real < 0 else text
        for said in dict.fromkeys((text, _without_rate(text, right, truth, question))):
            given = given_by(said, truth, question, right)
            if given is None or (given.unit is not None and _asked_back(said, given, right, question)):
                continue
            if not _worked_out(given.tree, rules) and _worked_out(right.tree, rules):
                continue
            if quantity.same(given, right, question, rules):
                return not _of_other_quantity(said, truth, question)
        return False

    return read


def _worked_out(tree: Tree, rules: Rules) -> bool:
    """Whether nothing is left to be calculated: 1/9, and 4π or 2√3 where values are `measured`, but not 0.5 × 9.8."""
    return not (rules.bare and tree[0] in ("sum", "product")) and not algebra.some(tree, is_task)


_BENT = re.compile(
    r"^\s*[<>≤≥≠](?!$)|\b(?:not|double|twice|half|minimum|maximum|max|min|less|more|other|without|except|square|root|reciprocal|negative)\b",
    re.IGNORECASE,
)
_FALLEN = re.compile(
    r"(?:it |(?:the )?\w+ )?(?:(?:has )?(?:decreased|fell|fallen|declined|dropped|went down|reduced|down|lost) (?:by )?"
    r"|(?:an? )?(?:decrease|decline|drop|fall|reduction|loss) of )(?:about )?([$€£¥]?\d[\d.,]*.{0,20}?)\.?"
    r"|([$€£¥]?\d[\d.,]*\S{0,8}(?: percent)?) (?:decrease|decline|drop|lower|less|down|reduction)\.?",
    re.IGNORECASE,
)


def _of_other_quantity(text: str, truth: str, question: str | None) -> bool:
    """Whether a unit has the dimension of the right one and not its quantity: a torque in joules, a frequency in Bq."""
    energy = _TORQUE.search(question or "") and re.search(r"J\b|joules?\b|焦", text)
    names = [
        [re.search(name, part) is not None for name in ("Hz|hertz|赫", "Bq|becquerel|贝可")] for part in (text, truth)
    ]
    return energy is not None or (any(names[0]) and names[0] == names[1][::-1])


def _signed(text: str) -> str:
    """A decrease of 12% as -12%."""
    match = _FALLEN.fullmatch(text)
    return f"-{match[1] or match[2]}" if match else text


def _without_rate(text: str, right: Quantity, truth: str, question: str | None) -> str:
    """€2.80 per kg as €2.80, where the question has the kilogram and the truth leaves it out; 650 mm a year of "
    "annual rain."""
    match = re.search(r"\s*(?:/|\b(?:per|an?|each)\b|每)\s*([^\W\d_]{1,20})\.?$", text)
    if match is None or not question or re.search(r"/|\bper\b|每", truth):
        return text
    asked = {
        stem(word)
        for word in re.findall(r"\b(?:per|each|an?|every)\s+([^\W\d_]+)|/([^\W\d_]+)", question.casefold())
        for word in word
        if word
    }
    if re.search(r"\bannual|\byearly\b", question, re.IGNORECASE):
        asked.add("year")
    rate = parse_unit(match[1])
    units = {parse_unit(word) for word in asked} - {None}
    if rate and right.unit and any(power < 0 for name, power in right.unit.dimension if name in dict(rate.dimension)):
        return text  # a power is per second already
    return text[: match.start()] if stem(match[1].casefold()) in asked or (rate is not None and rate in units) else text


def truth_of(truth: str) -> Quantity | None:
    """The quantity of a truth, which may name what it is of: pH = 3.00."""
    if re.fullmatch(r"\d+(?:[-–]\d+){1,4}|0\d+", truth.strip()):  # a telephone number, a score, a code
        return None
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
    text = re.sub(r"\s+in (?:total|all|sum)\b", "", text)
    whole = quantity.read(_NUMBERED.sub("", text))
    if whole is not None and whole.unit is not None:
        return whole
    if re.search(r"\bhow many\b|多少|几", question or "", re.IGNORECASE) and (
        _is_label_of_one(text, question or "") or of_another(text, question or "")
    ):
        return None
    if re.search(r"\b(?:each|apiece)\W*$", text) and not re.search(r"\b(?:each|every|per|one)\b", question or "each"):
        return None
    if whole is not None:
        return whole
    text = _NUMBERED.sub("", text)
    if hedge(_without_numbers_words(text), truth, question) is not None or _counts_things(text, question or "", right):
        return None
    for core in cores(text, question):
        given = _end(core, truth, question) or _counted(core, question)
        if given is not None:
            return given
    led = re.match(r"^([\u4e00-\u9fff,:，：\s]+?)([-+]?[0-9零一二两三四五六七八九十百半].*)$", text)
    if led and question and not led[1].endswith("第") and han.harmless(led[1], question):
        return _end(led[2], truth, question) or _counted(led[2], question)
    return None


def _is_label_of_one(text: str, question: str) -> bool:
    """Image 4 and zebra 3 are one of several, no count."""
    one = re.fullmatch(r"(?:the )?([a-z]+[a-rt-z]) \d+\.?", text.casefold())
    named = one is not None and stem(one[1]) in question_words(question) and not is_empty(one[1])
    named = named and one is not None and not one[1].endswith("ly") and not without_approximation(text)[1]
    return named or _LABELLED.match(text) is not None


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
        if index == 0 and re.search(r"\d.*[^\W\d_]", side) and _compact(side) in _compact(question or ""):
            continue  # 15% of 240 = 36
        value = quantity.read(side) or without_units(side)
        if value is None and index == 0:
            value = _first_side(side)
        if value is None:
            constant = numeric(side)
            if constant is not None and not algebra.near(constant, end.value, _WORKING):
                return None
            again = index and re.search(rf"(?<![A-Za-z]){re.escape(sides[0].strip()[:40])}(?![A-Za-z])", side)
            if constant is None and ("," in side or again if index else not is_label(side, truth, question)):
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
    unit = r"(?<=\d)\s*(?:°|[^\W\d]+[²³]?(?:[/·][^\W\d]+[²³]?)?)"
    side = re.sub(r"\(([\d.]+ [^()]*[^\W\d][^()]*)\)", r"\1", side)
    if len(side) > 80 or not re.search(rf"{unit}\s*[-+×*/÷]\s*[$€£¥]?\d|[$€£¥]", side):
        return None
    return quantity.read(re.sub(rf"{unit}(?=\s*(?:[-+×*/÷]|$))", "", re.sub(r"[$€£¥](?=\s?\d)", "", side)))


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


def names_another(label: str, question: str | None) -> bool:
    """Whether a label names another quantity than the question: AB for AC, y for x, the median for the mode."""
    for family in _FAMILIES:
        said, asked = (
            {name for name, words in family.items() if words.search(part)} for part in (label, question or "")
        )
        if said and asked and not said & asked:
            return True
    label, question = label.strip(" $|"), question or ""
    if re.fullmatch(r"[a-z]", label) and re.search(rf"\b{label} ?= ?-?\d", question):
        return True
    if re.fullmatch(r"[A-Z]{2}", label):
        asked = set(re.findall(r"\b(?:length|distance|side|segment|chord|find|of|is) \$?([A-Z]{2})\b", question))
        return bool(asked) and label not in asked and label[::-1] not in asked
    wanted = UNKNOWN.search(question) or re.search(r"\b(?:angle|unknown|number) \$?([b-hj-z])\b(?!')", question)
    if wanted and re.fullmatch(r"[a-z]", label):
        return label != wanted[1]
    return bool(re.fullmatch(r"[xyz]", label) and re.search(r"\bhow many\b|多少个|几个", question, re.IGNORECASE))


def bending(label: str) -> str | None:
    """A word or sign by which a label is not that of the value itself: half of x, minimum, not."""
    match = _BENT.search(label)
    return match[0].casefold() if match else None


def is_label(text: str, truth: str, question: str | None) -> bool:
    """Whether what stands before an equals sign names the answer, and not something else."""
    if names_another(text, question) or re.match(r"\s*[-−√!¬<>≤≥≠]", text):
        return False
    bent = bending(text)
    if bent and bent not in f"{question or ''} {truth}".casefold():
        return False
    named = truth.partition("=")[0] if "=" in truth else ""
    if named and _symbol(text) and _symbol(named):
        return _symbol(text) == _symbol(named)
    words = re.findall(r"\\?[^\W\d_]+", text)
    known = fold(f"{truth} {question or ''}")
    last = words[-1] if words else ""
    symbol = re.fullmatch(r"(?:p[A-Z]\w*|[A-Z]{2,})", last)
    if symbol and re.search(r"\bp[A-Z]|\b[A-Z]{2,}\b", known):
        return re.search(rf"(?<![A-Za-z]){re.escape(last)}(?![A-Za-z])", known) is not None
    if re.search(r"[\d+*/^]", text) and not mathematics.is_label(text) and not _SYMBOL.fullmatch(text.strip()):
        return re.sub(r"\s", "", text) in re.sub(r"\s", "", known)
    return bool(words)


def _compact(text: str) -> str:
    return re.sub(r"[\s$]", "", fold(text))


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
    while (
        len(parts) > 1
        and not (re.search(r"\d", parts[-1]) or parts[-2].casefold() in FUNCTIONS)
        and (
            parts[-1].casefold().strip(".,") in _COUNTED
            or (
                parts[-1].casefold().strip(".,") == "more"
                and re.search(r"\bmore\b|how much|exceed|differ|increase", question or "")
            )
            or ("-" in parts[-1] and all(stem(part) in lent for part in parts[-1].casefold().strip(".,").split("-")))
            or stem(parts[-1].casefold().strip(".,")) in lent
            or is_empty(parts[-1])
        )
    ):
        parts.pop()
        given = quantity.read(" ".join(parts))
        if given is not None:
            return given
    for length in range(1, min(7, len(text))):
        number, noun = text[:-length], text[-length:]
        if not re.fullmatch(r"[\u4e00-\u9fff]+", noun):
            break
        known = noun in _COUNTED or (question is not None and noun in question)
        known |= noun[0] in _COUNTED and (not question or noun[1:] in question or question.isascii())
        given = quantity.read(number) if known else None
        if given is not None and given.unit is None:
            return given
    return None


def _counts_things(text: str, question: str, right: Quantity) -> bool:
    """Whether a number counts what is not to be counted: 2 doors, how tall a door is; 17 jerseys, for its number."""
    parts = text.strip(" .").split()
    if len(parts) < 2 or quantity.read(parts[-2]) is None or not parts[-1].isalpha() or parse_unit(parts[-1]):
        return False
    noun, known = parts[-1].casefold(), question.casefold()
    if noun in ("off", "discount"):
        return re.search(r"\boff\b|discount|reduc|sav(?:e|ing)|优惠|折", known) is None
    if noun in ("people", "persons") and known.isascii() and "how many" in known:
        return PEOPLE.search(known) is None
    if noun == "times":
        return re.search(r"\bhow (?:many|much) (?:more|fewer|less)\b", known) is not None
    if stem(noun) not in question_words(question) or noun in _COUNTED or is_empty(noun):
        return False
    plural = not re.search(rf"\b{noun}\b", known) and not re.search(r"\bhow many\b|number of|\bcount", known)
    return right.unit is not None or right.percent or plural


def _asked_back(text: str, given: Quantity, right: Quantity, question: str | None) -> bool:
    """Whether the answer is a quantity of the question, to be converted or used, in its own unit."""
    if question is None or given.unit is None or given.unit == right.unit:
        return False
    return any(asked.unit == given.unit and asked.value == given.value for asked in _quantities_in(question))


@lru_cache(maxsize=512)
def _quantities_in(question: str) -> tuple[Quantity, ...]:
    """The quantities of a question: 72 km/h, 60 miles per hour, 1.5 × 10^3 J, half a litre."""
    words = re.sub(r"(?<=\d)\s*(×|\\times)\s*(?=10)", "×", fold(question)[:1000]).split()
    found = []
    for start in [n for n, word in enumerate(words) if re.match(r"[$€£¥(]?\d", word) or word.casefold() in _COUNTING][
        :20
    ]:
        for end in range(start + 1, min(start + 7, len(words) + 1)):
            quantity_there = quantity.read(" ".join(words[start:end]).strip("(),.;:?"))
            if quantity_there is not None and quantity_there.unit is not None:
                found.append(quantity_there)
    return tuple(found)


def multiples(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of multiples, magnifications and factors: ×400, 400×, 2x, 400 times, twice."""
    right = _multiple(truth)
    if right is None and _FACTOR_ASKED.search(question or "") and _multiple(text) is not None:
        plain = quantity.read(truth)
        right = plain.value if plain is not None and plain.unit is None and not plain.percent else None
    if right is None:
        return None
    whole = quantity.read(text)
    if hedge(text, truth) is not None or (whole is not None and (whole.unit is not None or whole.percent)):
        return False
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
            if _of_other_quantity(core, truth, question) or (
                _SYMBOL_ASKED.search(question or "") and re.fullmatch("[a-z]{3,}", core)
            ):
                return False
            same_size = algebra.near(given.factor, right.factor, algebra.TIGHT) and given.zero == right.zero
            return given.dimension == right.dimension and same_size
    return False


def numeric(text: str) -> algebra.Value | None:
    """The value of a constant expression, or None."""
    try:
        return algebra.evaluate(parse(text))
    except ExpressionError:
        return None
