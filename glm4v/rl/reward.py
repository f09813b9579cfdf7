"""What a response earns, by the verifier that its problem names or by the recipe's, and why, in words."""

from typing import NamedTuple

from glm4v.data.files import Problem
from glm4v.rewards import judge, parse_response


class Score(NamedTuple):
    """reward in [0, 1]; the answer that was found, None where the format is wrong; the reason, one line."""

    reward: float
    answer: str | None
    reason: str


def score(problem: Problem, response: str, verifier: str | None = None) -> Score:
    """The format is a gate, then the verifier compares the boxed answer with the truth.

    response: decoded with special tokens kept, from <think> on. verifier: used in place of the problem's; a name in
    `glm4v.rewards.VERIFIERS` or "package.module:function" of (prediction, truth, question). Raises ValueError for a
    verifier that does not exist and a truth it cannot read, never because of the response.
    """
    parsed = parse_response(response)
    if parsed.answer is None:
        return Score(0.0, None, f"no answer: {parsed.error}")
    verdict = judge(verifier or problem.verifier, parsed.answer, problem.truth, problem.question)
    return Score(verdict.reward, parsed.answer, verdict.reason)
