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
    r"|shows?|turns|turned|adds? up to|sums? to|amounts? to|comes? to|called|named|contains?|finds?|weighs?"
    r"|measures?|takes?|lasts?|makes|has|have|means|has been"
)
_LINKS = re.compile(
    rf"^(.*)\b(?:{_LINK})\b:?\s+(?:equal to |given by |that |to be |known as |called )?(.+)$", re.IGNORECASE
)
_VERB = re.compile(
    rf"\b(?:{_LINK}|can|will|do|does|did|add|use|using|with|since|because|divide|from|by)\b|[=:是为得]", re.IGNORECASE
)
_CHINESE_LINK = re.compile(
    r"^(.*?)(?:答案是|应该是|应选|答案为|分别是|分别为|写着|写的是|建立于|爆发于|成立于|诞生于|创建于|发生于|发生在|位于|始于|出生于|俗称|叫做|叫作|称为|等于|结果是|是|为|即|得|有)([^是为]+)$"
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
_HOW_MANY = re.compile(
    r"\bhow many ([\w' -]+?)(?: (?:are|is|do|does|did|can|could|have|has|had|were|was|will|would|in|on|of|at"
    r"|there|appear|fit|cover|contain|show|include|depict|feature|say|wear)\b|\?|$)",
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
        if question and word in ("not", "never", "no") and _repeated(text[match.start() :], question):
            continue
        if word in allowed or (match[0] == "May" and not text[match.end() :].startswith(" be")):
            continue
        return match[0]
    return None


def _repeated(denial: str, question: str) -> bool:
    """Whether a denial is the question's own: "does not belong" where it asks which one does not belong."""
    asked = re.findall(r"\b(?:not|never|no)\s+(?:an? |the )?([^\W\d_]+)", question[:1000].casefold())
    said = re.match(r"(?:not|never|no)\s+(?:an? |the )?([^\W\d_]+)", denial.casefold())
    return said is not None and stem(said[1]) in {stem(word) for word in asked}


def without_approximation(text: str) -> tuple[str, bool]:
    """The text without a leading "about", and whether there was one."""
    bare = _APPROXIMATELY.sub("", text)
    return bare, bare != text


@lru_cache(maxsize=512)
def question_words(question: str) -> frozenset[str]:
    """The words that a question lends to its answer: all, but for those that it offers as alternatives."""
    text = re.sub(r"\b((?:is|are|was|were|has|have) (?:\w+ )?\w+), ", r"\1: ", fold(question).casefold())
    offered: set[str] = set()
    text = re.sub(r"\bor (?:in|on|to|at|from|with|of) ", "or ", text)
    for match in re.finditer(r"((?:[\w'-]+, )*)([\w'-]+),? or (?:the |a |an )?([\w'-]+)(?: ([\w'-]+))?", text):
        offered.update(re.findall(r"[\w'-]+", match[1]), (match[2], match[3]))
    for match in re.finditer(
        r"\b(?:which|what|who) (?:of|among) (?:the )?((?:[\w'-]+, )*[\w'-]+),? and ([\w'-]+)", text
    ):
        offered.update(re.findall(r"[\w'-]+", match[1]), (match[2],))
    offered.update(
        match.casefold() for match in re.findall(r"\b(?:[A-Z][a-z]?\d*){1,6}\b", question) if re.search(r"\d", match)
    )
    for match in re.finditer(r"([\w'-]+) and ([\w'-]+) or\b", text):
        offered.update(match.groups())
    for match in re.finditer(
        r"([\w'-]+) ([\w'-]+) or (?:the |an? )?([\w'-]+) \2\b", text
    ):  # the red car or the blue car
        offered = offered - {match[2]} | {match[1], match[3]}
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
    found += [word.removesuffix("'s") for word in found if word.endswith("'s")]
    return frozenset(stem(word) for word in found) - {stem(word) for word in offered}


_EMPTY = frozenset(word for row in rows("empty_words.txt", " ") for word in row)
_IRREGULAR = dict(rows("irregular_forms.txt", " "))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without the ending of a plural or of a verb: increases, increased are one; so are fell, fall."""
    if _IRREGULAR.get(word) == word:
        return word
    return _shorter(_shorter(_IRREGULAR.get(word, word)))


def _shorter(word: str) -> str:
    if word.isdigit() or len(word) < 4 or not word.isascii():
        return word
    base = word
    if word.endswith(("ies", "ied")) and len(word) > 4:
        base = word[:-3] + "y"
    elif word.endswith(("ses", "xes", "ches", "shes", "oes", "zzes")) and len(word) > (
        4 if word.endswith("xes") else 5
    ):
        base = word[:-1] if word.endswith("ses") and not word.endswith("sses") else word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        base = word[:-1]
    elif word.endswith("ly") and len(word) > 5:
        base = word[:-2]
    elif word.endswith(("ing", "ed")):
        cut = word.removesuffix("ing").removesuffix("ed")
        if len(cut) < 3 or not re.search(r"[aeiouy]", cut):
            return word if len(cut) != 2 or not word.endswith("ing") else cut + "e"
        if cut[-1] == cut[-2] and cut[-1] not in "lsz":
            base = cut[:-1]
        else:  # moved, but turned, rained and opened
            base = cut + "e" if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]|.*(?:[cv]|[bcdfgkptz]l)", cut) else cut
    return base.removesuffix("e") if len(base) > 5 else base


_EMPTY_STEMS = frozenset({stem(word) for word in _EMPTY} - {"on", "th", "us", "land", "mark", "paint", "sail", "sign"})


def is_empty(word: str) -> bool:
    """Whether a word, or a stem, says nothing by itself."""
    return word in _EMPTY or word in _EMPTY_STEMS


def of_another(text: str, question: str) -> bool:
    """Whether a number stands with another noun of the question than the one it counts: 8 spiders, where legs "
    "are asked for."""
    asked = _HOW_MANY.search(question)
    noun = re.fullmatch(r"(?:[\w-]+ ){1,4}?([a-z]+)\.?", text.casefold())
    if (
        asked is None
        or (asked[1].startswith("of ") and re.match(r".* of .+\b(?:are|is|were|was)\b", asked[0]))
        or noun is None
        or re.search(r"\b(?:is|are|has|have|was|were|in|on|of|contain|show|include|depict|feature|say|wear)s?\b", text)
    ):
        return False
    phrase = {stem(word) for word in re.findall(r"[a-z]+", asked[1].casefold())}
    return stem(noun[1]) in question_words(question) - phrase and not is_empty(noun[1])


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
        stranger = re.search(r"\b([B-HJ-Z])\b", label)  # Team B, where team A is asked about
        if not re.search(r"\d", label) and rest.strip() and not (stranger and question and stranger[1] not in question):
            found += [rest.strip(), trim(rest.strip(), lent)]
    return found


def predicate(text: str) -> str | None:
    """What a sentence says of its subject: STOP of "The sign says STOP"."""
    match = _LINKS.match(text)
    return match[2].strip() if match else None


def trim(text: str, lent: frozenset[str]) -> str:
    """Without the harmless words before and after."""
    parts = text.split()
    while parts and _harmless(parts[0], lent) and not _joined(parts, lent):
        parts = parts[1:]
    while parts and _harmless(parts[-1], lent) and not _joined(parts[::-1], lent):
        parts = parts[:-1]
    return " ".join(parts).strip(" ,.;")


def _joined(parts: list[str], lent: frozenset[str]) -> bool:
    """Whether the first is joined to a word that says something, red and blue, or is the label A or I."""
    after = [part for part in parts[1:] if part.casefold() not in ("a", "an", "the", "his", "her", "its", "their")]
    joined = [part.casefold() for part in after[:1]] in (["and"], ["or"], ["&"])
    if parts[0] in ("A", "I"):
        return joined or len(parts) == 1
    return joined and parts[0].casefold() not in _EMPTY and not _harmless(" ".join(after[1:2]), lent)


def _harmless(part: str, lent: frozenset[str]) -> bool:
    word = part.strip(",.;:!%'\"").casefold()
    return word == "" or word in _EMPTY or (stem(word) in lent and len(word) > 1)
