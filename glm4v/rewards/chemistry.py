"""Chemistry: formulas, equations and names of substances; measured values; orders; words."""

import re

from glm4v.rewards import chemical, choice, compounds, formulas, open_answer, places, substances, values
from glm4v.rewards.numerals import chinese, number_word
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge, question_words, trim
from glm4v.rewards.yes_no import read as polarity

_DOWN = str.maketrans("₀₁₂₃₄₅₆₇₈₉ₙ₊₋", "0123456789n+-")
_UP = str.maketrans("²³", "23")
_CHARGE = re.compile(
    r"(?<![A-Za-z0-9.}^{])(?:([+-]?)(\d)(?![\d.]*\d|[+-])|(\d)([+-])|([+-]?)(VIII|VII|VI|IV|V|III|II|I))e?(?![A-Za-z0-9%])"
)
_ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]


def _hybrids(text: str, truth: str, question: str | None) -> bool | None:
    """Hybrid orbitals: sp³, sp^3, sp3."""
    if not re.fullmatch(r"sp\^?\{?[23³²]?\}?(?:d[²2]?)?", truth.strip()):
        return None
    right, *given = (
        re.sub(r"[\^{}\s$]|[- ]?hybridi[sz](?:ed|ation)", "", part).translate(_UP)
        for part in (truth, *cores(text, question))
    )
    return hedge(text, truth) is None and right in given


def _concentrations(text: str, truth: str, question: str | None) -> bool | None:
    """Laws in concentrations, K = [NH3]^2/([N2][H2]^3), each concentration taken as a letter."""
    letters: dict[str, str] = {}
    right = _lettered(truth, letters)
    if not letters or not re.search(r"[=/]|\][\^\d{}\s]*\[|[a-z]\s*\[", truth):  # [Cu(NH3)4]2+ is an ion
        return None
    if hedge(text, truth) is not None:
        return False
    given = _lettered(text, letters)
    sides = [part.rpartition("=")[2].strip() for part in (given, right)]
    return formulas.read(sides[0], sides[1], None) is True


def _lettered(text: str, letters: dict[str, str]) -> str:
    def letter(species: re.Match[str]) -> str:
        return f"({letters.setdefault(chemical.normal(species[1]), chr(ord('p') + min(len(letters), 9)))})"

    return re.sub(r"\[([A-Z][^\[\]]{0,20}?)\]", letter, text)


def _general(text: str, truth: str, question: str | None) -> bool | None:
    """General formulas: CnH2n+2, C_nH_{2n+2}."""
    bare = [
        re.sub(r"[\s_^{}$\\]|mathrm|\(n\D.*", "", part.translate(_DOWN)) for part in (text.rpartition(":")[2], truth)
    ]
    return bare[0] == bare[1] if re.fullmatch(r"C\d*nH\d*n.*", bare[1]) else None


def _of_substance(text: str, truth: str, question: str | None) -> bool | None:
    """Amounts of a substance that the question names: 1 mol O2, where it asks for oxygen."""
    amount = re.fullmatch(r"(.*\d.*?)\s+(?:of )?([A-Z]\S*)", text)
    if amount is None or not question or not chemical.formulas(amount[2]) or values.parse_unit(amount[2]):
        return None
    named = compounds.identities(amount[2])
    wanted = re.search(r"\b(?:how many|how much|what)\b.*? of (\w+)", question, re.IGNORECASE)
    if wanted and compounds.identities(wanted[1]) and not compounds.identities(wanted[1]) & named:
        return False
    asked = any(compounds.identities(word.strip("?,.:;()")) & named for word in question.split()[:60])
    return _values(amount[1], truth, question) if asked else None


def _oxidation(text: str, truth: str, question: str | None) -> bool | None:
    """Oxidation states: +6, VI, +6价, 6+."""
    right = _charges(truth)
    if len(right) != 1 or not re.search(
        r"oxidation|valence(?! electron)|\bcharge|化合价|氧化数|氧化态|电荷", question or "", re.IGNORECASE
    ):
        return None
    return hedge(text, truth) is None and _charges(text, question or "") == right


def _charges(text: str, question: str | None = None) -> list[int]:
    """The charges or oxidation numbers in a text: +6, VI, 6+, 6, plus six, 正六价; and little else, with a question."""
    text = re.sub(r"\b(?:plus|positive)\s+|正(?=[一二三四五六七八])", "+", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:minus|negative)\s+|负(?=[一二三四五六七八])|−|–", "-", text, flags=re.IGNORECASE)
    text = re.sub(
        r"(?<=[+-])([a-z]+|[一二三四五六七八])",
        lambda word: str(number_word(word[0]) or chinese(word[0]) or word[0]),
        text,
    )
    text = re.sub(r"\bzero\b|零", "0", text, flags=re.IGNORECASE)
    text = re.sub(r"[ⅠⅡⅢⅣⅤⅥⅦⅧ]", lambda numeral: _ROMAN["ⅠⅡⅢⅣⅤⅥⅦⅧ".index(numeral[0])], text)
    found = list(_CHARGE.finditer(text))
    if question is not None:
        lent = question_words(question)
        rest = re.findall(r"[^\s,.:;()=]+", _CHARGE.sub(" ", re.sub("化合价|[是为]", " ", text)))
        charged = [part for part in rest if re.search(r"[+-]", part) and chemical.formulas(part)]
        known = {*charged, *re.findall(r"[A-Z][a-z]?", question), *re.findall(r"[\w(){}^+-]+", question), "价"}
        if "%" in text or not all(part in known or not trim(part, lent) for part in rest):
            return []
    groups = [match.groups("") for match in found]
    return [int(f"{a or d or e}{b or c or _ROMAN.index(r) + 1}") for a, b, c, d, e, r in groups]


_values = values.reader(Rules(measured=True))

check = open_answer.verifier(
    (
        choice.read,
        polarity,
        values.units,
        substances.equations,
        substances.configurations,
        _hybrids,
        _oxidation,
        _concentrations,
        _general,
        substances.substances,
        places.read,
        _of_substance,
        _values,
        formulas.read,
    ),
    lists=(open_answer.words("substances", "words", "things", "culture"),),
)
