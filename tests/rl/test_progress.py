"""Cells that move are drawn, cells that stand still are not, and resume, of learning progress."""

import pytest
import torch

from glm4v.rl.curriculum import Curriculum
from glm4v.rl.progress import Progress

TIERS = ("dead", "even", "learned", "forgotten")


def play(sampler: Curriculum, steps: int, first: int = 0) -> None:
    """All cells' problems are answered in each step: dead never, even in half, one more and one less often."""
    generator = torch.Generator().manual_seed(first)
    for step in range(first, first + steps):
        chances = (0.0, 0.5, 0.1 + 0.02 * step, 0.9 - 0.02 * step)
        rates = torch.tensor([chance for chance in chances for _ in range(8)])
        sampler.update(range(32), torch.bernoulli(rates[:, None].expand(-1, 8), generator=generator))


def pool() -> list[tuple[str, str]]:
    return [("sums", tier) for tier in TIERS for _ in range(8)]


def test_what_moves_is_drawn():
    sampler = Progress(pool())
    assert set(sampler.shares().values()) == {0.25}
    play(sampler, 30)
    shares = {tier: share for (_, tier), share in sampler.shares().items()}
    assert min(shares["learned"], shares["forgotten"]) > 3 * max(shares["dead"], shares["even"])
    by_variance = Curriculum(pool())
    play(by_variance, 30)
    assert by_variance.shares()["sums", "even"] > by_variance.shares()["sums", "dead"] * 3  # which cannot tell


def test_offline_rates_are_no_progress():
    sampler = Progress(pool())
    sampler.start_from([0.9] * 16 + [0.1] * 16, trials=64)
    assert not sampler.progress().any()
    assert sum(sampler.shares().values()) == pytest.approx(1)


def test_resume_is_exact():
    whole, first, second = Progress(pool(), seed=3), Progress(pool(), seed=3), Progress(pool(), seed=3)
    play(whole, 12)
    play(first, 12)
    second.load_state_dict(first.state_dict())
    for sampler in (whole, second):
        play(sampler, 6, first=12)
    assert second.shares() == whole.shares()
    assert second.draw(16) == whole.draw(16)
