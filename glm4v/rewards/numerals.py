"""Numbers in words: English up to the trillions, Chinese up to 亿, ordinals, fractions, Roman numerals."""

import re
from fractions import Fraction

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_SMALL = dict(zip(_WORDS.split(), [*range(20), *range(20, 100, 10)], strict=True))
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = dict(
    zip(
        [
            "zeroth",
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        range(13),
        strict=True,
    )
)
_PARTS = {"hundredth": 100, "hundredths": 100, "thousandth": 1000, "thousandths": 1000, "millionth": 10**6} | {
    "half": 2,
    "halves": 2,
    "quarter": 4,
    "quarters": 4,
    "third": 3,
    "thirds": 3,
}
_MAX_WORDS = 16
_MAX_CHARACTERS = 120

_CHINESE = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_TENS = {"十": 10, "百": 100, "千": 1000}
CHINESE_SCALES = {"万": 10**4, "亿": 10**8}
_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")


def number_word(text: str) -> int | None:
    """The value of "three", "forty-two" or "one hundred and five"; None for anything else, figures too."""
    if len(text) > _MAX_CHARACTERS:
        return None
    parts = re.split(r"[ -]", text.casefold())
    if len(parts) > _MAX_WORDS or (parts[0] not in _SMALL and parts[0] != "a"):
        return None
    if parts[0] == "a":  # "a hundred and five", not "a five"
        if len(parts) < 2 or parts[1] not in ("hundred", *SCALES):
            return None
        parts[0] = "one"
    total, group, previous = 0, 0, None
    for part in parts:
        if part == "and" and previous == "hundred":
            pass
        elif part in _SMALL and _continues(group, previous, _SMALL[part]):
            group += _SMALL[part]
        elif part == "hundred" and (0 < group < 10 or (total == 0 and 10 < group < 100 and group % 10)):
            group *= 100
        elif part in SCALES and group and (total == 0 or total > SCALES[part] * 999):
            total, group = total + group * SCALES[part], 0
        else:
            return None
        previous = part
    return total + group if previous != "and" else None


def _continues(group: int, previous: str | None, value: int) -> bool:
    """Whether a small number may follow: nothing, a scale or a hundred; after tens only one to nine."""
    if previous is None or previous in SCALES:
        return previous is None or value > 0
    if previous in ("hundred", "and"):
        return value > 0
    return group % 100 >= 20 and group % 10 == 0 and 0 < value < 10


def ordinal(text: str) -> int | None:
    """The value of "3rd", "third", "twenty-first", "第三"; None for anything else."""
    text = text.casefold()
    figures = re.fullmatch(r"([0-9]{1,4})(?:st|nd|rd|th)", text)
    if figures:
        return int(figures[1])
    if text.startswith("第"):
        return chinese(text[1:]) if not text[1:].isdigit() else int(text[1:7])
    if text in _ORDINALS:
        return _ORDINALS[text]
    if text.endswith("ieth"):
        return _SMALL.get(text[:-4] + "y")
    if text.endswith("th") and text[:-2] in _SMALL:
        return _SMALL[text[:-2]]
    tens, dash, ones = text.replace(" ", "-").partition("-")
    if dash and tens in _SMALL and _SMALL[tens] >= 20 and 0 < _ORDINALS.get(ones, 0) < 10:
        return _SMALL[tens] + _ORDINALS[ones]
    return None


def fraction_words(text: str) -> Fraction | None:
    """The value of "one half", "three quarters", "two-thirds", "one and a half", "四分之一"; None for anything else."""
    text = text.casefold()
    if " point " in text:
        whole_words, _, decimals = text.partition(" point ")
        digits = [_SMALL.get(word, 99) for word in decimals.split()]
        value = number_word(whole_words)
        if value is None or not 0 < len(digits) < 10 or max(digits) > 9:
            return None
        return value + Fraction(int("".join(map(str, digits))), 10 ** len(digits))
    if text in ("一半", "半"):
        return Fraction(1, 2)
    if "分之" in text:
        before, also, text = text.rpartition("又")
        if also:
            whole_part, proper = chinese_or_figures(before), fraction_words(text)
            return None if whole_part is None or proper is None or proper >= 1 else Fraction(whole_part) + proper
        under, _, over = text.partition("分之")
        under = {"百": "一百", "千": "一千", "万": "一万"}.get(under, under)
        over_value, under_value = chinese_or_figures(over), chinese_or_figures(under)
        return None if over_value is None or not under_value else Fraction(over_value) / Fraction(under_value)
    text = text.replace("-", " ").removesuffix(" of").strip()
    whole = 0
    if " and " in text:
        start, _, text = text.rpartition(" and ")
        found = number_word(start) if not start.isdigit() else int(start[:6])
        if found is None:
            return None
        whole = found
    if text in ("half", "a half", "one half"):
        return whole + Fraction(1, 2)
    share = re.fullmatch(r"([a-z]+) (?:in|out of) ([a-z]+(?: [a-z]+)?)", text)
    if share and not whole:
        over_value, under_value = number_word(share[1]), number_word(share[2])
        return None if over_value is None or not under_value else Fraction(over_value, under_value)
    over_word, _, part = text.rpartition(" ")
    count = 1 if over_word in ("a", "one", "") else number_word(over_word)
    parts = _PARTS.get(part) or (ordinal(part.removesuffix("s")) if not part[:1].isdigit() else None)
    if count is None or parts is None or part.startswith("second") or parts < 2 or not over_word:
        return None
    return whole + Fraction(count, parts)


def chinese(text: str) -> int | None:
    """The value of 四十二, 一百零五, 两千; digit by digit for 二〇一五; None for anything else."""
    if (
        not text
        or len(text) > _MAX_WORDS
        or any(mark not in _CHINESE and mark not in _CHINESE_TENS and mark not in CHINESE_SCALES for mark in text)
    ):
        return None
    if len(text) > 1 and all(mark in _CHINESE for mark in text):
        return int("".join(str(_CHINESE[mark]) for mark in text)) if len(text) >= 3 else None
    total, section, digit, last_unit = 0, 0, None, 10**9
    for mark in text:
        if mark in _CHINESE:
            if digit:
                return None
            digit = _CHINESE[mark]
        elif mark in _CHINESE_TENS:
            unit = _CHINESE_TENS[mark]
            if unit >= last_unit or (digit is None and not (unit == 10 and section == 0)):
                return None
            section, digit, last_unit = section + (1 if digit is None else digit) * unit, None, unit
        else:
            section += digit or 0
            if section == 0 or (total and total < CHINESE_SCALES[mark] * 10_000):
                return None
            total, section, digit, last_unit = (total + section) * CHINESE_SCALES[mark], 0, None, 10**9
    if digit and text[-2:-1] in ("百", "千", "万", "亿"):  # 一百五 is said for 150, and may be meant as 105
        return None
    return total + section + (digit or 0)


def chinese_or_figures(text: str) -> int | Fraction | None:
    """The value of 二十五 or 25 or 2.5; None for anything else."""
    if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", text):
        return Fraction(text)
    if "点" in text:
        whole, _, decimals = text.partition("点")
        value = chinese(whole)
        if value is None or not decimals or len(decimals) > 9 or any(mark not in _CHINESE for mark in decimals):
            return None
        return value + Fraction(int("".join(str(_CHINESE[mark]) for mark in decimals)), 10 ** len(decimals))
    return chinese(text)


def roman(text: str) -> int | None:
    """The value of a Roman numeral in capitals, or None."""
    match = _ROMAN.fullmatch(text) if text else None
    if match is None:
        return None
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    total = 0
    for letter, after in zip(text, [*text[1:], ""], strict=True):
        value = values[letter]
        total += -value if after and values[after] > value else value
    return total
