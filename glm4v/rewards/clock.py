"""Dates, years, centuries, decades and times of day, in English and Chinese, exact."""

import re
from functools import lru_cache
from typing import NamedTuple

from glm4v.rewards.numerals import chinese, number_word, ordinal, roman
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import unaccented

MAX_CHARACTERS = 120
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = {name[:length]: number for number, name in enumerate(_MONTHS, 1) for length in (3, len(name))} | {"sept": 9}
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAY = rf"(?:(?:{'|'.join(_DAYS)}|{'|'.join(day[:3] for day in _DAYS)})\.?,?\s+)?(?:the\s+)?"
_NAME = r"([a-z]{3,9})\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_ERA = r"(?:\s*(bc|bce|b\.c\.|b\.c\.e\.|ad|ce|a\.d\.|c\.e\.))?"
_YEAR = rf"(\d{{1,4}}){_ERA}"
_DATES = tuple(
    (re.compile(pattern), order)
    for pattern, order in (
        (rf"{_WEEKDAY}{_NAME}\s+{_DAY}(?:\s*,?\s+{_YEAR})?", "mdy"),
        (rf"{_WEEKDAY}{_DAY}\s+(?:of\s+)?{_NAME}(?:\s*,?\s+{_YEAR})?", "dmy"),
        (rf"{_NAME},?\s+(?:of\s+)?(\d{{4}}){_ERA}", "my"),
        (r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", "y-m-d"),
        (r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})", "d.m.y"),
        (r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})", "?"),
        (r"(\d{4})[-/](\d{1,2})", "y-m"),
        (r"(\d{1,2})[-/](\d{4})", "m-y"),
        (r"(?:(公元前|公元|前))?(\d{1,4})年(?:(\d{1,2})月)?(?:(\d{1,2})[日号])?", "han"),
        (r"(\d{1,2})月(?:(\d{1,2})[日号])?", "han m"),
        (r"(\d{1,2})-(\d{1,2})", "m-d"),
    )
)
_YEARS = re.compile(rf"(?:(?:in |the )?(?:the )?year )?(?:(ad|a\.d\.|ce|bc|bce)\s+)?{_YEAR}(?:\s*年)?")
_CENTURY = re.compile(
    rf"(?:the )?(?:(early|mid|late|first half of the"
    rf"|second half of the)[- ])?([a-z0-9-]+(?: [a-z]+)?)(?:[- ](?:century|centuries|cent\.?|c\.?)){_ERA}"
)
_QUARTER = re.compile(
    r"(?:the )?(q[1-4]|(?:first|second|third|fourth|1st|2nd|3rd|4th) quarter),?(?: of)? (\d{4})"
    r"|(\d{4}),? (q[1-4])|(\d{4})年第?([一二三四1-4])季度"
)
_CENTURY_HAN = re.compile(r"(?:(公元前|前|公元))?([0-9]{1,2}|[一二三四五六七八九十]{1,3})世纪")
_DECADE = re.compile(
    r"(?:the )?(\d{3}0)'?s|(?:the )?([a-z]+ies) of the ([a-z0-9-]+(?: [a-z]+)?) century"
    r"|(?:the )?([a-z]+)[ -]([a-z]+ies)|(?:from )?(\d{3}0)\s*(?:-|–|to)\s*(\d{3}9)"
)
_DECADE_HAN = re.compile(
    r"(?:([0-9]{1,2}|[一二三四五六七八九十]{1,3})世纪)([0-9]0|[一二三四五六七八九]十)年代|(\d{3}0)年代"
)
_TENS = {
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
}
_TIME = re.compile(
    r"(?:at )?(\d{1,2})(?:[:.h](\d{2}))?(?::(\d{2}))?\s*(?:(a\.?m\.?|p\.?m\.?)|(?:in the )?(morning|afternoon"
    r"|evening)|(h|hours|hrs|uhr|o'clock))?"
)
_HAN_NUMBER = r"(?:\d{1,2}|[零一二三四五六七八九十两]{1,3})"
_TIME_HAN = re.compile(
    rf"(上午|下午|早上|晚上|中午|凌晨|清晨|傍晚)?({_HAN_NUMBER})(?:[点时:](?:整|({_HAN_NUMBER})分?|(半|一刻|三刻))?)(?:钟)?"
)
_SPOKEN = re.compile(
    r"(half|quarter|a quarter|[a-z]+(?:-[a-z]+)?)(?: minutes)? (past|to) ([a-z]+)(?:\s*(a\.?m\.?|p\.?m\.?)"
    r"|(?: in the)? (morning|afternoon|evening))?"
)
_TIME_TRUTH = re.compile(
    r"\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]\.?m\.?)?|\d{1,2}\s*[ap]\.?m\.?|noon|midnight", re.IGNORECASE
)
_TIME_ASKED = re.compile(r"\btime\b|o'clock|\bwhen\b|clock|几点|时间|何时|时刻|什么时候", re.IGNORECASE)
_DATE_ASKED = re.compile(
    r"\bdate\b|\bwhen\b|\bday\b|month|year|日期|几月|何时|什么时候|哪一天|哪年|calendar|born|died|century|decade|世纪|年代|年",
    re.IGNORECASE,
)


