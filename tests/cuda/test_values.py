"""Values of index tensors that the CPU refuses: CUDA kernels clamp them, so that nothing is read or written out of
bounds, and with GLM4V_CHECK=1 they are refused with the CPU's words.
"""

import re

import pytest
import torch

from glm4v import ops
from glm4v.ops import library
from tests.ops.conftest import running_in


def grids(*rows):
    return torch.tensor(rows, dtype=torch.int64).view(-1, 3)


X, TABLE, WEIGHT = torch.randn(16, 2, 8), torch.randn(9, 16), torch.randn(20, 16)
GRIDS = [
    grids((1, 2, 4)),
    grids((1, 4, 4), (1, 2, 2)),
    grids((1, 2, 4), (1, 3, 4)),
    grids((0, 4, 4)),
    grids((-1, -4, 4)),
    grids((2**40, 2**40, 2**40)),
    grids((1, 2**19, 2**19), (1, 4, 4)),
    grids(),
]
TARGETS = [torch.arange(16).masked_fill(torch.arange(16) == 3, value) for value in (20, -1, 2**62, -(2**62))]
CALLS = {
    **{f"rope_2d {i}": lambda g=g: ops.rope_2d(X, X, g) for i, g in enumerate(GRIDS)},
    **{
        f"add_position_embedding {i}": lambda g=g: embedded(X.flatten(1), TABLE.detach().requires_grad_(), g)
        for i, g in enumerate(GRIDS)
    },
    **{
        f"linear_cross_entropy {i}": lambda t=t: ops.linear_cross_entropy(X.flatten(1), WEIGHT, t)
        for i, t in enumerate(TARGETS)
    },
}


def embedded(x, table, grid_thw):
    ops.add_position_embedding(x, table, grid_thw).sum().backward()


def refusal(call) -> str:
    with pytest.raises(ValueError, match=r"grid_thw|targets") as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("name", CALLS)
def test_refused_only_when_asked_to(monkeypatch, name):
    call = CALLS[name]
    on_cpu = refusal(call)
    with running_in("cuda emulator"):
        call()
        monkeypatch.setattr(library, "CHECKS", True)
        assert refusal(call) == on_cpu


def test_positions_may_be_any_number():
    extreme = torch.tensor([0, -5, 2**62, -(2**63), 2**63 - 1])
    with running_in("cuda emulator"):
        ops.rope_3d(torch.randn(5, 2, 8), torch.randn(5, 1, 8), extreme.repeat(3, 1), (2, 1, 1), 8)


def test_cu_seqlens_are_checked_by_name():
    with pytest.raises(ValueError, match=re.escape("cu_seqlens_q: ends at 3; expected 4 tokens")):
        library.native.check_cu_seqlens(torch.tensor([0, 3], dtype=torch.int32), 4, "cu_seqlens_q")
