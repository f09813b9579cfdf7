"""RMS norms with float32 statistics: alone, after a residual addition (vision blocks), GLM's sandwich (text layers).

Agrees with transformers' Glm4vRMSNorm: the normalised value is rounded to the activations' type before the weight
multiplies it. The backward pass recomputes the statistics, so nothing but the inputs is saved.
"""

from typing import Any

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import check_float, check_like, check_shape, define, native_for, through_float32


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """norm(x; weight) = weight * x / sqrt(mean(x^2) + eps) over the last dimension.

    x [..., C] and weight [C]: float32, bfloat16 or float16, alike. Returns [..., C].
    Raises ValueError for other shapes, types or devices. Source: transformers' Glm4vRMSNorm.
    """
    check(x, weight=weight)
    return _rms_norm(x.reshape(rows(x)), weight, eps).view(x.shape)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(norm(x + residual; weight), x + residual): a vision block's residual addition and the norm after it.

    x, residual [..., C] and weight [C]: float32, bfloat16 or float16, alike. Returns two tensors [..., C].
    Raises ValueError for other shapes, types or devices. Source: transformers' Glm4vVisionBlock.
    """
    check(x, residual, weight=weight)
    flat = rows(x)
    out, h = _add_rms_norm(x.reshape(flat), residual.reshape(flat), weight, eps)
    return out.view(x.shape), h.view(x.shape)


def sandwich_norm(
    x: Tensor, residual: Tensor, post_weight: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """(h, norm(h; weight)) with h = residual + norm(x; post_weight): one GLM sub-layer's end and the start of the next.

    x, residual [..., C], post_weight, weight [C]: float32, bfloat16 or float16, alike. Returns two tensors [..., C].
    Raises ValueError for other shapes, types or devices. Source: transformers' Glm4vTextDecoderLayer.
    """
    check(x, residual, post_weight=post_weight, weight=weight)
    flat = rows(x)
    h, out = _sandwich_norm(x.reshape(flat), residual.reshape(flat), post_weight, weight, eps)
    return h.view(x.shape), out.view(x.shape)


def rows(x: Tensor) -> tuple[int, int]:
    """The shape of `x` [..., C] as [T, C]; C may be 0."""
    return x.shape[:-1].numel(), x.shape[-1]


def check(x: Tensor, residual: Tensor | None = None, **weights: Tensor) -> None:
    check_float("x", x)
    if x.ndim < 1:
        raise ValueError("x: is a scalar; expected [..., C]")
    if residual is not None:
        check_shape("residual", residual, x.shape)
    for name, weight in weights.items():
        check_shape(name, weight, x.shape[-1:])
    check_like("x", x, residual=residual, **weights)


# kernels ------------------------------------------------------------------------------------------------------------


@through_float32
def run_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    native_for(x).rms_norm(x, None, None, weight.contiguous(), None, out, eps)
    return out


@through_float32
def run_add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    x = x.contiguous()
    out, h = torch.empty_like(x), torch.empty_like(x)
    native_for(x).rms_norm(x, residual.contiguous(), None, weight.contiguous(), h, out, eps)
    return out, h


@through_float32
def run_sandwich_norm(
    x: Tensor, residual: Tensor, post_weight: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    x = x.contiguous()
    h, out = torch.empty_like(x), torch.empty_like(x)
    native_for(x).rms_norm(x, residual.contiguous(), post_weight.contiguous(), weight.contiguous(), h, out, eps)
    return h, out


@through_float32
def run_backward(
    grad_out: Tensor, grad_h: Tensor | None, h: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    h = h.contiguous()
    grad_x = torch.empty_like(h)
    native = native_for(h)
    partials = h.new_empty(1, native.partials, h.shape[1], dtype=torch.float32)
    grad_weight = h.new_empty(h.shape[1], dtype=torch.float32)
    grad_h = None if grad_h is None else grad_h.contiguous()
    native.rms_norm_backward(
        grad_out.contiguous(),
        grad_h,
        None,
        h,
        None,
        weight.contiguous(),
        grad_x,
        None,
        partials,
        grad_weight,
        None,
        eps,
    )
    return grad_x, grad_weight.to(weight.dtype)


@through_float32
def run_sandwich_backward(
    grad_h: Tensor, grad_out: Tensor, x: Tensor, h: Tensor, post_weight: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h = h.contiguous()
    grad_x, grad_residual = torch.empty_like(h), torch.empty_like(h)
    native = native_for(h)
    partials = h.new_empty(2, native.partials, h.shape[1], dtype=torch.float32)
    grad_post_weight, grad_weight = h.new_empty(2, h.shape[1], dtype=torch.float32)
    native.rms_norm_backward(
        grad_out.contiguous(), grad_h.contiguous(), x.contiguous(), h, post_weight.contiguous(), weight.contiguous(),
        grad_x, grad_residual, partials, grad_weight, grad_post_weight, eps,
    )  # fmt: skip
    return grad_x, grad_residual, grad_post_weight.to(weight.dtype), grad_weight.to(weight.dtype)


# registration -------------------------------------------------------------------------------------------------------

_backward = define(
    "rms_norm_backward(Tensor grad_out, Tensor? grad_h, Tensor h, Tensor weight, float eps) -> (Tensor, Tensor)",
    run_backward,
    lambda grad_out, grad_h, h, weight, eps: (torch.empty_like(h), torch.empty_like(weight)),
    cuda=True,
)
_sandwich_backward = define(
    "sandwich_norm_backward(Tensor grad_h, Tensor grad_out, Tensor x, Tensor h, Tensor post_weight, Tensor weight, "
    "float eps) -> (Tensor, Tensor, Tensor, Tensor)",
    run_sandwich_backward,
    lambda grad_h, grad_out, x, h, post_weight, weight, eps: tuple(
        torch.empty_like(t) for t in (x, x, post_weight, weight)
    ),
    cuda=True,
)


def setup_rms_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.eps = inputs
    ctx.save_for_backward(x, weight)


def backward_rms_norm(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_backward(grad_out, None, *ctx.saved_tensors, ctx.eps), None


def setup_add_rms_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, weight, ctx.eps = inputs
    ctx.save_for_backward(output[1], weight)


def backward_add_rms_norm(ctx: Any, grad_out: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    grad, grad_weight = _backward(grad_out, grad_h, *ctx.saved_tensors, ctx.eps)
    return grad, grad, grad_weight, None


def setup_sandwich_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, _, post_weight, weight, ctx.eps = inputs
    ctx.save_for_backward(x, output[0], post_weight, weight)


def backward_sandwich_norm(ctx: Any, grad_h: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
    return *_sandwich_backward(grad_h, grad_out, *ctx.saved_tensors, ctx.eps), None


_rms_norm = define(
    "rms_norm(Tensor x, Tensor weight, float eps) -> Tensor",
    run_rms_norm,
    lambda x, weight, eps: torch.empty_like(x),
    reference.rms_norm,
    backward_rms_norm,
    setup_rms_norm,
    cuda=True,
)
_add_rms_norm = define(
    "add_rms_norm(Tensor x, Tensor residual, Tensor weight, float eps) -> (Tensor, Tensor)",
    run_add_rms_norm,
    lambda x, residual, weight, eps: (torch.empty_like(x), torch.empty_like(x)),
    reference.add_rms_norm,
    backward_add_rms_norm,
    setup_add_rms_norm,
    cuda=True,
)
_sandwich_norm = define(
    "sandwich_norm(Tensor x, Tensor residual, Tensor post_weight, Tensor weight, float eps) -> (Tensor, Tensor)",
    run_sandwich_norm,
    lambda x, residual, post_weight, weight, eps: (torch.empty_like(x), torch.empty_like(x)),
    reference.sandwich_norm,
    backward_sandwich_norm,
    setup_sandwich_norm,
    cuda=True,
)
