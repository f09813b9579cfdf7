"""Names and short texts: equal up to case, accents, articles, endings, the question's own words, and known aliases.

Aliases stand in data/*.txt, one thing a line. An answer is turned into keys, and must have those of the truth, in its
order, and none besides. Chinese answers are compared as text: what stands around the truth must be harmless.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from glm4v.rewards import han, numerals, ranks
from glm4v.rewards.assertion import opposed
from glm4v.rewards.statement import cores, hedge, is_empty, question_words, stem
from glm4v.rewards.tables import rows
from glm4v.rewards.text import fold, unaccented, words

MAX_PHRASE = 7  # words of an alias
_TOKEN = re.compile(
    r"\d+(?:st|nd|rd|th|[a-z])\b|#?\d+(?:[.,:]\d+)*%?|(?<!\w)-\d+(?:[.,]\d+)*%?|[^\W\d_]+(?:'[^\W\d_]+)*\d*|\+|\d+[^\W_]+"
)
_DIRECTIONS = ["left", "right", "front", "back", "up", "down", "forward", "backward", "above", "below", "top", "bottom"]
_NUMBERED = re.compile(r"(?:#|№|\b(?:no|nr|num|number)\.?)\s*(?=\d)", re.IGNORECASE)
_INITIALISM = re.compile(r"\b(?:[^\W\d_]\.){2,}")
_GENERIC_NAMES = "river mountain mount mt lake sea ocean canal city island islands desert republic kingdom state states"
_GENERIC = frozenset(_GENERIC_NAMES.split())
_ROADS = {"St": "Street", "Ave": "Avenue", "Rd": "Road", "Blvd": "Boulevard", "Dr": "Drive"}
_COLORS = "red|orange|yellow|green|blue|purple|violet|pink|brown|black|gr[ae]y"
_SHADE = re.compile(rf"\b(?:light|dark|pale|deep|bright)[- ](?:{_COLORS})\b", re.IGNORECASE)
_SHADES = {"pale": "light", "deep": "dark"}
_FORM_ASKED = re.compile(
    r"\b(?:plural|singular|past (?:tense|participle)|participle|comparative|superlative) (?:form )?of\b|\bspell",
    re.IGNORECASE,
)
_SAME_PLACE = (("in", "inside|within"), ("by", "beside|next to|near"))
_PAIR = re.compile(
    r"(?:(?:the|an?) )?([^\W\d_-]+) (?:and|&) (?:(?:the|an?) )?([^\W\d_-]+)"
    r"|(?:the|an?) [\w -]{2,24} (?:and|&) (?:the|an?) [\w -]{2,24}",
    re.IGNORECASE,
)
_LIST = re.compile(r"\s*(?:,\s*(?:and\s+)?|/|\band\b|&|\+)\s*")
_RANGE = re.compile(r"\d\s*[-–—~]\s*\d")
_CODE = ("()", "{", "<", "[", "\\", "_", "@", "&#", ";--")  # program text and markup are no names
_MATHEMATICAL = ("≠", "¬", "√", "≥", "≤", ">", "^", "1/")
_DOWN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SPELLINGS = {other: row[0] for row in rows("spellings.txt", "|") for other in row[1:]}
_TITLES = frozenset(stem(word) for row in rows("titles.txt", " ") for word in row)
_PEOPLE = re.compile(
    r"\bwho(?:se|m)?\b|author|writer|poet|novelist|painter|composer|artist|sculptor|scientist|physicist"
    r"|chemist|philosopher"
    r"|president|leader|emperor|king|queen|explorer|inventor|architect|director|mathematician|person|actor|singer|谁",
    re.IGNORECASE,
)

_APPOSITION = re.compile(r",\s+(?:the|an?|who|which|whose)\s[^,]*$")
_DRAWN = frozenset(
    stem(word)
    for word in [
        "bar",
        "bars",
        "line",
        "lines",
        "slice",
        "curve",
        "column",
        "segment",
        "sector",
        "wedge",
        "dot",
        "series",
    ]
)
_LETTERED = ("living", "words")  # tables in which a single letter names a thing: T, N

Key = tuple[str, ...]


_FORMULA = re.compile(r"(?<![\w.])(?:[A-Z][a-z]?\d{0,2}|\([A-Z][A-Za-z0-9]*\)\d?){1,12}(?![\w])")


def _spelled(word: str) -> str:
    """A formula that the tables know, CO2, in letters that keep its case; any other word as it is."""
    if word not in _known_formulas():
        return word
    return "formula" + "".join(
        chr(97 + int(mark)) if mark.isdigit() else f"z{mark}" if mark.isupper() else mark
        for mark in word
        if mark.isalnum()
    )


@cache
def _known_formulas() -> frozenset[str]:
    """Names in the tables that are chemical formulas with a number: H2O, CO2."""
    listed = (name for table in ("substances", "living") for row in rows(f"{table}.txt", "|") for name in row)
    return frozenset(name for name in listed if re.search(r"\d", name) and _FORMULA.fullmatch(name))


class Aliases(NamedTuple):
    """Phrases, as tuples of keys, to the numbers of the things they name; the forms of each thing."""

    phrases: dict[Key, tuple[int, ...]]
    chinese: dict[str, tuple[int, ...]]
    forms: list[list[str]]


@cache
def aliases(tables: tuple[str, ...]) -> Aliases:
    """The named tables of data/ as one."""
    phrases: dict[Key, tuple[int, ...]] = {}
    chinese: dict[str, tuple[int, ...]] = {}
    forms: list[list[str]] = []
    for table in tables:
        for row in rows(f"{table}.txt", "|"):
            names = [name for name in row if name]
            forms.append(names)
            for name in names:
                number = len(forms) - 1
                if han.HAN.search(name):
                    chinese[name] = (*chinese.get(name, ()), number)
                elif len(name) < 2 or not all(is_empty(word) for word in _words(name)):
                    phrases[_words(name)] = (*phrases.get(_words(name), ()), number)
    return Aliases(phrases, chinese, forms)


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    """Tokens in one spelling: accents, case, endings and initialisms made alike; numbers in figures, ordinals as #n."""
    text = _NUMBERED.sub("number ", fold(text))
    text = re.sub(r"(?<=\w )(St|Ave|Rd|Blvd|Dr)\.?$", lambda road: _ROADS[road[1]], text)
    text = _INITIALISM.sub(lambda letters: letters[0].replace(".", ""), text)
    text = re.sub(r"\bhttps?://", "", text)
    text = re.sub(
        rf"\b(pale|deep)(?=[- ](?:{_COLORS})\b)", lambda shade: _SHADES[shade[0].casefold()], text, flags=re.I
    )
    text = re.sub(
        r"\b((?:north|south)?(?:east|west|north|south))(?:wards?|ern)\b",
        r"\1",
        text.translate(_DOWN),
        flags=re.IGNORECASE,
    )
    text = re.sub(r"(?<=[\w,] )A\b|\bA\b(?! [a-z])|\bA(?= (?:and|or|to|&) )", "lettera", text)  # a label, no article
    if len(text) < 400:
        text = _FORMULA.sub(lambda name: _spelled(name[0]), text)
    text = unaccented(text).casefold().replace("'s ", " ").replace("’", "'")
    found = _TOKEN.findall(text)
    result: list[str] = []
    position = 0
    while position < len(found):
        for length in range(min(5, len(found) - position), 0, -1):
            value = numerals.number_word(" ".join(found[position : position + length]))
            if value is not None:
                result.append(str(value))
                position += length
                break
        else:
            result.append(_token(found[position], position > 0))
            position += 1
    return tuple(result)


