"""Group-normalised advantages."""

import pytest
import torch

from glm4v.rl.advantage import group_advantages, informative


def test_normalised_inside_each_group():
    rewards = torch.tensor([[1.0, 0, 0, 0], [0.2, 0.4, 0.9, 1.0]], dtype=torch.float64)
    advantages = group_advantages(rewards, eps=0.0)
    assert torch.allclose(advantages.mean(dim=1), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(advantages.std(dim=1, correction=0), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(advantages[0], torch.tensor([3, -1, -1, -1], dtype=torch.float64) / 3**0.5)


def test_groups_of_equal_rewards_have_none():
    third = torch.full((1, 8), 1 / 3)  # its float mean is not exactly 1/3: centred rewards alone would not be 0
    rewards = torch.cat([torch.zeros(1, 8), torch.ones(1, 8), third, third + 1e-7 * torch.arange(8)])
    assert group_advantages(rewards, eps=0.0).abs().max() == 0
    assert not informative(rewards).any()


def test_single_difference_is_informative():
    rewards = torch.zeros(3, 8)
    rewards[1, 5] = 0.01
    assert informative(rewards).tolist() == [False, True, False]


def test_shape_is_named():
    with pytest.raises(ValueError, match=r"rewards: shape \(4,\)"):
        group_advantages(torch.zeros(4))
