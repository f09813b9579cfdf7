"""How many: one whole number, in figures or words, with what is counted, in a sentence, or at the end of a sum."""

import re
from fractions import Fraction

from glm4v.rewards import names, open_answer, parts, values
from glm4v.rewards.asked_unit import unit_asked
from glm4v.rewards.quantity import Quantity, read
from glm4v.rewards.statement import cores, hedge, is_empty, of_another, question_words, stem, trim
from glm4v.rewards.text import fold, unwrap
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 300
_FIGURES = re.compile(r"[0-9]{1,12}|[0-9]{1,3}(?:[, ][0-9]{3}){1,3}")
_NONE = {"none", "no", "nothing", "没有", "都没有"}
_NOBODY = re.compile(r"(?:there (?:is|are) )?(?:nobody|no one|no-one)\b(.*)")
_TIMES = {"once": 1, "twice": 2, "thrice": 3}
_COUNTERS = "个只条种人张件颗辆本块扇名瓶棵朵头匹把间座位支枝片级次双对盏面幅根粒艘架台部杯碗"


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right count: `3`, `three`, `3 red circles` where the question speaks of red circles."""
    target = truth_text(truth)
    if parts.numbered(target) or ("," in target and count(target, question) is None):
        return _in_parts(prediction, target, question)
    right, given = count(target, question), count(prediction, question)
    if given is None or right is None:
        return Verdict(0.0, f"{quote(prediction)} is not one count")
    return Verdict(float(given == right), f"{given} counted, {right} there")


def count(text: str, question: str | None = None) -> int | None:
    """The only number that `text` states; None when there is none, or several, or a word that could bend it."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = re.sub(r"\b(?:only|just|exactly|in all)\b", " ", unwrap(text).removesuffix("!"), flags=re.IGNORECASE)
    text = re.sub(r"\b(?:a )?single\b", "one", text.replace("一打", "12")).strip()
    text = text[1:-1] if re.fullmatch(r"\(\w+\)", text) else text
    if text.casefold() in _NONE:
        return 0
    if text.casefold() in _TIMES and re.search(r"\btimes\b|\boften\b", question or ""):
        return _TIMES[text.casefold()]
    nobody = _NOBODY.fullmatch(text.casefold().strip(" ."))
    if nobody and not trim(nobody[1], question_words(question or "")):
        return 0
    empty = re.fullmatch(r"(?:there (?:is|are) )?(?:no|none|zero)\b(.*)|.{0,6}没有(.*)", text.casefold().strip(" ."))
    if (
        empty
        and not trim((empty[1] or "").replace("them", ""), question_words(question or ""))
        and _known(empty[2] or "", question or "")
    ):
        return 0
    text = re.sub(
        r"\b(?:out )?of (?:the )?(\w+)\b", lambda part: _without_whole(part, question), re.sub(r"一共|总共", "", text)
    )
    shown = re.fullmatch(r"(\S{1,12})\s*[(:]\s*([^()=]*[-+×*/][^()=]*)\)?", text)  # 30 (16 + 9 + 4 + 1)
    if shown and _whole(shown[1]) is not None and values.numeric(shown[2]) == _whole(shown[1]):
        return _whole(shown[1])
    whole = _whole(text)
    if whole is not None:
        return whole
    text = re.sub(r"^(.{1,60}?)\s*\((.{1,20})\)$", lambda m: m[1] if _whole(m[1]) == _whole(m[2]) else text, text)
    if hedge(text, "") is not None or re.search(
        r"\d\s*(?:-|–|~|到|至|to)\s*\d(?!.*=)|\+$|^[-~≈]|\babout\b|\bapprox|\baround\b|约|几", text
    ):
        return None
    if of_another(text, question or ""):
        return None
    for core in cores(text, question):
        found = _whole(core) if core else None
        if found is None:
            found = _sum(core)
        if found is None:
            found = _with_noun(core, question)
        if found is not None:
            return found
    return None


