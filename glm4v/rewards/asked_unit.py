"""What a question says about the unit of its answer: metres, millions, per cent, an angle."""

import re
from functools import lru_cache

from glm4v.rewards.numerals import CHINESE_SCALES, SCALES
from glm4v.rewards.text import fold, unwrap
from glm4v.rewards.units import Unit, parse_unit

_NAMED_IN_QUESTION = (
    re.compile(
        r"\bin (?:units of |terms of |the unit )?((?:square |cubic |metric "
        r"|US )?[^\W\d]+(?:[ ·/^-][^\s?,.;:()]+){0,4}?)(?=\s*[?.,;:()]|\s+(?:is|are|was|of|at|on|for|to|did|does"
        r"|do|in|the)\b|$)"
    ),
    re.compile(r"\bhow many ((?:square |cubic )?[^\W\d_]+)(?=\W)", re.IGNORECASE),
    re.compile(r"\bhow much is it in ([^\W\d_]+)", re.IGNORECASE),
    re.compile(r"[(（]\s*(?:unit|单位)?\s*[:：]?\s*([^()（）]{1,16})[)）]"),
    re.compile(r"(?:多少|几)(个月|[\u4e00-\u9fff]{1,6}?)(?=[?？.。,，]|$)"),
    re.compile(r"单位[为是:：]\s*([^\s,，.。()（）]{1,12})"),
    re.compile(r"\b(?:number of|what is the) (degrees)\b", re.IGNORECASE),
)
_PERCENTAGE_ASKED = re.compile(r"(?<!\d)(?<!\d )(?:percent|per cent|\\?%|百分)", re.IGNORECASE)
_DIFFERENCE_ASKED = re.compile(
    r"temperature (?:difference|change|rise|increase|decrease|drop|fall)|temperatures? differ|温差|温度(?:变化|差)"
    r"|(?:difference|change|rise|increase|decrease|drop|fall) (?:in|of) (?:the )?(?:\w+ )?temperature"
    r"|by how (?:much|many degrees).*temperature|how (?:much|many degrees) (?:\w+ )*(?:warmer|colder|hotter|cooler)"
    r"|(?:升高|降低|上升|下降)(?:了)?(?:多少|几)",
    re.IGNORECASE,
)
_ANGLE_ASKED = re.compile(r"angle|degree|∠|angular|latitude|longitude|bearing|角|度", re.IGNORECASE)


@lru_cache(maxsize=512)
def unit_asked(question: str | None) -> Unit | None:
    """The unit that the question names for the answer: "in dollars", "how many millimetres", 多少元."""
    text = fold(question or "")[:1000]
    for pattern in _NAMED_IN_QUESTION:
        for match in pattern.finditer(text):
            words = unwrap(match[1]).split(" ")
            if len(words) > 1 and words[0].removesuffix("s") in SCALES:  # in millions of dollars
                words = words[2:] if words[1] == "of" else words[1:]
            for length in range(len(words), 0, -1):
                unit = parse_unit(" ".join(words[:length]))
                if unit is not None and (len(words[0]) > 1 or length == len(words)):
                    return unit
    return None


@lru_cache(maxsize=512)
def scale_asked(question: str | None) -> int:
    """A million where the question asks for millions; 0 where it asks for no such scale."""
    match = re.search(
        r"(?:\bin |\bthe |\bhow many |\((?:in )?)(thousand|million|billion|trillion)(?:s\b|(?= [^\W\d_]+))",
        question or "",
        re.IGNORECASE,
    )
    han = re.search(r"(万|亿)(?:元|人|吨)?为单位|单位[：:为]?\s*(万|亿)", question or "")
    return SCALES[match[1].casefold()] if match else CHINESE_SCALES[han[1] or han[2]] if han else 0


def percentage_asked(question: str | None) -> bool:
    """Whether the question asks for a percentage, so that 25 means 25%."""
    return question is not None and _PERCENTAGE_ASKED.search(question) is not None


def temperature_difference_asked(question: str | None) -> bool:
    """Whether the question is about a difference of temperatures, for which 6 °C is 6 K."""
    return question is not None and _DIFFERENCE_ASKED.search(question) is not None


def angle_asked(question: str | None) -> bool:
    """Whether the question is about an angle."""
    return question is not None and _ANGLE_ASKED.search(question) is not None
