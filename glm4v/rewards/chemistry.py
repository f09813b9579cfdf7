"""Chemistry: formulas, equations and names of substances; measured values; orders; words."""

import re

from glm4v.rewards import chemical, choice, formulas, open_answer, places, substances, values
from glm4v.rewards.numerals import chinese, number_word
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import hedge
from glm4v.rewards.yes_no import read as polarity

_ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]


def _hybrids(text: str, truth: str, question: str | None) -> bool | None:
    """Hybrid orbitals: sp³, sp^3, sp3."""
    if re.fullmatch(r"sp\^?\{?[23³²]?\}?(?:d[²2]?)?", truth.strip()):
        bare = [
            re.sub(r"[\^{}\s$]|hybridi[sz](?:ed|ation)", "", part).translate(str.maketrans("²³", "23"))
            for part in (text, truth)
        ]
        words = re.findall(r"sp[23]?(?:d[2]?)?(?![A-Za-z0-9])", bare[0])
        return len(words) == 1 and words[0] == bare[1]
    return None


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


def _oxidation(text: str, truth: str, question: str | None) -> bool | None:
    """Oxidation states: +6, VI, +6价, 6+."""
    right = _charges(truth)
    if len(right) != 1 or not re.search(
        r"oxidation|valence(?! electron)|\bcharge|化合价|氧化数|氧化态|电荷", question or "", re.IGNORECASE
    ):
        return None
    return hedge(text, truth) is None and _charges(text) == right


def _charges(text: str) -> list[int]:
    """The charges or oxidation numbers in a text: +6, VI, 6+, 6, plus six, 正六价."""
    text = re.sub(r"\b(?:plus|positive)\s+|正(?=[一二三四五六七八])", "+", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:minus|negative)\s+|负(?=[一二三四五六七八])|−|–", "-", text, flags=re.IGNORECASE)
    text = re.sub(
        r"(?<=[+-])([a-z]+|[一二三四五六七八])",
        lambda word: str(number_word(word[0]) or chinese(word[0]) or word[0]),
        text,
    )
    text = re.sub(r"[ⅠⅡⅢⅣⅤⅥⅦⅧ]", lambda numeral: _ROMAN["ⅠⅡⅢⅣⅤⅥⅦⅧ".index(numeral[0])], text)
    found = re.findall(
        r"(?<![A-Za-z0-9}^{])(?:([+-]?)(\d)(?![\d.]*\d|[+-])|(\d)([+-])|([+-]?)(VIII|VII|VI|IV|V|III|II|I))e?(?![A-Za-z0-9])",
        text,
    )
    return [int(f"{a or d or e}{b or c or _ROMAN.index(r) + 1}") for a, b, c, d, e, r in found]


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
        substances.substances,
        places.read,
        values.reader(Rules(measured=True)),
        formulas.read,
    ),
    lists=(open_answer.words("substances", "words", "things", "culture"),),
)
