"""Answers that are a product of letters, mgh or RC: no names, and their case counts."""

import re

from glm4v.rewards import formulas, mathematics, names
from glm4v.rewards.statement import cores

_TABLES = ("words", "things", "substances", "culture")

_ENGLISH = "yes no true false left right up down east west both none zero one two iron gold lead tin zinc neon"
_WORDS = frozenset(_ENGLISH.split())


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of letters side by side that name nothing: None where the truth or the answer is anything else."""
    if not re.fullmatch(r"[A-Za-z]{2,4}", truth) or truth.casefold() in _WORDS or names.other_names(truth, _TABLES)[1:]:
        return None
    for core in cores(text, question):
        shape = mathematics.read(core)
        right = mathematics.read(truth)
        if shape is not None and right is not None:
            return formulas.same(shape, right, question, truth)
    return None
