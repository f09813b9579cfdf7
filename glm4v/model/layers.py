"""What both towers are made of: parameters under transformers' names, and the operators of `glm4v.ops` on them.

A parameter is read inside the forward of the module that owns it wherever that is possible: sharded training (ZeRO-3)
gathers weights by module.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glm4v import ops


class Linear(nn.Module):
    """`ops.linear`: [T, inputs] -> [T, outputs]."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)


class RmsNorm(nn.Module):
    """`ops.rms_norm`: [T, width] -> [T, width]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, self.eps)


def initialise(module: nn.Module, std: float) -> None:
    """Matrices, tables and convolutions from a normal distribution, biases 0, norms 1; fixed by `torch.manual_seed`."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


def run(block: nn.Module, checkpointing: bool, *inputs: Any) -> Any:
    """`block(*inputs)`; with `checkpointing` only the inputs are kept and the backward pass runs the block again."""
    if not (checkpointing and torch.is_grad_enabled()):
        return block(*inputs)
    # no layer draws random numbers, so there is no random state to bring back
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)


Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""`attend(layer, q [T, H, D], k [T, Hkv, D], v) -> [T, H, D]`: causal attention inside each sequence."""
