"""Matrix products on the CPU, where torch's choice is not the fastest.

In float32 torch takes MKL, which on AMD's processors keeps to its AVX2 kernels: there oneDNN's take over, at 2.1 times
the rate (2048 rows, 384 x 2048 and 4096 x 4096: 225 against 480 GFLOP/s on two cores of Zen 5; 1.1 times where both are
held to AVX2). In bfloat16 torch takes oneDNN, which without bf16 instructions runs at about a seventh of its float32
rate: there blocks are widened to float32 and rounded once, at the end.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v.ops.library import check_float, check_like, check_shape, define, native

BLOCK = 1024  # rows of a weight that are widened at a time: 16 MB of float32 at a width of 4096

HAS_BF16_PRODUCTS = native.native_bf16()  # of the instruction set that was chosen when the package was imported
ONEDNN_IN_FLOAT32 = native.amd and torch.backends.mkldnn.is_available()


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
    if widens(x) or takes_onednn(x):
        flat = x.reshape(x.shape[:-1].numel(), x.shape[-1])
        return _linear(flat, weight, bias).view(*x.shape[:-1], weight.shape[0])
    return F.linear(x, weight, bias)


def widens(x: Tensor) -> bool:
    """Whether products of `x` go through float32."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not HAS_BF16_PRODUCTS


def takes_onednn(x: Tensor) -> bool:
    """Whether products of `x` are not torch's own choice, but oneDNN's."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and ONEDNN_IN_FLOAT32


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [M, K] @ b [N, K].T + bias [N] on the CPU, not differentiable."""
    if not takes_onednn(a) or not a.numel() or not b.numel():
        return F.linear(a, b, bias)
    by_rows = b.stride(1) == 1 and b.stride(0) >= b.shape[1]
    by_columns = b.stride(0) == 1 and b.stride(1) >= b.shape[0]
    b = b if by_rows or by_columns else b.contiguous()  # other strides, and a bias's, are taken for dense
    bias = None if bias is None else bias.contiguous()
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


# kernels ------------------------------------------------------------------------------------------------------------


def cpu_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.dtype == torch.float32:
        return product(x, weight, bias)
    out = x.new_empty(x.shape[0], weight.shape[0])
    wide = x.float()
    for start in range(0, weight.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        out[:, block] = product(wide, weight[block].float(), None if bias is None else bias[block].float())
    return out


def cpu_grad_x(grad: Tensor, weight: Tensor) -> Tensor:
    if grad.dtype == torch.float32:
        return product(grad, weight.T)
    total = grad.new_zeros(grad.shape[0], weight.shape[1], dtype=torch.float32)
    for start in range(0, weight.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        total.addmm_(grad[:, block].float(), weight[block].float())
    return total.to(grad.dtype)


def cpu_grad_weight(grad: Tensor, x: Tensor) -> Tensor:
    if grad.dtype == torch.float32:
        return product(grad.T, x.T)
    out = grad.new_empty(grad.shape[1], x.shape[1])
    wide = x.float()
    for start in range(0, grad.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        out[block] = product(grad[:, block].float().T, wide.T)
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
