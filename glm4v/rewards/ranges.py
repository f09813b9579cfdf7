"""Ranges that are the answer: age groups, periods, spans of months or days; 18-24, from 1999 to 2003, 65+, under 18."""

import re
from functools import lru_cache

from glm4v.rewards import clock, quantity
from glm4v.rewards.statement import cores

_TO = re.compile(r"\s*(?:-|–|—|~|〜|\bto\b|\bthrough\b|\buntil\b|\btill\b|至|到)\s*")
_BETWEEN = re.compile(r"^(?:between|from|从|自)\s*(.+?)\s*(?:\band\b|\bto\b|-|–|至|到|和)\s*(.+?)(?:之间)?$")
_AROUND = re.compile(
    r"^(?:the |in |during |period |years? |ages? |aged |people |of )+|(?:'s|s)?[\s-]*(?:age )?(?:groups?"
    r"|years?(?:[- ]olds?| of age)?|period|range|interval|category|岁的?|组|年龄段|期间)+$"
)
_OVER = re.compile(
    r"(?:over|above|more than|at least|older than|≥|>)\s*(\d{1,4})|(\d{1,4})\s*(?:\+|and (?:over|older|above"
    r"|up|more)|or (?:over|older|above|more)|plus|岁?(?:及|或)?以上)"
)
_UNDER = re.compile(
    r"(?:under|below|less than|younger than|up to|<|≤)[- ]?(\d{1,4})s?|(\d{1,4})\s*(?:and (?:under|younger"
    r"|below)|or (?:under|younger|below|less)|岁?(?:及|或)?以下)"
)
_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

End = tuple[str, object]


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of ranges; a range is also refused where the truth is none."""
    between = re.search(r"\bbetween (?:which|what)\b", question or "", re.IGNORECASE)
    if between and " and " in truth and "," not in truth:
        ends = [parse(re.sub(r"\s*(?:\band\b|→)\s*", " - ", re.sub(r"^between ", "", part))) for part in (text, truth)]
        if None not in ends:
            return ends[0] == ends[1]
    right = parse(truth)
    if right is not None and clock.moment(truth) is not None and clock.asks_date(question):  # 2020-03
        return None
    given = parse(text)
    if right is None:
        refused = given is not None and given[0] == "range" and not _TO.search(truth) and clock.moment(text) is None
        return False if refused else None
    if given is None and between:
        given = parse(re.sub(r"\s+and\s+", " - ", text))
    if given is None:
        given = next((found for found in map(parse, cores(text, question)) if found is not None), None)
    return given == right


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[str, object, object] | None:
    """("range", low, high), ("over", n, None) or ("under", n, None); None for anything else."""
    if len(text) > 80:
        return None
    text = text.strip(" .").casefold()
    for _ in range(3):
        text = _AROUND.sub("", text).strip()
    over, under = _OVER.fullmatch(text), _UNDER.fullmatch(text)
    if over or under:
        match = over or under
        assert match is not None
        return ("over" if over else "under", match[1] or match[2], None)
    match = _BETWEEN.match(text)
    ends = [match[1], match[2]] if match else [part for part in _TO.split(text) if part]
    if len(ends) != 2 or (match is None and not _TO.search(text)):
        return None
    half = re.search(r"\s*[ap]\.?m\.?$", ends[1].strip())
    if half and re.fullmatch(r"\d{1,2}(?::\d{2})?", ends[0].strip()):  # 8-9 am
        ends[0] = ends[0].strip() + half[0]
    shortened = re.fullmatch(r"(\d{2})(\d{2})", ends[0].strip())
    if shortened and re.fullmatch(r"\d{2}", ends[1].strip()) and ends[1].strip() > shortened[2]:  # 1861-65
        ends[1] = shortened[1] + ends[1].strip()
    low, high = _end(ends[0]), _end(ends[1])
    if low is None or high is None or low[0] != high[0]:
        if low is None or high is None or "number" not in (low[0], high[0]):
            return None
        low, high = (
            (low[0] if low[0] != "number" else high[0], low[1]),
            (high[0] if high[0] != "number" else low[0], high[1]),
        )
    return ("range", low, high)


def _end(text: str) -> End | None:
    """What one end of a range is: a number, a year, a month, a day of the week, a date, a time, a quantity."""
    text = text.strip()
    if re.fullmatch(r"\d+(?:[.,]\d+)*", text):
        return ("number", text.replace(",", ""))
    month = clock.month(text)
    if month is not None:
        return ("month", month)
    if text[:3] in _DAYS and (len(text) == 3 or text.endswith(("day", "days"))):
        return ("weekday", _DAYS.index(text[:3]))
    time = clock.time_of_day(text)
    if time is not None:
        return ("time", time[0])
    moment = clock.moment(text)
    if moment is not None:
        return ("number", str(moment.year)) if moment.year > 0 and not moment.month else ("date", moment)
    value = quantity.read(text)
    if value is None or not (value.percent or value.unit is not None):
        return None
    return ("percent" if value.percent else str(value.unit), str(value.value * 100 if value.percent else value.value))
