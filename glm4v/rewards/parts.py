"""Answers in parts: numbered sub-answers, named values, lists and sequences; each part by the domain's own readers."""

import re
from collections.abc import Callable, Sequence

from glm4v.rewards.statement import cores, hedge, question_words, stem
from glm4v.rewards.text import fold

MAX_PARTS = 12
_CIRCLED = "①②③④⑤⑥⑦⑧⑨"
_MARKER = re.compile(
    r"[(\[]\s*([1-9]|[a-h]|i{1,3}|iv|v)\s*[)\]]|(?:^|(?<=[\s;,.:?!]))(?:([1-9]|[a-h])\s*[).:](?=\s|[^\d\s])"
    r"|([①-⑨])|[Pp]art\s+([1-9]|[a-h])\b:?|第([一二三四五六])[空问]:?)"
)
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5}
_SEQUENCE = re.compile(r"\s*(?:→|⟶|⇒|->|-->|=>|>|＞|\\rightarrow|\\to(?![a-z])|\\longrightarrow)\s*")
_CHAIN = re.compile(r"\s*([<>])\s*")
_SEPARATORS = re.compile(
    r"\s+\+\s+|\s*(?:[,;]\s*(?:and\b|then\b)?|\band\b|\bthen\b|&|和|与|及|以及|\n)\s*", re.IGNORECASE
)
ORDERED = re.compile(
    r"\border\b|sequence|chain|stages|steps|rank|from .+ to |first .+ then|respectively|process|phases|arrang"
    r"|electron config|shells|sort\b|电子排布|顺序|依次|排列|排序|食物链|过程|阶段|分别"
    r"|\w+est first|\beach\b|images? (?:1|a|one) and|and which|\bthen\b"
    r"|\bnovel\b|\bplay\b|\bfilm\b|\btitle\b|\bpoem\b",
    re.IGNORECASE,
)
_FALLING = re.compile(
    r"decreas|descend|(?:most|highest|strongest|largest|greatest|fastest|heaviest) (?:\w+ )?first|(?:larg|high"
    r"|great|bigg|strong|fast|long|heavi|old)est to|from .*high to low"
    r"|(?:大|高|强|快|长|重)到",
    re.IGNORECASE,
)
_RISING = re.compile(
    r"increas|ascend|(?:least|lowest|weakest|smallest|slowest|lightest) (?:\w+ )?first|(?:small|low|weak|slow"
    r"|short|light|young)est to|from .*low to high|(?:小|低|弱|慢|短|轻)到",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\s*([^:=;,\n]{1,40}?)\s*(?::|=|\bis\b|\bwas\b|为|是)\s*([^:=;\n]{1,60}?)\s*(?:$|[;\n]|,\s+(?=[^,]*?(?::"
    r"|=))|,(?=[^,\d]*?(?::|=))|\band\b(?=[^,]*?(?::|=)))"
)

Same = Callable[[str, str, str | None], bool]


Reader = Callable[[str, str, str | None], bool | None]


def numbered_reader(same: Same) -> Reader:
    """The reader of numbered sub-answers and named values, each compared with `same`; else None."""

    def read(text: str, truth: str, question: str | None) -> bool | None:
        right = numbered(truth)
        if right:
            return _same_numbered(text, right, question, same)
        named = _named(truth)
        return _same_named(text, named, question, same) if named and (_named_parts(text) or "=" not in truth) else None

    return read


def list_reader(same: Same) -> Reader:
    """The reader of lists, sequences and orders, each element compared with `same`; else None."""

    def read(text: str, truth: str, question: str | None) -> bool | None:
        chain = _chain(truth)
        return _same_chain(text, truth, chain, question, same) if chain else _same_list(text, truth, question, same)

    return read


def numbered(text: str) -> list[str]:
    """The parts behind (1), (2).. or 1. 2. or ① ②, in order and from the first on; [] where there are none."""
    found: list[tuple[int, int]] = []
    for match in _MARKER.finditer(text):
        mark = next(group for group in match.groups() if group)
        number = _ROMAN.get(mark) or ("零一二三四五六".find(mark) if mark in "一二三四五六" else 0)
        number = number or (int(mark) if mark.isdigit() and mark.isascii() else _CIRCLED.find(mark) + 1)
        number = number or ord(mark) - ord("a") + 1
        if number == len(found) + 1 and (found or match.start() == 0):
            found.append((match.start(), match.end()))
    if not 1 < len(found) <= MAX_PARTS:
        return []
    ends = [start for start, _ in found[1:]] + [len(text)]
    return [text[begin:end].strip(" ,;.\n") for (_, begin), end in zip(found, ends, strict=True)]


def _same_numbered(text: str, right: list[str], question: str | None, same: Same) -> bool:
    asked = _questions(question, len(right))
    text = re.sub(r"^(?:there (?:is|are)|i (?:see|count))\s+", "", text, flags=re.IGNORECASE)
    given = numbered(text)
    if not given:
        named = _named_parts(text)
        if named:
            order = _order_by_question([label for label, _ in named], asked)
            if order is None:
                return False
            given = [named[index][1] for index in order]
        else:
            given = _counted_parts(text, asked) or [
                part for part in re.split(r"\s*(?:;|\n)\s*|,\s+(?:and )?|\s+and\s+(?=\S+$)", text) if part
            ]
    return len(given) == len(right) and all(map(same, given, right, asked))


def _questions(question: str | None, count: int) -> Sequence[str | None]:
    asked = numbered(question or "")
    if len(asked) != count:  # words may stand before the first number
        at = _MARKER.search(question or "")
        asked = numbered((question or "")[at.start() :]) if at else []
    return asked if len(asked) == count else [question] * count


def _named_parts(text: str) -> list[tuple[str, str]]:
    """Pairs of "Brand A: 30, Brand B = 45" when they make up all of the text."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text) and len(found) < MAX_PARTS:
        match = _NAMED.match(text, position)
        if match is None or match.end() == position:
            return []
        found.append((match[1].strip(), match[2].strip(" ,")))
        position = match.end()
    return found if len(found) > 1 else []


def _named(truth: str) -> dict[str, str]:
    pairs = [pair for pair in _named_parts(truth) if re.search(r"[^\W\d_]", pair[0])]
    labels = [_label(label) for label, _ in pairs]
    return dict(zip(labels, (value for _, value in pairs), strict=True)) if len(set(labels)) == len(labels) else {}


def _label(label: str) -> str:
    return re.sub(r"^(?:the|and)\s+", "", fold(label).casefold().strip(" .*"))


def _same_named(text: str, right: dict[str, str], question: str | None, same: Same) -> bool | None:
    given = {_label(label): value for label, value in _named_parts(text)} or _labelled(text, right)
    if not given and "=" not in "".join(right):
        listed = [part for part in _SEPARATORS.split(text) if part]
        if not any(label in text.casefold() for label in right):
            return len(listed) == len(right) and all(
                same(mine, theirs, question) for mine, theirs in zip(listed, right.values(), strict=True)
            )
    return set(given) == set(right) and all(same(given[label], value, question) for label, value in right.items())


def _labelled(text: str, right: dict[str, str]) -> dict[str, str]:
    """Asia 60%, Africa has 18%: parts that begin with the labels of the truth; {} for anything else."""
    found = {}
    for part in _SEPARATORS.split(text.strip(" .")):
        label = next((label for label in sorted(right, key=len, reverse=True) if _label(part).startswith(label)), None)
        if label is None:
            return {}
        found[label] = re.sub(r"^\s*(?:has|is|was|had|with|at|:|=|为|是|占)\s*", "", _label(part)[len(label) :]).strip(
            " ()"
        )
    return found


def _order_by_question(labels: list[str], asked: Sequence[str | None]) -> list[int] | None:
    """Which label answers which part: as each part's question names it; in order where no question does."""
    if not all(asked) or len(labels) != len(asked) or len(set(asked)) == 1:
        return list(range(len(labels)))
    places = []
    for part in asked:
        found = [
            i
            for i, label in enumerate(labels)
            if re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", str(part).casefold())
        ]
        places.append(found)
    if all(len(found) == 1 for found in places):
        order = [found[0] for found in places]
        return order if len(set(order)) == len(order) else None
    return list(range(len(labels))) if not any(places) else None


def _counted_parts(text: str, asked: Sequence[str | None]) -> list[str]:
    """4 circles, 6 squares: each number beside a word of its own question."""
    parts = re.split(r"\s*(?:,|;|\band\b|\n)\s*", text)
    if len(parts) != len(asked) or not all(asked) or len(set(asked)) == 1:
        return []
    lent = [question_words(part or "") for part in asked]
    places = []
    for words in lent:
        others = frozenset().union(*(other for other in lent if other is not words))
        own = words - others
        found = [i for i, part in enumerate(parts) if any(stem(word.casefold()) in own for word in part.split())]
        places.append(found)
    order = [found[0] for found in places if len(found) == 1]
    if len(order) != len(parts) or len(set(order)) != len(order):
        return []
    return [parts[index].split()[0] for index in order]


def _chain(truth: str) -> list[str]:
    """Cu < Zn < Mg as [Cu, Zn, Mg], a descending one turned round; [] where there is none."""
    pieces = _CHAIN.split(truth)
    items, signs = pieces[0::2], set(pieces[1::2])
    if (
        len(items) < 3
        or len(signs) != 1
        or "-" in "".join(item[-1:] for item in items)
        or any(not item for item in items)
    ):
        return []
    return items if signs == {"<"} else items[::-1]


def _same_chain(text: str, truth: str, right: list[str], question: str | None, same: Same) -> bool:
    for core in cores(text, question):
        given = _chain(core)
        if not given:
            listed = [
                part for part in re.split(rf"{_SEPARATORS.pattern}|\s*(?:→|->)\s*", core, flags=re.IGNORECASE) if part
            ]
            if len(listed) != len(right):
                continue
            falling = _FALLING.search(question or "") or (not _RISING.search(question or "") and ">" in truth)
            given = listed[::-1] if falling else listed
        return len(given) == len(right) and all(
            same(mine, theirs, None) for mine, theirs in zip(given, right, strict=True)
        )
    return False


def _same_list(text: str, truth: str, question: str | None, same: Same) -> bool | None:
    right, ordered = elements(truth)
    if len(right) < 2:
        return None
    ordered = ordered or ORDERED.search(question or "") is not None
    if hedge(text, truth) is not None:
        return False
    text = re.sub(r"^first,?\s+(?=.*\bthen\b)", "", text, flags=re.IGNORECASE)
    for core in cores(text, question):
        given = numbered(core) or _only_values(core) or _ranked(core, question) or elements(core)[0]
        if len(given) != len(right):
            continue
        if ordered:
            return all(same(mine, theirs, question) for mine, theirs in zip(given, right, strict=True))
        remaining = list(given)
        for theirs in right:
            match = next((mine for mine in remaining if same(mine, theirs, question)), None)
            if match is None:
                return False
            remaining.remove(match)
        return True
    return None


def _ranked(text: str, question: str | None) -> list[str]:
    """Al < Mg < Na in the direction that the question asks for; figures with dots or dashes between them, 2-8-1."""
    chain = _chain(text)
    if chain and _FALLING.search(question or ""):
        return chain[::-1]
    if chain and _RISING.search(question or ""):
        return chain
    return re.findall(r"\d+", text) if re.fullmatch(r"\d{1,3}(?:([-. ])\d{1,3})(?:\1\d{1,3})+", text) else []


def _only_values(text: str) -> list[str]:
    """The values of "image 1: 2015, image 2: 2020", whose labels count up."""
    pairs = _named_parts(text)
    counting = all(re.search(rf"(?<!\d){number}(?!\d)", label) for number, (label, _) in enumerate(pairs, 1))
    return [value for _, value in pairs] if pairs and counting else []


def elements(text: str) -> tuple[list[str], bool]:
    """The elements of a list, and whether arrows between them bind their order."""
    text = re.sub(
        r"^\{(.*)\}$|^\(([^()]*,[^()]*)\)$|^\[([^\[\]]*,[^\[\]]*)\]$", lambda m: m[1] or m[2] or m[3], text.strip()
    )
    parts = [part for part in _SEQUENCE.split(text) if part]
    if len(parts) > 1:
        return parts[: MAX_PARTS + 1], True
    if re.search(r"\d,\d{3}(?!\d)", text):
        parts = re.split(r"\s*(?:;|,\s+(?:and\b)?|\band\b|和|与|\n)\s*", text)
    else:
        parts = _SEPARATORS.split(text)
    parts = [part.strip() for part in parts if part and part.strip()]
    return parts[: MAX_PARTS + 1], False
