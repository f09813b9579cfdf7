"""Learning rates, frozen parts, decay on matrices only, and float32 masters of bfloat16 weights."""

import copy

import pytest
import torch
from torch import nn

from glm4v.train.optimisation import AdamW, freeze, learning_rate, parameter_groups
from glm4v.train.recipe import OptimSection


def test_warm_up_then_cosine_to_the_final_share():
    optim = OptimSection(learning_rate=1.0, warmup_steps=4, final_share=0.1)
    rates = [learning_rate(optim, step, 14) for step in range(14)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[13] == pytest.approx(0.1)
    assert sorted(rates[4:], reverse=True) == rates[4:]
    assert rates[4] - rates[8] == pytest.approx(rates[9] - rates[13])  # the cosine is symmetric


def test_constant_stays():
    optim = OptimSection(learning_rate=0.5, schedule="constant", warmup_steps=2)
    assert [learning_rate(optim, step, 5) for step in range(5)] == [0.25, 0.5, 0.5, 0.5, 0.5]


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def test_frozen_parts_do_not_train_and_a_pattern_must_match():
    model = two_layers()
    assert freeze(model, ["0.*", "*.bias"]) == 4 * 8 + 8 + 8 + 2
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["1.weight", "2.weight"]
    with pytest.raises(ValueError, match=r"'visual\.\*' matches no parameter; there are 0\.\*, 1"):
        freeze(model, ["visual.*"])


def test_only_matrices_decay():
    model = two_layers()
    optimizer = AdamW(model, OptimSection(learning_rate=0.1, weight_decay=0.5))
    before = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(new, old * (0.95 if old.ndim == 2 else 1.0), msg=name)
    assert sum(len(g["params"]) for g in parameter_groups(model, 0.5)) == 6


def test_bfloat16_weights_follow_float32_masters():
    """Updates of a thousandth of a weight add up, and micro-batches are summed in float32."""
    full, half = two_layers(), two_layers().bfloat16()
    full.load_state_dict({name: p.float() for name, p in half.state_dict().items()})
    optim = OptimSection(learning_rate=1e-3, weight_decay=0.0)
    optimizers = AdamW(full, optim), AdamW(half, optim)
    for _ in range(20):
        for model, optimizer in zip((full, half), optimizers, strict=True):
            for parameter in model.parameters():
                for scale in (1.0, 2.0**-9):  # the second vanishes in a bfloat16 sum
                    (parameter * parameter.new_full((), scale)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    for exact, rounded in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(rounded, exact.bfloat16(), rtol=0, atol=0)
    assert all(p.grad is None for p in half.parameters())


def test_a_restored_optimizer_goes_on_to_the_same_bits():
    optim = OptimSection(learning_rate=1e-2)
    model = two_layers().bfloat16()
    optimizer = AdamW(model, optim)

    def train(model: nn.Module, optimizer: AdamW) -> None:
        torch.manual_seed(1)
        for _ in range(3):
            model(torch.randn(5, 4).bfloat16()).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    train(model, optimizer)
    again = two_layers().bfloat16()
    restored = AdamW(again, optim)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer)
    train(again, restored)
    for expected, got in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(expected, got)
