"""Initial weights by kind of parameter; a checkpointed block computes the same and holds nothing back."""

import pytest
import torch

from glm4v.model.layers import Linear, RmsNorm, initialise, run


def test_initial_weights_depend_on_the_kind_of_parameter() -> None:
    torch.manual_seed(0)
    block = torch.nn.ModuleDict({"product": Linear(300, 200, bias=True), "norm": RmsNorm(300, 1e-5)})
    initialise(block, 0.05)
    assert block["product"].weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert block["product"].bias.count_nonzero() == 0
    assert block["norm"].weight.eq(1).all()


def test_a_checkpointed_block_runs_again_in_the_backward_pass_only() -> None:
    calls = 0

    class Block(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return super().forward(x).square()

    block = Block(3, 3)
    initialise(block, 1.0)
    x = torch.randn(5, 3, requires_grad=True)
    grads = []
    for checkpointing in (False, True):
        calls = 0
        (grad,) = torch.autograd.grad(run(block, checkpointing, x).sum(), x)
        grads.append(grad)
        assert calls == 1 + checkpointing
    assert torch.equal(*grads)
    with torch.no_grad():
        calls = 0
        run(block, True, x)
        assert calls == 1