def _token(word: str, later: bool) -> str:
    word = _SPELLINGS.get(word, word)
    ordinal = numerals.ordinal(word)
    if ordinal is not None:
        return f"#{ordinal}"
    if word[0].isdigit():
        return word.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", word) else word
    if later and re.fullmatch(r"[ivx]+", word):
        value = numerals.roman(word.upper())
        if value is not None:
            return str(value)
    word = re.sub(r"(?<=[a-z]{4})is(?=(?:e|es|ed|er|ing|ation)$)", "iz", word)  # vaporise, vaporize
    return _SPELLINGS.get(stem(word), stem(word))


def keys(text: str, tables: tuple[str, ...], sense: int | None = None) -> list[str]:
    """Words, with the longest known phrases replaced by the number of their thing: `sense` where they name that too."""
    found, table = _words(text), aliases(tables).phrases
    result, position = [], 0
    while position < len(found):
        for length in range(min(MAX_PHRASE, len(found) - position), 0, -1):
            numbers = table.get(found[position : position + length])
            letter = length == 1 and len(found[position]) == 1 and found[position].isascii()
            if numbers is not None and not (letter and tables[0] not in _LETTERED):
                result.append(f"@{sense if sense in numbers else numbers[0]}")
                position += length
                break
        else:
            result.append(found[position])
            position += 1
    return result


