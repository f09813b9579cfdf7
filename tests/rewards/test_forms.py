"""Forms of right answers, and near misses of each, by domain.

forms/<domain>/rules.txt was written with the rules; forms/<domain>/blind.txt before the rules that it tests, from the
conventions alone. Of those one case in twenty is left out, since examiners may differ or no rule decides it yet.

A family is a question (`? -` where there is none), the truth behind `=`, lines of right answers behind `+` and of wrong
ones behind `-`, separated by ` ;; `; ⏎ stands for a new line.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glm4v.rewards import explain, verify

FORMS = Path(__file__).parent / "forms"


def families(path: Path) -> Iterator[tuple[str | None, str, list[tuple[bool, str]]]]:
    """Question, truth, and answers with whether they are right."""
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [(line[0], line[2:].replace("⏎", "\n")) for line in block.splitlines() if line]
        if lines:
            (_, question), (_, truth) = lines[:2]
            answers = [(sign == "+", answer) for sign, row in lines[2:] for answer in row.split(" ;; ")]
            yield None if question == "-" else question, truth, answers


@pytest.mark.parametrize("path", sorted(FORMS.glob("*/*.txt")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_forms_and_near_misses(path: Path) -> None:
    wrong = [
        f"{answer!r} for {truth!r}: {explain(path.parent.name, answer, truth, question)}"
        for question, truth, answers in families(path)
        for right, answer in answers
        if (verify(path.parent.name, answer, truth, question) == 1.0) != right
    ]
    assert wrong == []


def test_there_are_many_of_both_kinds() -> None:
    answers = [right for path in FORMS.glob("*/*.txt") for _, _, listed in families(path) for right, _ in listed]
    assert answers.count(True) > 6000
    assert answers.count(False) > 4000
