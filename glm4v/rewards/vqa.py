"""Short answers about a picture: colours, things, sides, counts, prices, words that stand in it."""

import re

from glm4v.rewards import choice, clock, formulas, open_answer, ranges, ratios, relative, values
from glm4v.rewards.counting import count
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge, predicate
from glm4v.rewards.yes_no import read as polarity

TABLES = ("things", "words", "places", "culture", "living")
_TEXT_ALONE = re.compile(r"\b(?:text|written|say|says|printed|reads?|words?|title)\b|写", re.IGNORECASE)
_TEXT_ASKED = re.compile(
    r"\b(?:text|written|say|says|sign|word|words|letters?|label|read|reads|banner|plate|address|title)\b|写|文字|牌",
    re.IGNORECASE,
)


def seen_text(text: str, truth: str, question: str | None) -> bool | None:
    """Words that stand in the picture, as they stand there but for case, quotes and outer punctuation."""
    text = re.sub(r"^(?:the )?(?:words?|letters?|text|title) (?=[\"A-Z])", "", text)
    bare = [re.sub(r"[\s-]", "", _bare(part)) for part in (text, truth)]
    if bare[0] == bare[1] and (re.search(r"\d.*[A-Z]|[A-Z].*\d", truth) or re.fullmatch(r"\d{7,}", bare[1])):
        return True  # KLM472 for KLM 472
    if not _TEXT_ASKED.search(question or "") or values.truth_of(truth) is not None:
        return None
    if _bare(text) == _bare(truth):
        return True
    quoted = re.findall(r"[\"“《']([^\"”》']+)[\"”》']", text)
    if len(quoted) == 1 and hedge(text.replace(quoted[0], ""), truth) is None:
        return _bare(quoted[0]) == _bare(truth)
    if not _TEXT_ALONE.search(question or "") or re.search(r"[\u4e00-\u9fff]", text):
        return None
    return hedge(text, truth) is None and any(
        _bare(core) == _bare(truth)
        for core in (
            predicate(text) or "",
            *(cores(text, question) if len(text.split()) > len(truth.split()) + 2 else ()),
        )
    )


def _bare(text: str) -> str:
    text = re.sub(r"^https?://|/$", "", text.strip())
    return re.sub(r"\s+", " ", text).strip(" .!,;:\"'“”").casefold()


def absent(text: str, truth: str, question: str | None) -> bool | None:
    """None, zero, no birds: that nothing of what is counted is there."""
    if truth.casefold() not in ("none", "no", "0", "zero", "没有") or not re.search(
        r"how many|多少|几", question or "", re.IGNORECASE
    ):
        return None
    return count(text, question) == 0


check = open_answer.verifier(
    (
        choice.read,
        formulas.points,
        ratios.read,
        ranges.read,
        clock.read,
        absent,
        relative.read,
        values.multiples,
        values.reader(Rules(bare=True)),
        seen_text,
        polarity,
    ),
    lists=(open_answer.words(*TABLES),),
)
