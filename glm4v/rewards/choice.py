"""Multiple choice: one letter or several, alone or with the texts of their own options, or the texts alone."""

import re
from collections.abc import Mapping
from functools import lru_cache

from glm4v.rewards import chemical, compounds, formulas, mathematics, names, values
from glm4v.rewards.asked_form import given_back
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import fold, foreign_script, plain, unwrap
from glm4v.rewards.units import parse_unit
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 500
TABLES = ("words", "places", "substances", "things")
_MARK = r"(?:[(\[]\s*([A-Z①-⑩])\s*[)\]]|([A-Z])\s*[).:,]|([①-⑩]))"
_OPTION = re.compile(rf"(?:^|[\s:;,?.!]|(?<=[)\]\u4e00-\u9fff》]))\s*{_MARK}\s*")
_LOWER = re.compile(r"(?:^|[\s:;,?.!]|(?<=\)))\s*(?:\(([a-h])\)|([a-h])[).])\s*")
_NUMBERED = re.compile(r"(?:^|[\s:;,?.!]|(?<=\)))\s*(?:\(([1-9])\)|([1-9])[).])\s*(?=[^\d\s])")
_CIRCLED_OPTION = re.compile(r"([①-⑩])\s*")
_LETTERS = re.compile(r"[(\[]?([A-Z①-⑩])[)\]]?[.:)]?", re.IGNORECASE)
_SEVERAL = re.compile(r"\s*(?:[,;&+]|\band\b|和|与|及)\s*|\s+", re.IGNORECASE)
_REVERSED = re.compile(r"(.+?)\s*(?:[(\[]|,\s*(?:option|choice|answer)\s+\(?)([A-Z])[)\]]?")
_LED = re.compile(
    r"^(?:i (?:choose|pick|select|think)\s+|(?:the |my )?(?:correct |right |best |final )*(?:ans\.?|answers?"
    r"|options?|choices?|letters?)\s*(?:is|are|:)?\s*:?\s*"
    r"|(?:正确)?(?:答案|选项)?(?:是|为|:)|(?:本题|故|应|应该|所以|因此|我)*选(?:择|项)?:?|(?:正确)?答案:?|both\s+)+",
    re.IGNORECASE,
)
_WITH_TEXT = re.compile(
    r"[(\[]?([A-Z①-⑩])[)\]]?\s*[.:),-]?\s+(.+)|[(\[]?([A-Z①-⑩])[)\].:,]+\s*(.+)|([A-Z①-⑩])([\u4e00-\u9fff《].*)"
)
_TAIL = re.compile(
    r"\s*(?:(?:项|选项)?(?:是|都|均)?(?:正确|对)的?(?:答案|选项)?|项|选项"
    r"|(?:is|are) (?:the )?(?:correct|right|answer|correct answer)|是正确的|正确)$",
    re.IGNORECASE,
)


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 for the right letter or letters.

    Text beside or instead of a letter must be that option's, known from truth["options"] ({"A": "red", ...}) or from a
    question that lists them as `A. red B. blue`.
    """
    target = truth_text(truth)
    if re.fullmatch(r"\(?[1-9]\)?", target.strip()):
        return _by_number(prediction, target.strip(" ()"), question)
    right = _letters_of(target.upper())
    if foreign_script(prediction, target + (question or "")) is not None:
        return Verdict(0.0, f"{quote(prediction)} has letters of another script")
    listed = options(truth, question)
    right = (
        right if right and (not listed or right <= set(listed)) else letters(target, listed, question, target) or right
    )
    given = letters(prediction, listed, question, target)
    if given is None:
        return Verdict(0.0, f"{quote(prediction)} is not one choice")
    return Verdict(float(given == right), f"{''.join(sorted(given))} chosen, {target} is right")


def _by_number(prediction: str, target: str, question: str | None) -> Verdict:
    """Options that are numbered 1, 2, 3: as letters, so that all that holds for letters holds for them."""
    text = fold(question or "")[:4000]
    found = _sequence(_NUMBERED, text, "1")
    listed = (
        {chr(64 + int(number)): option for number, option in _between(text, found).items()} if len(found) > 1 else {}
    )
    said = re.sub(r"(?<![\w.])\(?([1-9])\)?(?![\w])", lambda number: chr(64 + int(number[1])), unwrap(prediction))
    given = letters(said, listed, None, target)
    return Verdict(float(given == {chr(64 + int(target))}), f"{quote(prediction)} chosen, {target} is right")


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of choices in other domains: None where the question lists none, or the truth is no letter of them."""
    listed = options(truth, question)
    right = _letters_of(truth) or frozenset(_lettered(truth, listed, None))
    if not right or len(listed) < 2 or not right <= set(listed):
        return None
    return letters(text, listed, question, truth) == right


