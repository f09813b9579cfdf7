"""What a response to a problem earns, by the verifier that the problem names, and why."""

from typing import NamedTuple

from glm4v.data import Processor, Sample
from glm4v.data.files import Problem
from glm4v.rewards import assess, parse_response
from glm4v.rewards.extract import THINK


class Score(NamedTuple):
    """reward in [0, 1]; the answer that was found, None where the format is wrong; the reason, one line."""

    reward: float
    answer: str | None
    reason: str


def score(problem: Problem, response: str, verifier: str | None = None) -> Score:
    """The format is a gate, then the verifier compares the boxed answer with the truth.

    Args:
        response: decoded with special tokens kept, from `<think>` on.
        verifier: used in place of the problem's: a name in `glm4v.rewards.VERIFIERS`, or "package.module:function".

    Raises:
        ValueError: the verifier does not exist, or cannot read the truth. Never because of the response.
    """
    parsed = parse_response(response)
    if parsed.answer is None:
        return Score(0.0, None, f"no answer: {parsed.error}")
    verdict = assess(verifier or problem.verifier, parsed.answer, problem.truth, problem.question)
    return Score(verdict.reward, parsed.answer, verdict.reason)


def opens_thinking(processor: Processor, prompt: Sample) -> bool:
    """Whether the chat template itself wrote the `<think>` that the response goes on from."""
    return processor.decode(prompt.input_ids[-4:]).rstrip().endswith(THINK)
