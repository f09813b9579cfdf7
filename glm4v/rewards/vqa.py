"""Short open answers (colour, shape, thing): exact after normalisation."""

from collections.abc import Mapping

from glm4v.rewards.numerals import number_word
from glm4v.rewards.text import plain
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 when the answer is the truth, or one of truth["accept"] where the truth is a dict."""
    accepted = [truth_text(truth)]
    if isinstance(truth, Mapping):
        accepted += [str(other) for other in truth.get("accept", ())]
    answer = _canonical(prediction)
    if answer and answer in {_canonical(other) for other in accepted}:
        return Verdict(1.0, f"the same as {quote(accepted[0])}")
    return Verdict(0.0, f"{quote(prediction)} is not {quote(accepted[0])}")


def _canonical(text: str) -> str:
    answer = plain(text)
    number = number_word(answer)
    return answer if number is None else str(number)