def _whole(text: str) -> int | None:
    """A whole number without a sign or a unit, however it is written."""
    text = fold(text).strip(" .,")
    if _FIGURES.fullmatch(text):
        return int(text.replace(",", "").replace(" ", ""))
    if re.search(r"[\d+.]|-(?![a-z])", text) and "dozen" not in text:
        return None
    quantity: Quantity | None = read(text.casefold())
    if quantity is None or quantity.unit is not None or quantity.percent or quantity.approximate:
        return None
    value = quantity.value
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 and value >= 0 else None


def _sum(text: str) -> int | None:
    """The result of "4 × 6 = 24", if it is right."""
    sides = text.split("=")
    if not 1 < len(sides) <= 4:
        return None
    end = _whole(sides[-1])
    if re.fullmatch(r"\s*[A-Za-z]\s*|(?i:\s*(?:the )?(?:total )?number of [\w ]+|\s*total\s*)", sides[0]):
        sides = sides[1:]
    for side in sides[:-1]:
        value = values.numeric(side)
        if value is None:
            bare = values.without_units(side)
            value = None if bare is None else bare.value
        if value is None or end is None or value != end:
            return None
    return end


def _with_noun(text: str, question: str | None) -> int | None:
    """A number between words of the question: 5 apples, the 5 red apples, 五个苹果, 图中有7只鸟."""
    han = re.search(rf"([0-9]{{1,6}}|[零一二两三四五六七八九十百千万]+)\s*([{_COUNTERS}])?", text)
    if re.search(r"[\u4e00-\u9fff]", text) and han:
        before, after = text[: han.start()], text[han.end() :]
        known = question or ""
        if re.search(r"[第不没]", before + after):
            return None
        if all(_known(part, known) for part in (before, after)):
            return _whole(han[1])
        return None
    measured = read(text)
    if measured is not None and measured.unit is not None and measured.unit == unit_asked(question):
        return int(measured.value) if isinstance(measured.value, Fraction) and measured.value.denominator == 1 else None
    lent = question_words(question or "")
    numbers, words = [], text.split()
    while words:
        length = next((n for n in range(min(len(words), 6), 0, -1) if _whole(" ".join(words[:n])) is not None), 0)
        if length:
            numbers.append(_whole(" ".join(words[:length])))
        else:
            word = words[0].strip(",:").casefold()
            if not (
                is_empty(word)
                or stem(word) in lent
                or _is_asked(word, question or "")
                or word
                in (
                    "times",
                    "objects",
                    "object",
                    "items",
                    "rows",
                    "make",
                    "makes",
                    "pieces",
                    "pcs",
                    "pts",
                    "individuals",
                )
            ):
                return None
        words = words[max(length, 1) :]
    return numbers[0] if len(numbers) == 1 else None


def _is_asked(word: str, question: str) -> bool:
    """Whether a word names what a Chinese question asks for, or people where it asks for some."""
    if word in ("people", "persons", "person") and values.PEOPLE.search(question):
        return True
    lent = question_words(question)
    for form in names.other_names(word, ("things", "words"))[1:]:
        if (not form.isascii() and form in question) or {stem(part) for part in form.casefold().split()} <= lent:
            return True
    return False


def _known(part: str, question: str) -> bool:
    """Whether Chinese words around a count are of the question, or only lead up to it."""
    part = re.sub(r"一共|总共|共有|共|有|是|为|答案|答|图中|数量|上|里|中|[:：,，。\s]", "", part)
    if part == "" or part in question:
        return True
    return len(part) <= 4 and bool(question) and not re.search(r"[0-9零一二两三四五六七八九十百千万或约至]", part)


def _without_whole(part: re.Match[str], question: str | None) -> str:
    """2 of the five boxes: the five are of the question."""
    whole = _whole(part[1])
    asked = {_whole(word) for word in re.findall(r"\w+", question or "")}
    return " " if whole is not None and whole in asked else part[0]


def _same_count(text: str, truth: str, question: str | None) -> bool | None:
    right = count(truth, question)
    return None if right is None else count(text, question) == right


_in_parts = open_answer.verifier((_same_count,), lists=(open_answer.words("things", "words"),))
