"""Readers of chemistry: equations, formulas and names of substances, electron configurations."""

import re

from glm4v.rewards import chemical, compounds
from glm4v.rewards.names import echoes
from glm4v.rewards.statement import cores, hedge

_ORBITAL = re.compile(r"([1-7][spdf])\^?\{?\(?([0-9]{1,2}?)\)?\}?(?=\s*[1-7][spdf]|\s*$|\s+)")
_UP = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_CORES = {
    "He": "1s2",
    "Ne": "1s2 2s2 2p6",
    "Ar": "1s2 2s2 2p6 3s2 3p6",
    "Kr": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6",
    "Xe": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6 4d10 5s2 5p6",
    "Rn": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6 4d10 5s2 5p6 4f14 5d10 6s2 6p6",
}
_EQUATION_START = re.compile(r"^.*?(?:equation|方程式|reaction|反应)?[^:：]*?(?:\bis\b|[:：为])\s*|^.*?\bequation\s+")
_STATES = {
    "g": re.compile(r"\bgas(?:eous)?\b|vapou?r|steam|气"),
    "aq": re.compile(r"\bsolution\b|\baqueous\b|溶液"),
    "s": re.compile(r"\bsolid\b|crystal|\bice\b|固"),
    "l": re.compile(r"\bliquid\b|\bmolten\b|液[体态]"),
}
_DIATOMIC = ("H", "N", "O", "F", "Cl", "Br", "I")  # atoms of these are not the substance
_NAMING = re.compile(r"\bname\b|has the symbol|called|known as|formula|^which \w+ is\b|名|化学式", re.IGNORECASE)
_COMMON = re.compile(r"common name|trivial name|俗名|俗称", re.IGNORECASE)
_FORMULA_ASKED = re.compile(r"formula|化学式|分子式|结构简式|symbol|符号", re.IGNORECASE)
_NAME_ASKED = re.compile(
    r"\bname (?:of|the|this)|^name\b(?!.*formula)|systematic name|IUPAC name|what is .* called|名称|命名", re.IGNORECASE
)


def equations(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of chemical equations."""
    right = chemical.reactions(truth)
    if not right:
        return None
    if hedge(re.sub(r"[~|±]", "", text), truth) is not None and not chemical.reactions(text):
        return False
    for core in (text, _EQUATION_START.sub("", text, count=1), *cores(text, question)):
        given = chemical.reactions(core)
        if given:
            return chemical.same_reaction(given[0], right[0])
    return False


def configurations(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of electron configurations."""
    right = _configuration(truth)
    if right is None:
        return None
    if hedge(text, truth) is not None:
        return False
    return any(_configuration(core) == right for core in cores(text, question))


def _configuration(text: str) -> dict[str, int] | None:
    """Electrons by orbital, a noble gas core written out."""
    text = re.sub(r"\\mathrm|[{}$,]", " ", chemical_text(text))
    core = re.match(r"\s*\[(He|Ne|Ar|Kr|Xe|Rn)\]", text)
    if core:
        text = _CORES[core[1]] + " " + text[core.end() :]
    bare = re.sub(r"\s+", "", text)
    found = list(_ORBITAL.finditer(re.sub(r"\s+", " ", text)))
    if not found or "".join(re.sub(r"\s", "", match[0]) for match in found) != bare or len(found) < 2:
        return None
    orbitals = {match[1]: int(match[2]) for match in found}
    return orbitals if len(orbitals) == len(found) else None


def chemical_text(text: str) -> str:
    """Superscripts as digits, each number followed by a space."""
    text = re.sub(r"\^\s*\{?([0-9]+)\}?", r"\1 ", text)
    return re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: power[0].translate(_UP) + " ", text)


def substances(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of substances by formula or name: None where the truth is neither."""
    right = compounds.identities(truth)
    if not right:
        return compounds.same_systematic(truth, _candidates(text, truth, question))
    formulas = chemical.formulas(truth)
    if question and _FORMULA_ASKED.search(question) and formulas and not _NAME_ASKED.search(question):
        allowed: bool | None = True
    elif question and _NAME_ASKED.search(question) and not formulas:
        allowed = False
    else:
        allowed = None
    if (
        question
        and re.search(r"systematic|IUPAC", question)
        and re.search(r"\d-", truth)
        and not re.search(r"\d|^n-|[一-龥]", text)
    ):
        return False
    if question and re.search(r"structur|结构", question, re.IGNORECASE) and _is_molecular(text, truth):
        return False
    states = {formula.state for formula in formulas} - {""}
    if any(said.search(text) and states and state not in states for state, said in _STATES.items()):
        return False
    words_agree = None
    candidates = _candidates(text, truth, question)
    for core in candidates:
        both = re.fullmatch(r"(.+?)\s*\(([^()]+)\)", core)
        if both and compounds.identities(both[1]) & compounds.identities(both[2]) & right:
            return True
    for core in candidates:
        given = compounds.identities(core)
        if not given:
            continue
        if (
            question and _NAMING.search(question) and _given_back(core, truth, question)
        ):  # acetone, where its systematic name is asked for
            return False
        is_formula = bool(chemical.formulas(core))
        if (
            core in _DIATOMIC
            and core != truth
            and not re.search(r"element|symbol|atom|元素|符号", question or "", re.IGNORECASE)
        ):
            return False
        if allowed is not None and is_formula != allowed:
            words_agree = False if words_agree is None else words_agree
            continue
        return _agree(core, given, truth, right)
    return False if words_agree is False or formulas else None


def _given_back(text: str, truth: str, question: str) -> bool:
    """Whether an answer is the name of the question, or the systematic one, where the common one is asked for."""
    if _COMMON.search(question) and compounds.is_systematic(text) and not compounds.is_systematic(truth):
        return True
    stands = re.search(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])", question) is not None and text != truth
    return echoes(text, truth, question) or (stands and truth not in question)


def _is_molecular(text: str, truth: str) -> bool:
    """Whether an answer only counts the atoms, C2H6O, where the truth shows how they are joined."""
    symbols = [re.findall(r"[A-Z][a-z]?", chemical.normal(part)) for part in (text, truth)]
    return (
        bool(chemical.formulas(text))
        and len(set(symbols[0])) == len(symbols[0])
        and len(set(symbols[1])) < len(symbols[1])
    )


def _candidates(text: str, truth: str, question: str | None) -> list[str]:
    found = [text]
    if hedge(text, truth) is None:
        found += [core for core in cores(text, question) if core not in found]
        found += [
            re.sub(
                r"^(?:the|a|an)\s+|^(?:(?:an )?aqueous|gaseous|solid|liquid)\s+|"
                r"\s+(?:gas|metal|solution|acid gas|ions?|element)$|气体?$|溶液$",
                "",
                core,
            )
            for core in list(found)
        ]
    return found


def _agree(given: str, mine: frozenset[object], truth: str, theirs: frozenset[object]) -> bool:
    if not mine & theirs:
        return False
    states = [{formula.state for formula in chemical.formulas(text)} for text in (given, truth)]
    return not (states[0] - {""}) or states[0] <= states[1] or states[1] <= {""}