def _letters_of(text: str) -> frozenset[str]:
    bare = re.sub(r"[\s,;()\[\].、和]|and", "", text)
    return frozenset(bare) if re.fullmatch(r"[A-Z]+|[①-⑩]+", bare) else frozenset()


def letters(prediction: str, listed: dict[str, str], question: str | None, truth: str) -> frozenset[str] | None:
    """The letters that an answer chooses, by letter or by text; None when it is not one choice."""
    if len(prediction) > MAX_CHARACTERS:
        return None
    filled = _filled_in(prediction, listed, question or "")
    if filled:
        return frozenset((filled,))
    first = _OPTION.search(fold(question or ""))
    question = fold(question or "")[: first.start()] if first else None
    text = re.sub(r"^both\s+", "", _TAIL.sub("", unwrap(prediction)), flags=re.IGNORECASE)
    text = re.sub(r"^[{\[]([^{}\[\]]+)[}\]]$", r"\1", text)
    text = re.sub(r"^\(?([a-h])\)\s*(?=\S)", lambda mark: f"({mark[1].upper()}) " if listed else mark[0], text)
    text = re.sub(
        r"^(?:图|(?:picture|image|figure|diagram|photo|graph|statements?|options?)\s+)(?=[A-H](?![a-z]))",
        "",
        text,
        flags=re.IGNORECASE,
    )
    if "①" in listed:
        text = re.sub(r"\(?([1-9])\)?", lambda digit: chr(0x245F + int(digit[1])), text)
    if hedge(text, " ".join([*listed.values(), truth])) is not None:
        return None
    if re.match(r"[(\[]?[A-Z①-⑩][)\].:]+\s*\S", text) and not _only_letters(text, listed):
        return _letter_and_text(text, listed, question)
    if _mentions_another(text, listed):
        return None
    stated = cores(text, question)
    for core in dict.fromkeys((text, *(_LED.sub("", part) for part in (text, *stated)), *stated)):
        core = core.strip(" .")
        found = (
            _only_letters(core, listed) or _by_text(core, listed, question) or _letter_and_text(core, listed, question)
        )
        if found:
            return found
    return None


def _filled_in(text: str, listed: dict[str, str], question: str) -> str:
    """The letter of the option with which a sentence of the question is given back, its blank filled in; else ""."""
    blank = re.search(r"([^.?!:：。\n'\"]*)_{2,}([^.?!。\n'\"]*)", question)
    if blank is None:
        return ""
    said = plain(text)
    return next((letter for letter, option in listed.items() if said == plain(f"{blank[1]}{option}{blank[2]}")), "")


def _mentions_another(text: str, listed: dict[str, str]) -> bool:
    """Whether an answer with a letter at its end speaks of other options only."""
    letter = re.search(r"(?<![A-Za-z])[(\[]?([A-Z])[)\]]?\.?$", text)
    if letter is None or letter[1] not in listed or len(text) < 8:
        return False
    said = [
        key
        for key, option in listed.items()
        if len(option) > 3 and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.I)
    ]
    return bool(said) and letter[1] not in said


def _only_letters(text: str, listed: dict[str, str]) -> frozenset[str] | None:
    """B, (B), B and D, BCD."""
    text = text.removesuffix("!")
    text = re.sub(r"[()\[\]\s]", "", text) if re.fullmatch(r"(?:[(\[][A-Z][)\]]\s*){2,8}", text) else text
    run = re.fullmatch(r"[A-Z]{1,10}|[①-⑩]{1,10}", text)
    parts = list(text) if run else [part for part in _SEVERAL.split(text) if part]
    if not 0 < len(parts) <= 10:
        return None
    found = [_LETTERS.fullmatch(part) for part in parts]
    if any(match is None for match in found):
        return None
    if len(parts) > 1 and any(match and match[1].islower() for match in found):
        return None
    chosen = [match[1].upper() for match in found if match]
    if listed and not set(chosen) <= set(listed):
        return None
    if len(set(chosen)) != len(chosen):
        return None
    return frozenset(chosen)


