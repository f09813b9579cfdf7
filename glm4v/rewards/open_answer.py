"""Answers of several kinds: each domain lists readers, and the first that can read the truth decides.

A reader is `read(answer, truth, question) -> bool or None`: None where the truth is not of its kind.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from glm4v.rewards import names, parts
from glm4v.rewards.statement import MAX_CHARACTERS, hedge, is_empty, question_words, stem
from glm4v.rewards.text import foreign_script, plain, unwrap
from glm4v.rewards.units import parse_unit
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

Reader = Callable[[str, str, str | None], bool | None]
_ASIDE = re.compile(r"^(.{1,120}?)\s*\(([^()]{1,80})\)$")
_ROUNDED = re.compile(
    r"\s*[(\[]?\b(?:rounded )?(?:to )?(?:\d|one|two|three|four) ?(?:d\.? ?p\.?|s\.? ?f\.?|sig\.? figs?\.?"
    r"|decimal places?"
    r"|significant (?:figures?|digits?))[)\]]?$",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"!(?=[^\s!])|[¬≠]|\\(?:neg|neq|ne|not)(?![a-z])")
_LISTED = re.compile(r"\s*(?:,\s*(?:and\s+)?|/|\band\b|&)\s*")
_NAME = re.compile(r"[^\W\d_][\w-]*(?: [^\W\d_][\w-]*)?")
MAX_QUESTION = 2000
_NOTHING = "?"  # an answer that nothing equals


Verifier = Callable[[str, Truth, str | None], Verdict]


def verifier(readers: Sequence[Reader], lists: Sequence[Reader] = ()) -> Verifier:
    """A verifier by these readers, by parts that each are read by them, and then by `lists`."""

    def same(text: str, truth: str, question: str | None) -> bool:
        return _by_readers(_unwrapped(text), _unwrapped(truth), question, all_readers)

    in_lists = (parts.list_reader(same), *lists) if lists else ()
    all_readers = (*readers[:1], parts.numbered_reader(same), *readers[1:], *in_lists)

    @lru_cache(maxsize=1024)
    def is_typed(truth: str, question: str | None) -> bool:
        """Whether one of the readers reads the truth: then what it refuses is wrong."""
        return any(read(_NOTHING, _unwrapped(truth), question) is not None for read in readers)

    def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
        target = truth_text(truth)
        accepted = [target]
        if isinstance(truth, Mapping):
            accepted += [str(other) for other in truth.get("accept", ())]
        if len(prediction) > MAX_CHARACTERS:
            return Verdict(0.0, f"an answer of more than {MAX_CHARACTERS} characters")
        script = foreign_script(prediction, target + (question or ""))
        if script is not None:
            return Verdict(0.0, f"letters of another script ({script.lower()})")
        question = question[:MAX_QUESTION] if question else None
        if any(_same(prediction, other, question, all_readers) for other in accepted):
            return Verdict(1.0, f"{quote(prediction)} is the same as {quote(target)}")
        sure = hedge(prediction, target, question) is not None or any(is_typed(other, question) for other in accepted)
        return Verdict(0.0, f"{quote(prediction)} is not {quote(target)}", decided=sure)

    return check


def _same(prediction: str, truth: str, question: str | None, readers: Sequence[Reader]) -> bool:
    bare, target = unwrap(prediction), _unwrapped(truth)
    text = _ROUNDED.sub("", bare) or bare
    if text and text == target:
        return True
    if not text or (question and plain(text) == plain(question)):
        return False
    if question and _lists_lent(text, target, question):
        return False
    if _NEGATED.match(text) and not _NEGATED.match(target):
        return False
    if _by_readers(text, target, question, readers):
        return True
    measured = _ASIDE.match(target)  # Temperature (°C): the unit of an axis may be left out or said
    if measured and parse_unit(measured[2]) is not None and values_free(measured[1]):
        bare = re.sub(r"\s*(?:\(.*\)|,? in .+|\[.*\])$", "", text)
        unit = parse_unit(
            re.sub(r"^\W*(?:in )?(?:degrees (?=celsius|fahrenheit))?|\W+$", "", text[len(bare) :], flags=re.IGNORECASE)
        )
        if (bare == text or unit == parse_unit(measured[2])) and _by_readers(bare, measured[1], question, readers):
            return True
    aside = _ASIDE.match(text)  # carbon monoxide (CO): both must be right
    if aside is None or aside[1].endswith(("^", "_", "=")):
        return False
    return all(_by_readers(part.strip(), target, question, readers) for part in (aside[1], aside[2]))


def _lists_lent(text: str, truth: str, question: str) -> bool:
    """Whether an answer lists more than the truth, and a word of the question among it: a cane, a hat."""
    listed = [re.sub(r"^(?:the|an?|his|her) ", "", part) for part in _LISTED.split(text.strip(" ."))]
    if (
        len(listed) <= len(_LISTED.split(truth))
        or (truth.istitle() and " " in truth)
        or not all(_NAME.fullmatch(part) for part in listed)
    ):
        return False
    lent = question_words(question)
    return any(
        part not in truth
        and not names.place_size(part)
        and all(stem(word.casefold()) in lent and not is_empty(word.casefold()) for word in part.split())
        for part in listed[1:]
    )


def values_free(text: str) -> bool:
    """Whether a text holds no figure."""
    return not re.search(r"\d", text)


def _by_readers(text: str, truth: str, question: str | None, readers: Sequence[Reader]) -> bool:
    for read in readers:
        result = read(text, truth, question)
        if result is not None:
            return result
    return False


@lru_cache(maxsize=4096)
def _unwrapped(text: str) -> str:
    return unwrap(text)


def words(*tables: str) -> Reader:
    """The last reader of all: names and short texts, with the aliases of these tables."""

    def read(text: str, truth: str, question: str | None) -> bool | None:
        return names.same(text, truth, question, tables)

    return read
