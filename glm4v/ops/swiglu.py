"""SwiGLU on a fused projection: silu(gate) * up."""

from typing import Any

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import check_float, define, native_for, through_float32


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, gate being the first half of the last dimension and up the second.

    gate_up [..., 2F]: float32, bfloat16 or float16. Returns [..., F].
    Raises ValueError for other types or an odd last dimension. Source: transformers' Glm4vTextMLP.
    """
    check_float("gate_up", gate_up)
    if gate_up.ndim < 1 or gate_up.shape[-1] % 2:
        raise ValueError(f"gate_up: has shape {list(gate_up.shape)}; expected [..., 2F]")
    features = gate_up.shape[-1] // 2
    return _swiglu(gate_up.reshape(gate_up.shape[:-1].numel(), 2 * features)).view(*gate_up.shape[:-1], features)


@through_float32
def run_swiglu(gate_up: Tensor) -> Tensor:
    out = gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2)
    native_for(gate_up).swiglu(gate_up.contiguous(), None, out)
    return out


@through_float32
def run_backward(grad: Tensor, gate_up: Tensor) -> Tensor:
    out = torch.empty_like(gate_up, memory_format=torch.contiguous_format)
    native_for(gate_up).swiglu(gate_up.contiguous(), grad.contiguous(), out)
    return out


_backward = define(
    "swiglu_backward(Tensor grad, Tensor gate_up) -> Tensor",
    run_backward,
    lambda grad, gate_up: torch.empty_like(gate_up, memory_format=torch.contiguous_format),
    cuda=True,
)


def setup(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def backward(ctx: Any, grad: Tensor) -> Tensor:
    return _backward(grad, *ctx.saved_tensors)


_swiglu = define(
    "swiglu(Tensor gate_up) -> Tensor",
    run_swiglu,
    lambda gate_up: gate_up.new_empty(gate_up.shape[0], gate_up.shape[1] // 2),
    reference.swiglu,
    backward,
    setup,
    cuda=True,
)