def same(text: str, truth: str, question: str | None, tables: tuple[str, ...]) -> bool:
    """Whether an answer names the truth and nothing else."""
    if (
        any(mark in text and mark not in truth for mark in (*_CODE, *_MATHEMATICAL))
        or re.match(r"-\w", text)
        or (_RANGE.search(text) and not _RANGE.search(truth))
    ):
        return False
    if question and (_names_both(text, truth, question) or (opposed(text, question) and not opposed(truth, question))):
        return False
    if _SHADE.search(text) and not _SHADE.search(truth):
        return False
    if question and (echoes(text, truth, question) or not _has_asked_form(text, truth, question)):
        return False
    rank = ranks.han(text) if ranks.asked(question) else None
    if rank is not None:
        return [key.removeprefix("#") for key in _needed(list(_words(truth)), _lent_keys(question or "", tables))] == [
            rank
        ]
    if han.HAN.search(text):
        return han.same(text, other_names(truth, tables), question)
    forms = [truth] if not han.HAN.search(truth) else other_names(truth, tables)
    forms = [form for form in forms if not han.HAN.search(form)]
    text = re.sub(r"^an? pair of ", "", text, flags=re.IGNORECASE)
    for place, others in _SAME_PLACE:
        if re.match(rf"{place}\b", truth):
            text = re.sub(rf"\b(?:{others})\b", place, text)
    text, truth = (re.sub(r"\b(the [\w-]+) ones?\b", r"\1", _NUMBERED.sub("number ", part)) for part in (text, truth))
    if hedge(text, " ".join(other_names(truth, tables)), question) is not None:
        return False
    if ranks.of_another(_words(text), _words(truth)) or ranks.elsewhere(text, truth):
        return False
    if ranks.asked(question) and (ranks.is_count(_words(text)) or ranks.of_other_kind(text, question)):
        return False
    return any(_same_latin(text, form, question, tables) for form in forms)


def _names_both(text: str, truth: str, question: str) -> bool:
    """Whether an answer has both of what the question offers, on or off, and the truth has one."""
    offered = re.findall(r"([\w'-]+),? or (?:the |an? )?([\w'-]+)", question[:1000].casefold())
    said, right = (set(words(part)) for part in (text, truth))
    return any(said >= {*pair} and len(right & {*pair}) == 1 for pair in offered) and not said & {"than", "because"}


def echoes(text: str, truth: str, question: str) -> bool:
    """Whether an answer only repeats words of the question that are not the truth's: GDP, where it asks what "
    "GDP means."""
    said, right, asked = (f" {' '.join(map(stem, words(part)))} " for part in (text, truth, question[:1000]))
    return len(said) > 4 and said in asked and said not in right and right not in asked


def _has_asked_form(text: str, truth: str, question: str) -> bool:
    """Whether an answer ends in the very word, where a question asks for a plural, a tense or a spelling."""
    if not _FORM_ASKED.search(question) or not truth.isascii():
        return True
    said = words(text)
    return bool(said) and said[-len(words(truth)) :] == words(truth)


