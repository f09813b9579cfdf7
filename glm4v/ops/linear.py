"""Matrix products: torch's own, and for bfloat16 on a CPU without bf16 instructions blocks widened to float32.

There torch's bf16 product runs at about a seventh of its float32 rate; widened blocks run at nearly that rate and round
once, at the end.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v.ops.library import check_float, check_like, check_shape, define, native

BLOCK = 1024  # rows of a weight that are widened at a time: 16 MB of float32 at a width of 4096

HAS_BF16_PRODUCTS = native.native_bf16()  # of the instruction set that was chosen when the package was imported


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias.

    x [..., in], weight [out, in], bias [out] or None: float32, bfloat16 or float16, alike. Returns [..., out].
    Raises ValueError for other shapes, types or devices. Source: torch.nn.functional.linear.
    """
    check_float("x", x)
    if x.ndim < 1:
        raise ValueError("x: is a scalar; expected [..., in]")
    check_shape("weight", weight, ("out", x.shape[-1]))
    if bias is not None:
        check_shape("bias", bias, weight.shape[:1])
    check_like("x", x, weight=weight, bias=bias)
    if widens(x):
        flat = x.reshape(x.shape[:-1].numel(), x.shape[-1])
        return _linear(flat, weight, bias).view(*x.shape[:-1], weight.shape[0])
    return F.linear(x, weight, bias)


def widens(x: Tensor) -> bool:
    """Whether products of `x` go through float32."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not HAS_BF16_PRODUCTS


# kernels ------------------------------------------------------------------------------------------------------------


def cpu_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = x.new_empty(x.shape[0], weight.shape[0])
    wide = x.float()
    for start in range(0, weight.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        out[:, block] = F.linear(wide, weight[block].float(), None if bias is None else bias[block].float())
    return out


def cpu_grad_x(grad: Tensor, weight: Tensor) -> Tensor:
    total = grad.new_zeros(grad.shape[0], weight.shape[1], dtype=torch.float32)
    for start in range(0, weight.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        total.addmm_(grad[:, block].float(), weight[block].float())
    return total.to(grad.dtype)


def cpu_grad_weight(grad: Tensor, x: Tensor) -> Tensor:
    out = grad.new_empty(grad.shape[1], x.shape[1])
    wide = x.float()
    for start in range(0, grad.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        out[block] = grad[:, block].float().T @ wide
    return out


_grad_x = define(
    "linear_grad_x(Tensor grad, Tensor weight) -> Tensor",
    cpu_grad_x,
    lambda grad, weight: grad.new_empty(grad.shape[0], weight.shape[1]),
)
_grad_weight = define(
    "linear_grad_weight(Tensor grad, Tensor x) -> Tensor",
    cpu_grad_weight,
    lambda grad, x: grad.new_empty(grad.shape[1], x.shape[1]),
)


def setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    need_x, need_weight, need_bias = ctx.needs_input_grad
    return (
        _grad_x(grad, weight) if need_x else None,
        _grad_weight(grad, x) if need_weight else None,
        grad.sum(dim=0, dtype=torch.float32).to(grad.dtype) if need_bias else None,
    )


_linear = define(
    "linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
    cpu_linear,
    lambda x, weight, bias: x.new_empty(x.shape[0], weight.shape[0]),
    backward=backward,
    setup_context=setup,
)
