"""Which answer a text commits to: the words that take an answer back, and the part of a sentence that states it.

A sentence may stand around an answer, and working before it. What is left out must be harmless: working that ends in a
statement, words of the question, and words that say nothing (`the`, `there are`, `the answer is`).
"""

import re
from functools import lru_cache

from glm4v.rewards.tables import rows
from glm4v.rewards.text import fold

MAX_CHARACTERS = 1500  # of an answer with its sentence and working

_HEDGES = re.compile(
    r"\b(?:or|either|neither|nor|maybe|perhaps|possibly|probably|presumably|might|could|may be|may|unsure|uncertain"
    r"|unclear|guess|alternatively|(?<!equally )likely|unless|if|otherwise|else|whichever|whatever|any"
    r"|anything|somewhere|sometimes"
    r"|depends|depending|between|at least|at most|no more than|no less than|more than|less than|fewer than|greater than"
    r"|up to|under|over|not|never|cannot|can't|isn't|aren't|wasn't|weren't|don't|doesn't|didn't|won't|wrong|incorrect"
    r"|false|but|however|except|instead|versus|vs|plus or minus|no|nan|etc|several|unknown|undetermined|and/or"
    r"|hard to say|not sure|both|respective to|rather than|opposite of|as opposed to)\b"
    r"|[?|±~]|\\pm|\\or\b|\\lor|或|还是|不|没|非|无法|可能|也许|大概|至少|至多|最多|最少|之间|左右|除了|要么",
    re.IGNORECASE,
)
_ASKED_BY = {
    "both",
    "over",
    "under",
    "between",
    "more than",
    "less than",
    "fewer than",
    "greater than",
    "except",
    "any",
}
_APPROXIMATELY = re.compile(
    r"^(?:about|approximately|approx\.?|roughly|around|nearly|almost|circa|ca\.|c\.|≈|~|∼|\\approx|\\sim|大约"
    r"|约为|约|大概|近似)\s*",
    re.IGNORECASE,
)
_LINK = (
    r"is|are|was|were|be|equals?|becomes?|gives?|yields?|costs?|obtain|obtains|get|gets|got|find|reads?|says?|states?"
    r"|shows?|turns|turned|called|named|contains?|finds?|weighs?|measures?|takes?|lasts?|makes|has|have|means|has been"
)
_LINKS = re.compile(
    rf"^(.*)\b(?:{_LINK})\b:?\s+(?:equal to |given by |that |to be |known as |called )?(.+)$", re.IGNORECASE
)
_VERB = re.compile(
    rf"\b(?:{_LINK}|can|will|do|does|did|add|use|using|with|since|because|divide|from|by)\b|[=:是为得]", re.IGNORECASE
)
_CHINESE_LINK = re.compile(
    r"^(.*?)(?:答案是|应该是|应选|答案为|分别是|分别为|写着|写的是|叫做|叫作|称为|等于|结果是|是|为|即|得|有)([^是为]+)$"
)
_SPLIT = re.compile(
    r"(?<=[.;!])\s+(?=\S)|;\s*|,?\s+(?:so that|so|thus|hence|therefore|consequently|then|giving|which gives"
    r"|and so)\b,?\s*"
    r"|[,;.]?\s*(?:所以|因此|因而|故而|于是|则)[,]?\s*|\n",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(r"\b(?:so|thus|hence|therefore)\b|所以|因此|故", re.IGNORECASE)
_REASON = re.compile(r",?\s+(?:because|since)\b|[,;]?\s*因为", re.IGNORECASE)
_TOTAL = re.compile(
    r"(?:[,;]|\band\b)\s*(?:for |so |making |giving )?(?:a |the )?total (?:of |is )?([\w ,.-]+)$"
    r"|[,;]\s*([\w-]+(?: \w+)?) (?:in total|in all|altogether)$",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r"\s+(?:is|are|was)\s+(?:the\s+)?(?:correct|right|true|answer|correct answer|right answer|one|result)$",
    re.IGNORECASE,
)


def hedge(text: str, truth: str, question: str | None = None) -> str | None:
    """A word that leaves the answer open or takes it back, unless the truth has it too, or the question asks by it."""
    allowed = {match[0].casefold() for match in _HEDGES.finditer(fold(truth))}
    if question:
        allowed |= {match[0].casefold() for match in _HEDGES.finditer(question[:1000])} & _ASKED_BY
    for match in _HEDGES.finditer(text):
        word = match[0].casefold()
        if word in allowed or (match[0] == "May" and not text[match.end() :].startswith(" be")):
            continue
        return match[0]
    return None


def without_approximation(text: str) -> tuple[str, bool]:
    """The text without a leading "about", and whether there was one."""
    bare = _APPROXIMATELY.sub("", text)
    return bare, bare != text


@lru_cache(maxsize=512)
def question_words(question: str) -> frozenset[str]:
    """The words that a question lends to its answer: all, but for those that it offers as alternatives."""
    text = fold(question).casefold()
    offered: set[str] = set()
    for match in re.finditer(r"((?:[\w'-]+, )*)([\w'-]+),? or (?:the |a |an )?([\w'-]+)(?: ([\w'-]+))?", text):
        offered.update(re.findall(r"[\w'-]+", match[1]), (match[2], match[3]))
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
    return frozenset(stem(word) for word in found) - {stem(word) for word in offered}


_EMPTY = frozenset(word for row in rows("empty_words.txt", " ") for word in row)
_IRREGULAR = dict(rows("irregular_verbs.txt", " "))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without the ending of a plural or of a verb: increases, increased are one; so are fell, fall."""
    return _shorter(_shorter(_IRREGULAR.get(word, word)))


def _shorter(word: str) -> str:
    if word.isdigit() or len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            base = word[: -len(ending)]
            if ending in ("ing", "ed") and base[-1:] == base[-2:-1] and base[-1:] not in "lsz":
                base = base[:-1]
            return base.removesuffix("e")
    return word.removesuffix("e")


_EMPTY_STEMS = frozenset({stem(word) for word in _EMPTY} - {"on", "th"})


def is_empty(word: str) -> bool:
    """Whether a word, or a stem, says nothing by itself."""
    return word in _EMPTY or word in _EMPTY_STEMS


def cores(text: str, question: str | None) -> list[str]:
    """The text, then what it states last, ever more closely cut; the first that can be read is the answer."""
    text = text.strip()
    found = [text]
    clauses = [part.strip(" ,.;") for part in _SPLIT.split(text) if part and part.strip(" ,.;")]
    if len(clauses) > 1:
        concluded = _CONCLUDED.search(text) is not None
        if not all(_VERB.search(clause) or (concluded and len(clause.split()) > 2) for clause in clauses[:-1]):
            return found
        found.append(clauses[-1])
    reasoned = _REASON.split(found[-1], maxsplit=1)[0]
    if reasoned != found[-1]:
        found.append(reasoned)
    summed = _TOTAL.search(found[-1])
    if summed:
        found.append((summed[1] or summed[2]).strip())
    last = _TRAILING.sub("", found[-1])
    if last != found[-1]:
        found.append(last)
    for link in (_LINKS, _CHINESE_LINK):
        match = link.match(last)
        if match:
            found.append(match[2].strip())
            if not re.search(r"[A-Za-z]", match[1]):
                break
    if last != text and _LINKS.match(text):  # "The angle is right" may mean the angle
        found.append(_LINKS.match(text)[2].strip())  # type: ignore[index]
    lent = question_words(question or "")
    for part in list(found):
        trimmed = trim(part, lent)
        if trimmed and trimmed not in found:
            found.append(trimmed)
    if ":" in last:
        label, _, rest = last.partition(":")
        if not re.search(r"\d", label) and rest.strip():
            found += [rest.strip(), trim(rest.strip(), lent)]
    return found


def predicate(text: str) -> str | None:
    """What a sentence says of its subject: STOP of "The sign says STOP"."""
    match = _LINKS.match(text)
    return match[2].strip() if match else None


def trim(text: str, lent: frozenset[str]) -> str:
    """Without the harmless words before and after."""
    parts = text.split()
    while parts and _harmless(parts[0], lent):
        parts = parts[1:]
    while parts and _harmless(parts[-1], lent):
        parts = parts[:-1]
    return " ".join(parts).strip(" ,.;")


def _harmless(part: str, lent: frozenset[str]) -> bool:
    word = part.strip(",.;:!'\"").casefold()
    return word == "" or word in _EMPTY or (stem(word) in lent and len(word) > 1)
