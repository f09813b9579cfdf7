"""Answers about several pictures: which of them, how they differ, what they show together."""

import re

from glm4v.rewards import choice, clock, formulas, numerals, open_answer, ranges, ratios, relative, values
from glm4v.rewards.parts import ORDERED
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge, question_words, stem
from glm4v.rewards.vqa import TABLES, absent, seen_text
from glm4v.rewards.yes_no import read as polarity

_PICTURE = r"(?:images?|pictures?|photos?|photographs?|figures?|figs?\.?|panels?|frames?|views?|scenes?|图片?|照片|第)"
_NAMED = re.compile(
    rf"^(?:in |the |on |from |one )*{_PICTURE}s?\s*(?:no\.?|number|#)?\s*([0-9]{{1,2}}|[A-H]|[一二三四五六七八九]|one"
    rf"|two|three|four|five|six)(?:张|幅)?(?:图片?|照片)?$",
    re.IGNORECASE,
)
_ORDINAL = re.compile(rf"^(?:in |the |on |from )*([\w-]+)\s+(?:one|{_PICTURE})$", re.IGNORECASE)
_COUNT = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "both": 2, "两": 2, "三": 3, "四": 4}
_ORDER = re.compile(r"[A-H1-9](?:\s*(?:-|–|—|,|;|→|⟶|->|=>|>|<|、)?\s*[A-H1-9]){2,9}")


def pictures(text: str, truth: str, question: str | None) -> bool | None:
    """Pictures by number: image 2, the second image, 2, 图2, 第二张, images 1 and 2, all three, none."""
    many = _how_many(question)
    right = _numbers(_picture_of(truth, question), many)
    if not right or truth.strip().isdigit() or (len(right) > 1 and ORDERED.search(question or "")):
        return None
    if re.match(r"how many\b", question or "", re.IGNORECASE) and not re.search(_PICTURE, truth, re.IGNORECASE):
        return None
    if re.match(r"\d+ (?!and\b|to\b|or\b)[^\W\d_]+", text) or (
        not re.search(_PICTURE, f"{truth} {question}", re.IGNORECASE)
    ):
        return None if not re.search(_PICTURE, f"{truth} {question}", re.IGNORECASE) else False
    if hedge(re.sub(r"\bboth\b|\bnone\b|\bneither\b|\bno\b", "", text), truth) is not None:
        return False
    for core in cores(text, question):
        given = _numbers(_picture_of(core, question), many)
        if not given and re.fullmatch(r"[A-H]{2,8}", core) and len(set(core)) == len(core):
            given = frozenset(core)
        if given:
            return given == right
    return None if "none" in right or "all" in right else False


def _picture_of(text: str, question: str | None) -> str:
    """Image 2 for the phone in image 2, where the question has the phone."""
    noun = re.match(rf"(?:the )?(\w+) in (?={_PICTURE})", text, re.IGNORECASE)
    return text[noun.end() :] if noun and stem(noun[1].casefold()) in question_words(question or "") else text


def _how_many(question: str | None) -> int:
    match = re.search(
        rf"\b(two|three|four|five|six|both)\b(?: \w+)? {_PICTURE}|([两三四])[张幅]", question or "", re.IGNORECASE
    )
    return _COUNT[(match[1] or match[2]).casefold()] if match else 0


def _numbers(text: str, many: int) -> frozenset[str]:
    """The pictures that a text names, and no other word; {"all"} and {"none"} for these."""
    text = text.strip(" .").casefold()
    text = re.sub(r"\blast\b", f"{many}th", text) if many else text
    first = re.fullmatch(rf"(?:the )?first (two|three|four)(?: {_PICTURE})?", text)
    if first:
        return frozenset(str(n) for n in range(1, _COUNT[first[1]] + 1))
    if text in ("都没有", "都不", "没有", "一张都没有", "in none", "in none of them"):
        return frozenset(("none",))
    if re.fullmatch(rf"(?:the )?(?:none|neither|no {_PICTURE})(?: of (?:them|these|the (?:\w+ )?{_PICTURE}))?", text):
        return frozenset(("none",))
    match = re.fullmatch(
        rf"(?:all|both|every|each)(?: of)?(?: (?:the|them|these))?(?: (two|three|four|five|six|\d))?(?: {_PICTURE})?",
        text,
    )
    if match:
        if text.startswith("both") and many > 2:
            return frozenset(("both",))
        count = _COUNT.get(match[1] or "", 0) or (2 if text.startswith("both") else many)
        return frozenset(str(n) for n in range(1, count + 1)) if count else frozenset(("all",))
    text = re.sub(r"^\(([^()]*,[^()]*)\)$", r"\1", text)
    parts = re.split(r"\s*(?:,\s*(?:and\s+)?|\band\b|&|和)\s*", text)
    found = [
        _number(part, len(parts) > 1 and index > 0 and re.search(_PICTURE, parts[0]) is not None)
        for index, part in enumerate(parts)
    ]
    return (
        frozenset(number for number in found if number) if all(found) and len(set(found)) == len(found) else frozenset()
    )


def _number(text: str, bare: bool) -> str:
    text = re.sub(r"^(?:#|no\.?\s*|number\s+)(?=\d)|^\((\w)\)$", r"\1", text)
    if re.fullmatch(r"[0-9]{1,2}|[a-h]", text):
        return text.upper()
    match = _NAMED.fullmatch(text)
    if match:
        value = numerals.chinese(match[1]) or numerals.number_word(match[1])
        return str(value) if value else match[1].upper()
    match = _ORDINAL.fullmatch(text)
    value = numerals.ordinal(match[1] if match else text.removeprefix("the "))
    return str(value) if value else ""


def orders(text: str, truth: str, question: str | None) -> bool | None:
    """Letters or numbers in an order: B-A-D-C, BADC, B → A → D → C."""
    if (
        not _ORDER.fullmatch(truth.strip())
        or truth.strip().isdigit()
        or not re.search(r"order|sequence|arrange|rank|sort|顺序|排", question or "", re.I)
    ):
        return None
    if hedge(text, truth) is not None:
        return False
    right = re.findall(r"[A-H1-9]", truth)
    for core in cores(_plain_order(text), question):
        if _ORDER.fullmatch(core.strip()):
            return re.findall(r"[A-H1-9]", core) == right
    return False


def _plain_order(text: str) -> str:
    """Image 3, then image 1 and image 2; third, first, second; ③①②: as letters or figures."""
    text = re.sub(r"[①-⑨]", lambda mark: str(ord(mark[0]) - 0x245F), text)
    text = re.sub(rf"\b{_PICTURE}\s*(?=[A-H1-9]\b)|[图第](?=[A-H1-9])|[()\[\]{{}}]", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"\b[a-z]+\b", lambda word: str(numerals.ordinal(word[0]) or word[0]), text)
    return re.sub(r"(?:,\s*)?\b(?:then|and)\b", ",", text)


def _expressions(text: str, truth: str, question: str | None) -> bool | None:
    """Expressions with variables, read from one picture and another."""
    return formulas.read(text, truth, question) if re.search(r"[\d)}][-+*/^ ]*[a-z](?![a-z])|=", truth) else None


check = open_answer.verifier(
    (
        choice.read,
        orders,
        pictures,
        formulas.points,
        relative.read,
        ratios.read,
        ranges.read,
        clock.read,
        absent,
        values.multiples,
        values.reader(Rules(bare=True)),
        _expressions,
        seen_text,
        polarity,
    ),
    lists=(open_answer.words(*TABLES),),
)
