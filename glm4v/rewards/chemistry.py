"""Chemistry: formulas, equations and names of substances; measured values; orders; words."""

import re

from glm4v.rewards import choice, formulas, open_answer, places, substances, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.yes_no import read as polarity


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


def _oxidation(text: str, truth: str, question: str | None) -> bool | None:
    """Oxidation states: +6, VI, +6价, 6+."""
    match = re.fullmatch(r"([+-])([1-9])", truth.strip())
    if match is None or not re.search(r"oxidation|valence|化合价|氧化数|氧化态", question or "", re.IGNORECASE):
        return None
    found = re.findall(
        r"(?<![A-Za-z0-9])(?:([+-])([0-9])|([0-9])([+-])|(VIII|VII|VI|IV|V|III|II|I))(?![A-Za-z0-9])", text
    )
    numerals = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII"]
    given = {(a or d or "+") + (b or c or str(numerals.index(r) + 1)) for a, b, c, d, r in found}
    return given == {match[1] + match[2]} and len(found) == 1


check = open_answer.verifier(
    (
        choice.read,
        polarity,
        values.units,
        substances.equations,
        substances.configurations,
        _hybrids,
        _oxidation,
        substances.substances,
        places.read,
        values.reader(Rules(measured=True)),
        formulas.read,
    ),
    lists=(open_answer.words("substances", "words", "things", "culture"),),
)
