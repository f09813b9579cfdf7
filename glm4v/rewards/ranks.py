"""Places in an order and in space: the third floor is no three floors, and on the box is not in the box."""

import re
from itertools import pairwise

from glm4v.rewards.numerals import chinese_or_figures
from glm4v.rewards.statement import is_empty

_KINDS = "floor|storey|story|level|lane|row|column|platform|grade|chapter"
_ASKED = re.compile(
    rf"\b(?:which|what) (?:{_KINDS}|exit|door|gate|track|shelf|drawer|stop)\b|\bwhich (?:group|period)\b", re.IGNORECASE
)
_KIND = re.compile(rf"\b({_KINDS}|stories|group|period)s?\b", re.IGNORECASE)
_STOREYS = {"floo", "stor", "leve"}
_HAN = re.compile(r"第?([一二三四五六七八九十]{1,3}|\d{1,3})(?:楼|层|排|行|列|名|周期|族|章|年级|号车道)")
_WAY = re.compile(
    r"\b(in|inside|within|on|onto|to|towards?|from|by)\s+(?:(?:the|an?|his|her|its|their)\s+)?([^\W\d_]+)"
)
_CONTRARY = tuple(
    {one, other}
    for ones, others in (("in inside within by", "on onto"), ("in inside within", "by"), ("to toward towards", "from"))
    for one in ones.split()
    for other in others.split()
)
_SIDE_WORDS = (
    "left right front back up down forward backward above below top bottom side corner middle center centre background "
    "street road"
)
_SIDES = frozenset(_SIDE_WORDS.split())
_PLACE_WORDS = "behind front above over below under beneath beside between near inside outside"
_PLACES = frozenset(_PLACE_WORDS.split())


def asked(question: str | None) -> bool:
    """Whether a question asks for a place in an order, so that 3 and third are one: which floor."""
    return _ASKED.search(question or "") is not None


def han(text: str) -> str | None:
    """The figure of a rank in Chinese: 3 for 三楼 and 第三排."""
    match = _HAN.fullmatch(text.strip(" ."))
    return str(chinese_or_figures(match[1])) if match else None


def is_count(words: tuple[str, ...]) -> bool:
    """Whether a number counts things: three floors, but not floor 3, nor 3 alone."""
    return any(word.isdigit() and (not is_empty(after) or after == "people") for word, after in pairwise(words))


def of_other_kind(text: str, question: str | None) -> bool:
    """Whether an answer names a column, where a row is asked for."""
    said, right = ({kind.casefold()[:4] for kind in _KIND.findall(part)} for part in (text, question or ""))
    return bool(said) and not said & right and not said | right <= _STOREYS


def elsewhere(text: str, truth: str) -> bool:
    """Whether an answer has the place of the truth with a contrary word: on the box for in the box."""
    ways = [{noun: word for word, noun in _WAY.findall(part.casefold())} for part in (text, truth)]
    return any({ways[0].get(noun), way} in _CONTRARY for noun, way in ways[1].items() if noun not in _SIDES)


def of_another(said: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether words of place or figures stand with another thing than in the truth: behind the dog, not the chair."""
    mine, theirs = _placed(said), _placed(right)
    return any(word in mine and mine[word] != after for word, after in theirs.items())


def _placed(words: tuple[str, ...]) -> dict[str, str]:
    """Ordinals and words of place with what follows each, and words before figures."""
    after = [(word, next((one for one in words[n + 1 :] if not is_empty(one)), "")) for n, word in enumerate(words)]
    return {word: one for word, one in after if one and (word[0] == "#" or word in _PLACES or one.isdigit())}
