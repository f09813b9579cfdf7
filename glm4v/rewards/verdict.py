"""What a verifier returns, and the shapes of a truth that verifiers read."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Truth = str | int | float | Mapping[str, Any]


class Verdict(NamedTuple):
    """reward in [0, 1] and the reason for it, one line for a person to read.

    decided: whether the rules are sure. They are not where they refused a name or a phrase that they do not know.
    """

    reward: float
    reason: str
    decided: bool = True


Verifier = Callable[[str, Truth, str | None], Verdict]


def truth_text(truth: Truth) -> str:
    """The one right answer as text: the truth itself, or its "answer" where it is a dict.

    Raises:
        ValueError: a dict without "answer".
    """
    if not isinstance(truth, Mapping):
        return str(truth)
    if "answer" not in truth:
        raise ValueError(f'truth: a dict must hold "answer", this one holds {sorted(truth)}')
    return str(truth["answer"])


def quote(text: str) -> str:
    """A text as reasons show it: on one line, at most 60 characters, in quotation marks."""
    line = " ".join(text[:200].split())
    return f'"{line[:59]}…"' if len(line) > 60 else f'"{line}"'
