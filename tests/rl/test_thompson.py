"""Posteriors, draws towards the target, and resume, of Thompson sampling."""

from collections import Counter

import numpy as np
import pytest
import torch

from glm4v.rl.thompson import Thompson

RATES = {"easy": 1.0, "middle": 0.5, "hard": 0.0}


def pool() -> list[tuple[str, str]]:
    return [("sums", tier) for tier in RATES for _ in range(100)]


def play(sampler: Thompson, steps: int) -> Counter[str]:
    """Draws and answers like a model with the pass rate of each tier; the tiers of the last ten draws."""
    generator = torch.Generator().manual_seed(0)
    counts: Counter[str] = Counter()
    for step in range(steps):
        problems = sampler.draw(20)
        assert len(problems) == len(set(problems)) == 20
        tiers = [sampler.cell(problem)[1] for problem in problems]
        if step >= steps - 10:
            counts.update(tiers)
        chances = torch.tensor([RATES[tier] for tier in tiers])
        sampler.update(problems, torch.bernoulli(chances[:, None].expand(-1, 8), generator=generator))
    return counts


def test_draws_move_to_the_target():
    counts = play(Thompson(pool()), steps=60)
    assert counts["middle"] > 0.8 * sum(counts.values())


def test_another_target():
    counts = play(Thompson(pool(), target=1.0), steps=60)
    assert counts["easy"] > 0.8 * sum(counts.values())


def test_posterior_ages_when_the_problem_is_seen_again():
    sampler = Thompson(pool(), ageing=0.5)
    sampler.update([0], torch.ones(1, 8))
    assert sampler.pass_rates([0, 1]).tolist() == pytest.approx([9 / 10, 1 / 2])
    sampler.update([1], torch.ones(1, 8))
    assert sampler.pass_rates([0]).tolist() == pytest.approx([9 / 10])
    sampler.update([0], torch.zeros(1, 8))
    assert sampler.pass_rates([0]).tolist() == pytest.approx([(4 + 1) / (4 + 8 + 2)])


def test_shares_are_those_of_the_last_draw():
    sampler = Thompson(pool())
    assert sampler.shares() == {("sums", tier): pytest.approx(1 / 3) for tier in RATES}
    counts = Counter(sampler.cell(problem) for problem in sampler.draw(30))
    assert sampler.shares() == {cell: pytest.approx(counts[cell] / 30) for cell in sampler.cells}


def test_small_pools_repeat():
    assert sorted(Thompson([("a", "1"), ("a", "2")]).draw(4)) == [0, 0, 1, 1]


def test_resume_is_exact():
    whole, first, second = (Thompson(pool(), seed=3) for _ in range(3))
    play(whole, steps=12)
    play(first, steps=12)
    second.load_state_dict(first.state_dict())
    assert second.draw(64) == whole.draw(64)
    assert np.array_equal(second.pass_rates(range(300)), whole.pass_rates(range(300)))


@pytest.mark.parametrize(("arguments", "name"), [({"candidates": 0}, "candidates"), ({"target": 1.5}, "target")])
def test_bad_settings_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        Thompson(pool(), **arguments)
