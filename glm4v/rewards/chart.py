"""Values and labels read off a chart: printed ones to a relative 1e-5, years exactly, estimates within 5%."""

import re

from glm4v.rewards import choice, clock, formulas, open_answer, ranges, ratios, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.vqa import TABLES, seen_text
from glm4v.rewards.yes_no import read as polarity

TOLERANCE, ESTIMATE = 1e-5, 0.05
YEARS = range(1000, 2200)
_ESTIMATE = re.compile(
    r"\babout\b|approximate|estimate|roughly|read off|read the value off|大约|约为|估计", re.IGNORECASE
)
_SCALES = {"K": " thousand", "M": " million", "B": " billion"}
_printed = values.reader(Rules(bare=True, any_unit=True, relative=TOLERANCE))
_estimated = values.reader(Rules(bare=True, any_unit=True, relative=ESTIMATE, approximate=True))
_exact = values.reader(Rules(bare=True, any_unit=True))


def _values(text: str, truth: str, question: str | None) -> bool | None:
    """Numbers: a whole one from 1000 to 2199 without a unit is taken for a year, unless a count or sum is asked for."""
    if _ESTIMATE.search(question or ""):
        return _estimated(text, truth, question)
    right = values.truth_of(truth)
    if right is None:
        return None
    given = values.given_by(text, truth, question, right)
    if given is not None and given.tree[0] in ("sum", "product", "call"):  # not a number that a chart shows
        return False
    if right.unit is None:
        text = re.sub(r"(?<=\d)\s?([kKMB])$", lambda scale: _SCALES[scale[1].upper()], text)
    if right.unit is None and right.value in YEARS and truth.strip().isdigit():
        return _exact(text, truth, question)
    return _printed(text, truth, question)


check = open_answer.verifier(
    (
        choice.read,
        formulas.points,
        ratios.read,
        ranges.read,
        clock.read,
        clock.read_month,
        values.multiples,
        _values,
        seen_text,
        polarity,
    ),
    lists=(open_answer.words(*TABLES),),
)
