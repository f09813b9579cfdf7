"""Attention inside each packed sequence, in tiles with a running soft-max (FlashAttention-2, arXiv 2307.08691).

Nothing quadratic is stored: the backward pass computes the probabilities again from the saved log-sum-exp.
"""

from typing import Any

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import (
    check_device,
    check_dtype,
    check_float,
    check_like,
    check_shape,
    define,
    dense_heads,
    native,
    native_for,
)

HEAD_DIMS = range(8, 257, 8)
# Of the query heads that share a head of keys, those whose gradients of keys and values one CUDA block adds. With
# fewer, more blocks share the work and more partial sums are written: for a head of 128, 1 KB for each key and part.
HEADS_PER_SUM = 4


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale * q k^T) v for every sequence by itself; H / Hkv neighbouring query heads share a key/value head.

    q [Tq, H, D], k and v [Tk, Hkv, D]: float32, bfloat16 or float16, alike; H a multiple of Hkv, D a multiple of 8 up
    to 256; any stride between tokens. cu_seqlens_q, cu_seqlens_k int32 [N+1]: where sequences start in q and in k
    (the same where cu_seqlens_k is None). causal: the last query sees all keys, the one before one key fewer; a query
    that sees none gives 0. scale: D**-0.5 by default. Returns [Tq, H, D]. A token's result has the same bits whatever
    else is in the batch and for every number of threads.
    Raises ValueError for other shapes, types or devices and for cu_seqlens that do not start at 0, descend, or do not
    end at Tq and Tk. Source: arXiv 2307.08691; agrees with torch's scaled_dot_product_attention.
    """
    cu_seqlens_k = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
    check_heads(q, k=k)
    check_shape("k", k, ("Tk", "Hkv", q.shape[2]))
    check_shape("v", v, k.shape)
    check_shape("cu_seqlens_q", cu_seqlens_q, ("N + 1",))
    check_shape("cu_seqlens_k", cu_seqlens_k, cu_seqlens_q.shape)
    check_dtype("cu_seqlens_q", cu_seqlens_q, torch.int32)
    check_dtype("cu_seqlens_k", cu_seqlens_k, torch.int32)
    check_like("q", q, k=k, v=v)
    check_device("q", q, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
    return _packed_attention(q, k, v, cu_seqlens_q, cu_seqlens_k, causal, scale_of(q, scale))[0]


def check_heads(q: Tensor, **keys: Tensor) -> None:
    """q [T, H, D] with a head size that kernels have; the last but one dimension of `keys` divides its heads."""
    check_float("q", q)
    check_shape("q", q, ("T", "H", "D"))
    if q.shape[2] not in HEAD_DIMS:
        raise ValueError(f"q: has heads of {q.shape[2]}; expected a multiple of 8 up to 256")
    for name, tensor in keys.items():
        heads = tensor.shape[-2] if tensor.ndim > 1 else 0
        if heads == 0 or q.shape[1] % heads or q.shape[1] == 0:
            raise ValueError(f"{name}: has {heads} heads; expected a divisor of the {q.shape[1]} heads of q")


def scale_of(q: Tensor, scale: float | None) -> float:
    return q.shape[2] ** -0.5 if scale is None else scale


# kernels ------------------------------------------------------------------------------------------------------------


def kernel_type(x: Tensor) -> Tensor:
    """`x` as the CPU's kernels take it: heads dense; float16 has no kernels there and becomes float32."""
    return dense_heads(x.float() if x.dtype == torch.float16 else x)


def aligned(x: Tensor) -> Tensor:
    """[T, H, D] as CUDA kernels take it: heads dense, and every token at a multiple of 16 bytes."""
    x = dense_heads(x)
    return (
        x
        if (x.data_ptr() | x.stride(0) * x.element_size()) % 16 == 0
        else x.clone(memory_format=torch.contiguous_format)
    )