_CENTURY_ASKED = re.compile(r"\bcentury\b", re.IGNORECASE)


class Moment(NamedTuple):
    """Year (BC negative), month and day, each 0 where it is not said; or a century, or a decade by its first year."""

    year: int = 0
    month: int = 0
    day: int = 0
    century: int = 0
    decade: int = 0
    part: str = ""


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of dates and times: None where the truth is none of them, else whether the answer is the same."""
    is_time = _TIME_TRUTH.fullmatch(truth.strip()) or (
        time_of_day(truth) is not None and re.search(r"[时点]|past|to |[ap]\.?m\b", truth)
    )
    if is_time and (
        ":" not in truth or re.search(r"[ap]\.?m\b", truth, re.IGNORECASE) or _TIME_ASKED.search(question or "")
    ):
        return _same_time(text, truth, question)
    right = moment(truth)
    in_figures = not re.search(r"[A-Za-z\u4e00-\u9fff]", truth)
    if (
        right is None
        or re.fullmatch(r"\d{1,2}[-/.]\d{1,2}", truth)
        or (in_figures and not _DATE_ASKED.search(question or ""))
    ):
        return None
    if month(truth) is not None:
        return read_month(text, truth, question)
    plain_year = re.fullmatch(r"\d{1,4}", truth.strip()) is not None
    if plain_year and not (len(truth.strip()) == 4 or _asks_year(question)):
        return None
    if plain_year and question is not None and not _asks_year(question):
        return None
    if hedge(re.sub(r"\bMay\b", "", text), truth) is not None:
        return False
    for core in cores(text, question):
        given = moment(core)
        if given is None and right.century and _CENTURY_ASKED.search(question or ""):
            given = moment(f"{core} century")
        if given is None and right.decade:
            given = _shortened(core, right.decade)
        if given is not None:
            if right.century > 0 and not right.part and given.decade and given.decade % 100 == 0:  # the 1700s
                return given.decade // 100 + 1 == right.century
            only_year = bool(right.year) and not right.month and not right.part
            return given == right or (only_year and given.month > 0 and given.year == right.year)
    return False


def _shortened(text: str, decade: int) -> Moment | None:
    """The seventies, the '70s and 70s, which are taken for those of the truth."""
    match = re.fullmatch(r"(?:the )?(?:'?(\d0)'?s|([a-z]+ies)|(\d0)年代)", text.strip().casefold())
    tens = None if match is None else int(match[1] or match[3] or _TENS.get(match[2], -1))
    return Moment(decade=decade) if tens == decade % 100 else None


def asks_date(question: str | None) -> bool:
    """Whether a question is about a date or a year."""
    return _DATE_ASKED.search(question or "") is not None


def _asks_year(question: str | None) -> bool:
    return re.search(r"\byears?\b|\bwhen\b|年", question or "", re.IGNORECASE) is not None