def _same_latin(text: str, truth: str, question: str | None, tables: tuple[str, ...]) -> bool:
    found = cores(text, question)
    if not _LIST.search(truth) and any(_is_list(core.strip(" ."), tables) or _is_pair(core) for core in found):
        return False
    found += [_APPOSITION.sub("", core) for core in found if _APPOSITION.search(core)]
    if " than " in text and " than " not in truth:
        found = []  # what stands behind "than" is not said to be the answer
        compared = (
            re.fullmatch(r"(.+?) (?:is|are|was|were|looks) (?:\w+er|more \w+|less \w+|\w+) than .+", text),
            re.fullmatch(r"(.+) than .+", text),
        )
        found += [match[1] for match in compared if match]
    things = _things(truth, tables)
    for sense in things or (None,):
        if _same_keys(found, truth, question, tables, sense):
            return True
    # word by word; but west is another thing than northwest, whatever the question says
    others = [
        core for core in found if not things or not _things(core, tables) or set(_things(core, tables)) & set(things)
    ]
    if _same_keys(others, truth, question, (), None):
        return True
    if not _PEOPLE.search(question or "") or truth.split()[-1][:1].islower():  # the old man is no name
        return False
    turned = re.fullmatch(r"([^\W\d_][\w'-]+), ([^,]{1,40})", text)  # Shakespeare, William
    found += [f"{turned[2]} {turned[1]}"] if turned else []
    found += [re.sub(r"\s+in (?:the year )?\d{3,4}$", "", core) for core in found if re.search(r"\s\d{3,4}$", core)]
    return any(_same_person(_name(core), _name(truth)) for core in found)


def _is_pair(text: str) -> bool:
    """Whether a text names two things, one of which may be a word of the question: red and blue, a cane and a hat."""
    pair = _PAIR.fullmatch(text.strip(" ."))
    return pair is not None and not any(word and is_empty(word.casefold()) for word in pair.groups())


def _is_list(text: str, tables: tuple[str, ...]) -> bool:
    """Whether a text lists things of the tables: red, blue."""
    parts = _LIST.split(text)
    return len(parts) > 1 and not _things(text, tables) and all(part and _things(part, tables) for part in parts)


def _same_keys(found: list[str], truth: str, question: str | None, tables: tuple[str, ...], sense: int | None) -> bool:
    """Whether one of the statements has the keys of the truth, in its order and none besides."""
    lent = _lent_keys(question or "", tables)
    done = (
        frozenset(map(stem, re.findall(r"\b\w{3,}ing\b", truth.casefold()))) - lent
    )  # reading a book, not writing one
    right = keys(truth, tables, sense)
    if all(_lent(key, lent) for key in _without_figures(right, lent)):  # the person in image 2
        lent = frozenset(key for key in lent if " " not in key)
    wanted = _needed(_without_figures(right, lent), lent, done)
    if not wanted:
        return False
    protected = frozenset(wanted)
    ranked = ranks.asked(question)
    drawn = frozenset() if protected & _DRAWN or ranked else _DRAWN
    if truth.istitle() and " " in truth:  # Main Street is no Main Road
        lent = frozenset(key for key in lent if not key.startswith("@"))
    if ranked:  # floor 3 is the third floor
        wanted = [key.removeprefix("#") for key in wanted]
    for core in found:
        said = _without_figures(keys(core, tables, sense), lent)
        if ranked:
            said = [key.removeprefix("#") for key in said]
        given = [key for key in said if key in protected or not (_lent(key, lent) or key in drawn)]
        counted = given[:1] == ["1"] and "1" not in wanted and wanted[0][0] != "#"
        if counted and not "".join(given[1:2]).isdigit():  # one dog
            given = given[1:]
        free = _directions(tables) >= set(wanted) and not re.search(r"\bfrom\b.*\bto\b", truth)
        if given == wanted or (free and sorted(given) == sorted(wanted)):
            return True
    return False


def _without_figures(said: list[str], lent: frozenset[str]) -> list[str]:
    """The keys without the figures that stand where the question has them: image 1 and 2, but not two ladders."""
    return [key for before, key in _led(said) if f"{before} {key}" not in lent]


