"""Rewards by rules alone: the answer in a response, and one verifier a file that says what it is worth and why.

`verify` and `explain` guard what all verifiers share: an answer of more than 64 KB, an empty one, or one with hidden
characters is worth nothing. A verifier named "package.module:function" is a user's own.
"""

from functools import cache
from importlib import import_module

from glm4v.rewards import (
    biology,
    chart,
    chemistry,
    choice,
    counting,
    geography,
    grounding,
    gui,
    liberal_arts,
    math,
    mmsi,
    multi_image,
    ocr,
    physics,
    video_time,
    vqa,
    yes_no,
)
from glm4v.rewards.extract import BOX, END_BOX, MAX_BYTES, extract_answer, parse_response
from glm4v.rewards.judge import Judge
from glm4v.rewards.text import hidden_characters
from glm4v.rewards.verdict import Truth, Verdict, Verifier

__all__ = [
    "VERIFIERS",
    "Judge",
    "Truth",
    "Verdict",
    "assess",
    "explain",
    "extract_answer",
    "load_reward",
    "parse_response",
    "verify",
]

VERIFIERS: dict[str, Verifier] = {
    "biology": biology.check,
    "chart": chart.check,
    "chemistry": chemistry.check,
    "choice": choice.check,
    "counting": counting.check,
    "geography": geography.check,
    "grounding": grounding.check,
    "gui": gui.check,
    "liberal_arts": liberal_arts.check,
    "math": math.check,
    "mmsi": mmsi.check,
    "multi_image": multi_image.check,
    "ocr": ocr.check,
    "physics": physics.check,
    "video_time": video_time.check,
    "vqa": vqa.check,
    "yes_no": yes_no.check,
}


def assess(
    domain: str, prediction: str | None, truth: Truth, question: str | None = None, judge: Judge | None = None
) -> Verdict:
    """The reward of an extracted answer and the reason for it.

    Args:
        domain: a name in `VERIFIERS`, or "package.module:function".
        prediction: what `extract_answer` returned; None (wrong format) earns 0.
        truth: the right answer as text or number, or a dict with what the verifier's docstring names.
        question: lets verifiers tell an answer from an echo of the question, and read units that the question gives.
        judge: asked about open answers on which the rules are not sure; none by default.

    Raises:
        ValueError: an unknown domain, or a truth that the verifier cannot read. Never because of the prediction.
    """
    verifier = VERIFIERS.get(domain) or load_reward(domain)
    if prediction is None:
        return Verdict(0.0, "no answer in the response: not one closed box after one closed thinking part")
    if len(prediction) > MAX_BYTES or len(prediction.encode(errors="replace")) > MAX_BYTES:
        return Verdict(0.0, f"an answer of more than {MAX_BYTES // 1024} KB")
    if not prediction.strip():
        return Verdict(0.0, "an empty answer")
    if BOX in prediction or END_BOX in prediction:
        return Verdict(0.0, "a box inside the box")
    hidden = hidden_characters(prediction, str(truth))
    if hidden is not None:
        return Verdict(0.0, f"a hidden character ({hidden.lower()})")
    verdict = verifier(prediction, truth, question)
    if judge is not None and not verdict.decided:
        return judge(prediction, truth, question)
    return verdict


def verify(
    domain: str, prediction: str | None, truth: Truth, question: str | None = None, judge: Judge | None = None
) -> float:
    """The reward in [0, 1]. See `assess`."""
    return assess(domain, prediction, truth, question, judge).reward


def explain(domain: str, prediction: str | None, truth: Truth, question: str | None = None) -> str:
    """Why that reward, in one line. See `assess`."""
    return assess(domain, prediction, truth, question).reason


@cache
def load_reward(name: str) -> Verifier:
    """A user's own verifier, `function(prediction, truth, question) -> float in [0, 1]`, by "package.module:function".

    Raises:
        ValueError: there is none by that name; or, when called, its result is not a number in [0, 1].
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"verifier: {name!r}, expected one of {', '.join(VERIFIERS)}, or package.module:function")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"verifier: {name!r} cannot be imported: {error}") from error

    def verifier(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
        value = float(function(prediction, truth, question))
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"verifier: {name!r} returned {value}, expected a number in [0, 1]")
        return Verdict(value, f"{value:g} by {name}")

    return verifier