@lru_cache(maxsize=4096)
def moment(text: str) -> Moment | None:
    """The date, year, century or decade that all of `text` names, or None."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = unaccented(text.strip(" .,")).casefold().removeprefix("in ").removeprefix("on ").strip()
    text = re.sub(r"\s+", " ", re.sub(r"(?<=\b[a-z])\.(?=\s?[a-z]\b|$)", "", text))
    return _quarter(text) or _period(text) or _date(text) or _year(text)


def _year(text: str) -> Moment | None:
    match = _YEARS.fullmatch(text)
    if match is None:
        return None
    era = (match[1] or match[3] or "").replace(".", "")
    return Moment(year=-int(match[2]) if era.startswith("b") else int(match[2]))


def _quarter(text: str) -> Moment | None:
    """Q3 2019, 2019 Q3, the third quarter of 2019, 2019年第三季度."""
    match = _QUARTER.fullmatch(text)
    if match is None:
        return None
    name, year = match[1] or match[4] or match[6], match[2] or match[3] or match[5]
    number = int(name[-1]) if name[-1].isdigit() else chinese(name) or ordinal(name.split()[0]) or 0
    return Moment(year=int(year), part=f"q{number}") if 1 <= number <= 4 else None


def _period(text: str) -> Moment | None:
    han = _DECADE_HAN.fullmatch(text)
    if han:
        if han[3]:
            return Moment(decade=int(han[3]))
        century, tens = (int(part) if part.isdigit() else chinese(part) or 0 for part in (han[1], han[2]))
        return Moment(decade=(century - 1) * 100 + tens) if century else None
    match = _DECADE.fullmatch(text)
    if match:
        return _decade(match)
    han = _CENTURY_HAN.fullmatch(text)
    if han:
        number = int(han[2]) if han[2].isdigit() else chinese(han[2]) or 0
        return Moment(century=-number if han[1] in ("公元前", "前") else number)
    match = _CENTURY.fullmatch(text)
    if match is None:
        return None
    value = ordinal(match[2]) or ordinal(match[2].replace("-", " ")) or roman(match[2].upper())
    if value is None:
        return None
    return Moment(century=-value if (match[3] or "").startswith("b") else value, part=match[1] or "")


def _decade(match: re.Match[str]) -> Moment | None:
    if match[1]:
        return Moment(decade=int(match[1]))
    if match[2]:
        century = ordinal(match[3]) or roman(match[3].upper())
        return Moment(decade=(century - 1) * 100 + _TENS[match[2]]) if century and match[2] in _TENS else None
    if match[6]:
        return Moment(decade=int(match[6])) if match[6][:3] == match[7][:3] else None
    first = {"nineteen": 1900, "eighteen": 1800, "seventeen": 1700, "sixteen": 1600}.get(match[4])
    return Moment(decade=first + _TENS[match[5]]) if first and match[5] in _TENS else None


def _date(text: str) -> Moment | None:
    for pattern, order in _DATES:
        match = pattern.fullmatch(text)
        found = _of(match, order) if match else None
        if found is not None and found.month <= 12 and found.day <= 31:
            return found
    return None


def _of(match: re.Match[str], order: str) -> Moment | None:
    groups = match.groups()
    if order in ("mdy", "dmy"):
        name, day = groups[:2] if order == "mdy" else (groups[1], groups[0])
        if name not in _MONTH:
            return None
        return Moment(_signed(groups[2], groups[3]), _MONTH[name], int(day))
    if order == "my":
        return Moment(_signed(groups[1], groups[2]), _MONTH[groups[0]]) if groups[0] in _MONTH else None
    if order == "han":
        year = int(groups[1]) * (-1 if groups[0] in ("公元前", "前") else 1)
        return Moment(year, int(groups[2] or 0), int(groups[3] or 0))
    if order == "han m":
        return Moment(0, int(groups[0]), int(groups[1] or 0))
    numbers = [int(group) for group in groups]
    if order == "y-m-d":
        return Moment(numbers[0], numbers[1], numbers[2])
    if order == "d.m.y":
        return Moment(numbers[2], numbers[1], numbers[0])
    if order == "y-m":
        return Moment(numbers[0], numbers[1]) if 1 <= numbers[1] <= 12 else None
    if order == "m-y":
        return Moment(numbers[1], numbers[0]) if 1 <= numbers[0] <= 12 else None
    if order == "m-d":
        return Moment(0, numbers[0], numbers[1]) if 1 <= numbers[0] <= 12 else None
    first, second, year = numbers  # 13/04/2020 is clear, 04/03/2020 is not, but for equal numbers
    if first > 12:
        return Moment(year, second, first)
    return Moment(year, first, second) if second > 12 or first == second else None


def _signed(year: str | None, era: str | None) -> int:
    return 0 if year is None else -int(year) if (era or "").startswith("b") else int(year)


def month(text: str) -> int | None:
    """The number of a month: January, Jan., 1月, 一月; or None."""
    text = text.strip(" .").casefold()
    if text in _MONTH:
        return _MONTH[text]
    match = re.fullmatch(r"(\d{1,2}|[一二三四五六七八九十]{1,2})月份?", text)
    value = None if match is None else int(match[1]) if match[1].isdigit() else chinese(match[1])
    return value if value is not None and 1 <= value <= 12 else None


def read_month(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of months by name."""
    right = month(truth)
    if right is None or hedge(re.sub(r"\bMay\b", "", text), truth) is not None:
        return None if right is None else False
    given = [value for value in (month(core) for core in cores(text, question)) if value is not None]
    return bool(given) and given[0] == right