def _led(said: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each key behind the last word before it that is no figure."""
    before = ""
    for key in said:
        yield before, key
        before = before if key[0].isdigit() or key == "and" else key


def _things(text: str, tables: tuple[str, ...]) -> tuple[int, ...]:
    """The things of the tables that all of a text may name."""
    table = aliases(tables).phrases
    bare = tuple(key for key in _words(text) if not is_empty(key))
    letter = len(bare) == 1 and len(bare[0]) == 1 and tables[0] not in _LETTERED
    return () if letter else table.get(_words(text)) or table.get(bare, ())


def _name(text: str) -> list[str]:
    """The words of a person's name, initials apart, without titles, trades, nations, and "of France"."""
    text = re.sub(r"(?<=\b[A-Z])\.(?=[A-Z])", ". ", text)
    text = re.sub(r"\bof [A-Z]\w+$", "", text)
    found = [word.removeprefix("#").replace("lettera", "a") for word in _words(text)]
    return [word for word in found if word not in _TITLES and not (is_empty(word) and len(word) > 1)]


def _needed(right: list[str], lent: frozenset[str], done: frozenset[str] = frozenset()) -> list[str]:
    """The keys of a truth that an answer must have: those that the question does not say already."""
    wanted = [key for key in right if not _lent(key, lent) or key in done]
    if wanted and not all(key in _GENERIC for key in wanted):
        return wanted
    full = [key for key in right if not is_empty(key)]
    return full or right


def _lent(key: str, lent: frozenset[str]) -> bool:
    return key not in ("right", "one") and (is_empty(key) or key in lent)


@lru_cache(maxsize=512)
def _lent_keys(question: str, tables: tuple[str, ...]) -> frozenset[str]:
    """The keys of the words that the question lends, and of the things that it names but does not offer."""
    lent = frozenset(word for word in question_words(question) if not word.isdigit())
    table = aliases(tables).phrases
    found = _words(question[:1000])
    offered = {number for word in found if stem(word) not in lent for number in table.get((word,), ())}
    things = {number for word in found if stem(word) in lent for number in table.get((word,), ())} - offered
    phrases = {key for key in keys(question[:1000], tables) if key.startswith("@")} - {
        f"@{number}" for number in offered
    }
    figures = {
        f"{before} {word}"
        for last, word in _led(found)
        for before in (last, "image", "pictur", "photo")
        if word[0].isdigit()
    }
    return lent | figures | {f"@{number}" for number in things} | phrases


@cache
def _directions(tables: tuple[str, ...]) -> frozenset[str]:
    """The keys of words that name a direction together in any order: forward and to the right."""
    return frozenset(key for word in _DIRECTIONS for key in keys(word, tables))


def _same_person(given: list[str], right: list[str]) -> bool:
    """A surname for the full name, and initials for given names."""
    if not given or not right or len(given) > 6 or given[-1] != right[-1]:
        return False
    first, others = given[:-1], right[:-1]
    if not first:
        return len(right) <= 4 and not right[-1].isdigit()
    if not others:
        return len(first) <= 2 and (right[-1],) not in aliases(("culture",)).phrases
    if first == others[-len(first) :]:  # García Márquez, van Gogh
        return True
    if others == first[: len(others)] and len(first[0]) > 1:  # a middle name more
        return len(first) - len(others) == 1
    remaining = iter(others)
    matched = all(any(_same_given(name, key) for name in remaining) for key in first)
    return matched and (len(first) == len(others) or len(first[0]) > 1)


def _same_given(name: str, key: str) -> bool:
    return name == key or (1 in (len(key), len(name)) and name[0] == key[0])


def other_names(name: str, tables: tuple[str, ...]) -> list[str]:
    """All names of the things that `name` may name, itself first."""
    table = aliases(tables)
    if not han.HAN.search(name):
        numbers = _things(name, tables)
    else:
        bare = (name.removesuffix(tail) for tail in ("", *han.TAILS))
        numbers = next((table.chinese[part] for part in bare if part in table.chinese), ())
    return [name, *(form for number in numbers for form in table.forms[number])]


def place_size(text: str) -> int:
    """0 for what is no place in data/places.txt, 1 for a city or landmark, 2 for a country, 3 for a continent."""
    bare = re.sub(r"^(?:the|in)\s+", "", text.strip(" ."))
    table = aliases(("places",))
    numbers = table.chinese.get(bare) if han.HAN.search(bare) else table.phrases.get(_words(bare))
    if not numbers:
        return 0
    continent = _line("Asia") <= numbers[0] <= _line("Antarctica")
    return 2 if numbers[0] < _line("Kabul") else 3 if continent else 1


@cache
def _line(name: str) -> int:
    return [row[0] for row in rows("places.txt", "|")].index(name)
