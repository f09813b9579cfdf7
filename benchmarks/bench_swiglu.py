"""swiglu against silu(gate) * up in torch."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions, with_compiled
from glm4v.benchmarks.shapes import cases_of


def eager(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        gate_up = torch.randn(sizes.tokens, 2 * sizes.intermediate, dtype=dtype)
        half = gate_up.numel() * gate_up.element_size() / 2
        for peer, theirs in with_compiled("F.silu(gate) * up", eager, sizes, dtype):
            yield from both_directions("swiglu", sizes.text, peer, ops.swiglu, theirs, (gate_up,), (3 * half, 5 * half))