def _by_text(text: str, listed: dict[str, str], question: str | None) -> frozenset[str] | None:
    """The options whose texts the answer gives, one or several."""
    exact = [letter for letter, option in listed.items() if plain(option) == plain(text)]
    if len(exact) == 1:
        return frozenset(exact)
    alike = [letter for letter, option in listed.items() if _same_text(text, option, question)]
    if len(alike) == 1:
        return frozenset(alike)
    parts = [part.strip() for part in re.split(r"\s*(?:[,;]|\band\b|和|与)\s*", text) if part.strip()]
    if len(parts) < 2 or alike:
        return None
    chosen = []
    for part in parts:
        found = [letter for letter, option in listed.items() if _same_text(part, option, question)]
        if len(found) != 1:
            return None
        chosen += found
    return frozenset(chosen)


def _letter_and_text(text: str, listed: dict[str, str], question: str | None) -> frozenset[str] | None:
    """(A) Mercury, A: Mercury, A Mercury, Mercury (A), or several; each text must be that of its letter."""
    single = _lettered(text, listed, question)
    if single:
        return frozenset((single,))
    parts = [part for part in re.split(r"\s*(?:[,;]\s*(?:and\s+)?|\band\b|和)\s*(?=[(\[]?[A-Z][)\].:])", text) if part]
    letters = [_lettered(part, listed, question) for part in parts]
    return frozenset(letters) if len(parts) > 1 and all(letters) and len(set(letters)) == len(letters) else None


def _lettered(text: str, listed: dict[str, str], question: str | None) -> str:
    """The letter of one option that stands with its text; "" where it does not."""
    match = _WITH_TEXT.fullmatch(text)
    if match:
        letter, rest = match[1] or match[3] or match[5], match[2] or match[4] or match[6]
    else:
        reverse = _REVERSED.fullmatch(text)
        if reverse is None:
            return ""
        rest, letter = reverse.groups()
    rest = rest[1:-1] if re.fullmatch(r"\([^()]*\)", rest) else rest
    return letter if letter in listed and _by_text(rest, listed, question) == {letter} else ""


@lru_cache(maxsize=4096)
def _same_text(text: str, option: str, question: str | None) -> bool:
    if plain(text) == plain(option):
        return True
    right = values.truth_of(option)
    if right is not None:
        given = values.given_by(text, option, None, right)
        return given is not None and given.unit == right.unit and given.value == right.value
    unit = parse_unit(option)
    if unit is not None and len(option) > 1:
        return parse_unit(text) == unit
    if re.search(r"[0-9+*/^=]", option):
        right_shape, shape = mathematics.read(option), mathematics.read(text)
        if right_shape is not None:
            same = shape is not None and formulas.same(shape, right_shape, None, option)
            return same and not given_back(text, option, question)
    chemistry = chemical.formulas(option) or chemical.formulas(text)
    if chemistry and compounds.identities(text) & compounds.identities(option):
        return True
    return names.same(text, option, question, TABLES)


def options(truth: Truth, question: str | None) -> dict[str, str]:
    """The texts of the options by their letters."""
    if isinstance(truth, Mapping) and "options" in truth:
        return {str(letter).upper(): str(text) for letter, text in truth["options"].items()}
    return _options_in(question or "")


@lru_cache(maxsize=512)
def _options_in(question: str) -> dict[str, str]:
    text = fold(question)[:4000]
    circled = list(_CIRCLED_OPTION.finditer(text))
    if len(circled) > 1 and circled[0][1] == "①":
        return _between(text, [(match[1], match.start(), match.end()) for match in circled])
    for pattern, first in ((_OPTION, "A"), (_LOWER, "a")):
        found = _sequence(pattern, text, first)
        if len(found) > 1:
            return {letter.upper(): option for letter, option in _between(text, found).items()}
    return {}


def _sequence(pattern: re.Pattern[str], text: str, first: str) -> list[tuple[str, int, int]]:
    """Marks that count up from the first one, with where they begin and end."""
    found: list[tuple[str, int, int]] = []
    for match in pattern.finditer(text):
        if (match[1] or match[2]) == chr(ord(first) + len(found)):
            found.append((match[1] or match[2], match.start(), match.end()))
    return found


def _between(text: str, found: list[tuple[str, int, int]]) -> dict[str, str]:
    ends = [start for _, start, _ in found[1:]] + [len(text)]
    text = re.sub(
        r"\s*[(（][^()（）]*(?:answer|apply|select|choose|correct|多选|单选)[^()（）]*[)）]\s*$",
        "",
        text,
        flags=re.IGNORECASE,
    )
    ends[-1] = len(text)
    return {letter: text[begin:end].strip(" ,;.") for (letter, _, begin), end in zip(found, ends, strict=True)}
