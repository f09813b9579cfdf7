"""Short answers about a picture: colours, things, sides, counts, prices, words that stand in it."""

import re

from glm4v.rewards import choice, clock, open_answer, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge, predicate
from glm4v.rewards.yes_no import read as polarity

TABLES = ("things", "words", "places", "culture", "living")
_AGES = re.compile(r"(\d{1,3})\s*(?:-|–|—|to|至|到)\s*(\d{1,3})|(\d{1,3})\s*(?:\+|and (?:over|older|above|up)|or (?:over|older|above|more)|岁?(?:及|以)以?上)|(?:under|below|less than|<)\s*(\d{1,3})")
_TEXT_ALONE = re.compile(r"\b(?:text|written|say|says|printed|reads?)\b|写", re.IGNORECASE)
_TEXT_ASKED = re.compile(r"\b(?:text|written|say|says|sign|word|words|letters?|label|read|reads|banner|plate|address|title)\b|写|文字|牌", re.IGNORECASE)


def groups(text: str, truth: str, question: str | None) -> bool | None:
    """Ranges that are labels, such as age groups: 18-24, 65+, under 18."""
    right = _group(truth)
    if right is None:
        return None
    return any(_group(core) == right for core in cores(text, question))


def _group(text: str) -> tuple[str, ...] | None:
    text = re.sub(r"^the\s+|\s*(?:age)?\s*(?:groups?|years?(?: olds?| of age)?|岁|组|year-olds)$", "", re.sub(r"\s*(?:age )?group$", "", text.strip()))
    match = _AGES.fullmatch(text.strip())
    if match is None:
        return None
    low, high, over, under = match.groups()
    return (low, high) if low else (over, "+") if over else ("-", under)


def seen_text(text: str, truth: str, question: str | None) -> bool | None:
    """Words that stand in the picture, as they stand there but for case, quotes and outer punctuation."""
    if not _TEXT_ASKED.search(question or "") or values.truth_of(truth) is not None:
        return None
    if _bare(text) == _bare(truth):
        return True
    quoted = re.findall(r"[\"“《']([^\"”》']+)[\"”》']", text)
    if len(quoted) == 1 and hedge(text.replace(quoted[0], ""), truth) is None:
        return _bare(quoted[0]) == _bare(truth)
    if not _TEXT_ALONE.search(question or "") or re.search(r"[\u4e00-\u9fff]", text):
        return None
    return hedge(text, truth) is None and _bare(predicate(text) or "") == _bare(truth)


def _bare(text: str) -> str:
    text = re.sub(r"^https?://|/$", "", text.strip())
    return re.sub(r"\s+", " ", text).strip(" .!,;:\"'“”").casefold()


check = open_answer.verifier(
    (choice.read, groups, clock.read, values.reader(Rules(bare=True)), seen_text, polarity),
    lists=(open_answer.words(*TABLES),),
)