def _same_time(text: str, truth: str, question: str | None) -> bool:
    right = time_of_day(truth)
    if right is None or hedge(text, truth) is not None:
        return False
    for core in (*cores(text, question), text.rpartition(" at ")[2]):
        given = time_of_day(core)
        if given is not None:
            return _agree(given, right)
    return False


def _agree(given: tuple[int, bool], right: tuple[int, bool]) -> bool:
    """Equal seconds; 12:30 PM is 12:30, and 3:20 without a half of the day is not 15:20."""
    return given[0] == right[0]


@lru_cache(maxsize=4096)
def time_of_day(text: str) -> tuple[int, bool] | None:
    """Seconds after midnight, and whether the half of the day was named; None for anything else."""
    text = text.strip(" .").casefold()
    said = re.fullmatch(r"([a-z]+|\d{1,2})(?: o'clock)? in the (morning|afternoon|evening)", text)
    if said and (number_word(said[1]) or said[1].isdigit()):
        text = f"{number_word(said[1]) or said[1]} {said[2]}"
    spoken = re.fullmatch(r"(\d{1,2})( minutes)? (past|to) (\d{1,2})", text)
    if spoken:
        minutes, hour = int(spoken[1]), int(spoken[4])
        total = hour * 60 + (minutes if spoken[3] == "past" else -minutes)
        return _seconds(total // 60, total % 60, 0, "")
    digits = re.fullmatch(r"([a-z]+) ([a-z]+(?:-[a-z]+)?)", text)
    if digits and number_word(digits[1]) and (number_word(digits[2]) or 0) >= 10:  # three forty-five
        return _seconds(number_word(digits[1]) or 0, number_word(digits[2]) or 0, 0, "")
    if text in ("noon", "12 noon", "midday", "正午"):
        return 12 * 3600, True
    if text in ("midnight", "12 midnight", "午夜"):
        return 0, True
    match = _TIME.fullmatch(text)
    if match and (match[2] or match[4] or match[5] or match[6] in ("h", "uhr", "o'clock")):
        hours, minutes, seconds = int(match[1]), int(match[2] or 0), int(match[3] or 0)
        half = (match[4] or match[5] or "")[:1]
        half = {"m": "a", "e": "p", "a": "p" if match[5] else "a"}.get(half, half)
        return _seconds(hours, minutes, seconds, half)
    match = _SPOKEN.fullmatch(text)
    if match:
        return _spoken(match)
    match = _TIME_HAN.fullmatch(text)
    if match is None:
        return None
    half = "" if not match[1] else "a" if match[1] in ("上午", "早上", "凌晨", "清晨") else "p"
    minutes = {"半": 30, "一刻": 15, "三刻": 45}.get(match[4], 0) or _number(match[3] or "0")
    return _seconds(_number(match[2]), minutes, 0, half)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else chinese(text) or 0


def _spoken(match: re.Match[str]) -> tuple[int, bool] | None:
    """Half past four, a quarter to ten."""
    minutes = {"half": 30, "quarter": 15, "a quarter": 15}.get(match[1]) or number_word(match[1])
    hour = number_word(match[3])
    if minutes is None or hour is None or not 0 < hour <= 12 or not 0 < minutes < 60:
        return None
    half = "" if not (match[4] or match[5]) else "a" if (match[4] or match[5])[0] in "am" else "p"
    if (match[5] or "")[:1] == "a":
        half = "p"
    total = hour * 60 + (minutes if match[2] == "past" else -minutes)
    return _seconds(total // 60, total % 60, 0, half)


def _seconds(hours: int, minutes: int, seconds: int, half: str) -> tuple[int, bool] | None:
    if minutes > 59 or seconds > 59 or hours > 24 or (half and hours == 0):
        return None
    if half == "p" and hours < 12:
        hours += 12
    elif half == "a" and hours == 12:
        hours = 0
    elif half == "a" and hours > 12:
        return None
    return hours * 3600 + minutes * 60 + seconds, bool(half)
