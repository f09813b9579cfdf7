"""Biology: names of living things and their parts, genotypes and sequences in their case, ratios, measured values."""

import re

from glm4v.rewards import choice, formulas, open_answer, ranges, ratios, values
from glm4v.rewards.quantity import Rules
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.yes_no import read as polarity

_GENOTYPE = re.compile(
    r"(?:[A-Z][a-z]?|[a-z]{1,2}|[A-Za-z]{2}){1,4}|[XY]{2,3}|X\^?\{?[A-Za-z]\}?(?:Y|X\^?\{?[A-Za-z]\}?)"
)
_GENE_ASKED = re.compile(r"genotype|gamete|allele|基因型|配子|chromosome|codon|sequence|序列|密码子", re.IGNORECASE)
_SEQUENCE = re.compile(r"(?:[35]['′]?-?)?([ACGTU]{2,})(?:-?[35]['′]?)?")


def _species(text: str, truth: str, question: str | None) -> bool | None:
    """A species whose genus is abbreviated: H. sapiens. Everything else is left to the names."""
    name = truth.split()
    if not re.fullmatch(r"[A-Z][a-z]+(?: [a-z]+){1,2}", truth) or hedge(text, truth) is not None:
        return None
    for core in cores(text, question):
        given = core.split()
        if len(given) == len(name) and given[0] == f"{name[0][0]}." and given[1:] == name[1:]:
            return True
    return None


def _genotypes(text: str, truth: str, question: str | None) -> bool | None:
    """Genotypes and codons, whose letters count in their case."""
    if not re.fullmatch(r"[A-Za-z]{2,8}", truth) or not _GENE_ASKED.search(question or ""):
        return None
    if not (
        _GENOTYPE.fullmatch(truth)
        and len(truth) <= 8
        and (truth.isupper() or re.fullmatch(r"(?:([A-Za-z])(?i:\1))+|[A-Za-z]{2,4}", truth))
    ):
        return None
    if hedge(text, truth) is not None:
        return False
    for core in cores(text, question):
        joined = r"|\band\b|,|和" if re.search(r"chromosome|染色体", question or "", re.IGNORECASE) else ""
        bare = re.sub(rf"\s|chromosomes?|genotype{joined}", "", core)
        sequence = _SEQUENCE.fullmatch(bare)
        bare = sequence[1] if sequence else bare
        if bare == truth:
            return True
    return False


def _strands(text: str, truth: str, question: str | None) -> bool | None:
    """Strands of nucleic acids with their ends, 3'-TACG-5' and 5'-GCAT-3'."""
    right = _strand(truth)
    if right is None:
        return None
    letters = re.sub(r"[^ACGTU]", "", truth)
    return hedge(text, truth) is None and any(
        _strand(core) == right or core == letters for core in cores(text, question)
    )


def _strand(text: str) -> str | None:
    """The bases from the 5' to the 3' end."""
    match = re.fullmatch(r"([35])\s*['′’]?\s*-?\s*([ACGTU -]{2,60}?)\s*-?\s*([35])\s*['′’]?", text.strip(" ."))
    if match is None or match[1] == match[3]:
        return None
    bases = re.sub(r"[^ACGTU]", "", match[2])
    return bases if match[1] == "5" else bases[::-1]


def _pressures(text: str, truth: str, question: str | None) -> bool | None:
    """Blood pressure, 120/80 mmHg: two numbers in their order."""
    right = _pressure(truth)
    if right is None:
        return None
    return hedge(re.sub(r"(?<=\d) over (?=\d)", "/", text), truth) is None and any(
        _pressure(core) == right for core in cores(text, question)
    )


def _pressure(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{2,3})\s*(?:/|over)\s*(\d{2,3})\s*(?:mm\s?Hg|毫米汞柱)", text.strip())
    return (int(match[1]), int(match[2])) if match else None


check = open_answer.verifier(
    (
        choice.read,
        polarity,
        _species,
        _genotypes,
        _strands,
        _pressures,
        ratios.read,
        ranges.read,
        values.multiples,
        values.reader(Rules(measured=True)),
        formulas.read,
    ),
    lists=(open_answer.words("living", "words", "things", "substances", "culture"),),
)
