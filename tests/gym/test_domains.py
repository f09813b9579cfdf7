"""Every domain in every tier: well-formed problems whose truth the domain's own verifier scores 1."""

import numpy as np
import pytest

from glm4v import rewards
from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.problem import POOLS, Problem


def problems(domain: str, tier: int, pool: str = "train", count: int = 12) -> list[Problem]:
    return [DOMAINS[domain].make(np.random.default_rng([tier, number]), tier, pool) for number in range(count)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_worked_example_is_right_and_has_one_box(domain: str, tier: int) -> None:
    for problem in problems(domain, tier):
        answer = rewards.extract_answer(problem.response)
        assert answer == problem.answer
        verdict = rewards.assess(DOMAINS[domain].verifier, answer, problem.truth, problem.question)
        assert verdict.reward == 1.0, verdict.reason
        assert problem.response.endswith("<|end_of_box|></answer>")
        assert problem.response.count("<|begin_of_box|>") == 1


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_pixels_are_small_and_whole_vision_tokens(domain: str, tier: int) -> None:
    for problem in problems(domain, tier):
        *frames, height, width, channels = problem.pixels.shape
        assert problem.pixels.dtype == np.uint8
        assert channels == 3
        assert height % 28 == 0
        assert width % 28 == 0
        assert max(height, width) <= 224
        assert bool(frames) == (problem.frame_rate is not None)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_problems_differ_and_repeat_with_their_seed(domain: str, pool: str) -> None:
    first, second = problems(domain, 4, pool), problems(domain, 4, pool)
    assert [problem.pixels.tobytes() for problem in first] == [problem.pixels.tobytes() for problem in second]
    assert len({problem.pixels.tobytes() for problem in first}) == len(first)
    assert [(p.question, p.truth, p.thought, p.caption) for p in first] == [
        (p.question, p.truth, p.thought, p.caption) for p in second
    ]


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_answer_is_right_for_most_problems(domain: str) -> None:
    for tier in TIERS:
        found = problems(domain, tier, count=40)
        verifier = DOMAINS[domain].verifier
        for guess in {problem.answer for problem in found}:
            mean = np.mean([rewards.verify(verifier, guess, problem.truth, problem.question) for problem in found])
            assert mean < 0.75, f"{guess!r} earns {mean:.2f} in tier {tier}"
