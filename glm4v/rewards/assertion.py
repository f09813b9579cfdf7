"""Statements in answer to a yes or no question: whether a sentence asserts or denies what the question asks."""

import re

from glm4v.rewards.statement import stem
from glm4v.rewards.tables import rows

_WORD = re.compile(r"[^\W_]+(?:'[a-z]+)?")
_SILENT_WORDS = (
    "is are was were be been do does did has have had will would can could should may the a an it its they he she "
    "there this that these those any some we i you also indeed really"
)
_EXACT_WORDS = "all every each both only more less fewer than most exactly always if between other half partly"
_SAID = re.compile(r"\b(?:is|are|was|were|do|does|did|has|have|had|will|would|can|could|should|may)\b|n't\b|s\b", re.I)
_NOUN = re.compile(r"\b(?:the|an?|his|her|its|their)\s+(?:\w+\s+)?\w+\W*$", re.IGNORECASE)
_SILENT, _EXACT = frozenset(_SILENT_WORDS.split()), frozenset(_EXACT_WORDS.split())
_DENIALS = frozenset(("not", "no", "never", "none", "nobody", "nothing", "cannot", "neither"))
_OPPOSITES = [tuple(frozenset(side.split()) for side in row) for row in rows("opposites.txt", "|")]


def read(text: str, question: str | None, loose: bool = False) -> bool | None:
    """True where a sentence says what the question asks, False where it denies that, None where it says anything else.

    Its words are the question's in their order; where the question compares or counts, all of them, unless `loose`.
    """
    asked, denied = _content(question or "")
    said, denials = _content(text)
    if re.match(r"(?:is|are|was|were|does|did|has|have|can)\b", text.casefold()):  # the question given back
        return None
    if not said or denied or denials > 1 or re.search(r"\bor\b|不|没", question or ""):
        return None
    remaining = iter(asked)
    if not all(any(word == other for other in remaining) for word in said):
        return None
    whole = (bool(_EXACT & set(asked)) or any(word.isdigit() for word in asked)) and not (loose and "than" not in asked)
    subject = re.match(r"(?:there (is|are|was|were)|it|they|he|she)\b", text.casefold())
    stands = 1 if subject and not subject[1] else 0  # it is half full: "it" is the first word of the question
    enough = (
        len(said) in (len(asked), len(asked) - stands)
        if whole
        else (
            said[-1] == asked[-1]
            and (len(said) > 1 or _SAID.search(text) is not None or not _NOUN.search(question or ""))
        )
        or (2 * len(said) >= len(asked) and _SAID.search(text) is not None)
    )
    if len(said) == 1 and ((loose and subject and not subject[1]) or re.match(r"not\b", text.casefold())):
        return denials == 0  # no, it is bigger; not the same
    if subject and not whole:  # there aren't any trees; it can't fit
        enough |= said == asked[: len(said)] if subject[1] else said == asked[1 : 1 + len(said)]
    return denials == 0 if enough else None


def opposed(text: str, question: str | None) -> bool:
    """Whether a sentence has the opposite of a word of the question in its place: closed, where it asks for open."""
    question = re.sub(r"\bon (?=(?:the|an?|his|her|its|their)\b)", "", question or "")
    said, asked = ({word.casefold() for word in _WORD.findall(part)} for part in (text, question))
    pairs = [pair for one, other in _OPPOSITES for pair in ((one, other), (other, one))]
    return any(one & asked and other & said and not one & said and not other & asked for one, other in pairs)


def contradicts(text: str, question: str | None) -> bool:
    """Whether a sentence is the question's own but for one word, which has its opposite: they show different places."""
    if not opposed(text, question):
        return False
    opposites = {stem(word) for pair in _OPPOSITES for side in pair for word in side}
    asked, (said, denials) = _content(question or "")[0], _content(text)
    subject = len(said) == 1 and len(asked) > 1 and said[0] not in asked[1:] and opposed(asked[0], text)
    return denials == 0 and not subject and all(word in asked or word in opposites for word in said)


def _content(text: str) -> tuple[list[str], int]:
    """The stems of the words that say something, and how many words deny."""
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text[:500])]
    denials = sum(word in _DENIALS or word.endswith("n't") for word in words)
    kept = (word for word in words if word not in _DENIALS | _SILENT and not word.endswith("n't"))
    return [stem(word) for word in kept], denials