def positive(q: Tensor, scale: float) -> tuple[Tensor, float, float]:
    """`q` and `scale` with the same products and a scale above 0, which CUDA kernels need; the factor that q took."""
    if scale > 0:
        return q, scale, 1.0
    factor = -1.0 if scale < 0 else 0.0
    return q * factor, -scale if scale < 0 else 1.0, factor


def workspace_for(q: Tensor, k: Tensor, cu_seqlens_q: Tensor) -> Tensor | None:
    """Where the sm_90a kernels list the tiles of all sequences, 8 bytes for each tile of 64 tokens."""
    if native_for(q) is native:
        return None
    return q.new_empty(16 + 8 * (max(len(q), len(k)) // 64 + len(cu_seqlens_q)), dtype=torch.uint8)


def run_packed_attention(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    kernels = native_for(q)
    if kernels is native:
        queries, keys, values = (kernel_type(x) for x in (q, k, v))
    else:
        q, scale, _ = positive(q, scale)
        queries, keys, values = (aligned(x) for x in (q, k, v))
    out = queries.new_empty(q.shape)
    log_sum_exp = q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)
    cu_seqlens = (cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous())
    workspace = workspace_for(q, k, cu_seqlens_q)
    kernels.packed_attention(queries, keys, values, out, log_sum_exp, *cu_seqlens, causal, scale, workspace)
    return out.to(q.dtype), log_sum_exp


def run_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    log_sum_exp: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    kernels = native_for(q)
    factor = 1.0
    sums: list[Tensor | None]
    if kernels is native:
        tensors = [kernel_type(x) for x in (grad_out, q, k, v, out)]
        gradients = [x.new_empty(x.shape) for x in tensors[1:4]]
        sums = [x if x.dtype == torch.float32 else x.new_empty(x.shape, dtype=torch.float32) for x in gradients]
    else:
        q, scale, factor = positive(q, scale)
        tensors = [aligned(x) for x in (grad_out, q, k, v, out)]
        gradients = [x.new_empty(x.shape) for x in tensors[1:4]]
        parts = -(-q.shape[1] // k.shape[1] // HEADS_PER_SUM)
        sums = [None, None, None]
        if parts > 1:
            sums[1:] = k.new_empty(2, parts, *k.shape, dtype=torch.float32).unbind()
    kernels.packed_attention_backward(
        *tensors, log_sum_exp, torch.empty_like(log_sum_exp), *gradients, *sums,
        cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous(), causal, scale, workspace_for(q, k, cu_seqlens_q),
    )  # fmt: skip
    grad_q, grad_k, grad_v = (gradient.to(q.dtype) for gradient in gradients)
    return grad_q if factor == 1 else grad_q * factor, grad_k, grad_v


# registration -------------------------------------------------------------------------------------------------------


def meta(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)


def meta_backward(grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


_backward = define(
    "packed_attention_backward(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor log_sum_exp, "
    "Tensor cu_seqlens_q, Tensor cu_seqlens_k, bool causal, float scale) -> (Tensor, Tensor, Tensor)",
    run_backward,
    meta_backward,
    cuda=True,
)


def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, cu_seqlens_q, cu_seqlens_k, ctx.causal, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, cu_seqlens_q, cu_seqlens_k)


def backward(ctx: Any, grad_out: Tensor, grad_log_sum_exp: Tensor | None) -> tuple[Tensor | None, ...]:
    return *_backward(grad_out, *ctx.saved_tensors, ctx.causal, ctx.scale), None, None, None, None


def twin(*arguments: Any) -> tuple[Tensor, None]:
    return reference.packed_attention(*arguments), None


_packed_attention = define(
    "packed_attention(Tensor q, Tensor k, Tensor v, Tensor cu_seqlens_q, Tensor cu_seqlens_k, bool causal, "
    "float scale) -> (Tensor, Tensor)",
    run_packed_attention,
    meta,
    twin,
    backward,
    setup,
    cuda=True,
)
