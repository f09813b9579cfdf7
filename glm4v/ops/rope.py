"""Rotary position embeddings of queries and keys in one call: 2D for vision patches, 3D for text tokens.

The gradient is the rotation by the opposite angle, so nothing is saved but the positions.
"""

from collections.abc import Sequence
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
    check_values,
    define,
    dense_heads,
    native_for,
    through_float32,
)


def rope_2d(q: Tensor, k: Tensor, grid_thw: Tensor, theta: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Rotates the heads of vision patches by their row and column.

    q [P, H, D], k [P, Hkv, D], D a multiple of 4 up to 256, in merge order, any stride between patches; grid_thw
    int64 [N, 3], rows of (t, h, w) in patches. The angle vector is [D/4 height angles, D/4 width angles], frequencies
    theta^(-2i / (D/2)); the halves of a head rotate against each other. Returns q and k rotated.
    Raises ValueError for other shapes, types or devices and where the grids do not hold P patches.
    Source: transformers' Glm4vVisionRotaryEmbedding and apply_rotary_pos_emb_vision.
    """
    check_heads(q, k)
    if q.shape[2] % 4:
        raise ValueError(f"q: has heads of {q.shape[2]}; expected a multiple of 4")
    check_shape("grid_thw", grid_thw, ("N", 3))
    check_dtype("grid_thw", grid_thw, torch.int64)
    check_device("q", q, grid_thw=grid_thw)
    return _rope_2d(q, k, grid_thw, theta, False)


def rope_3d(
    q: Tensor, k: Tensor, position_ids: Tensor, sections: Sequence[int], rotary_dim: int, theta: float = 10000.0
) -> tuple[Tensor, Tensor]:
    """Rotates the first rotary_dim places of text heads by their temporal, height and width position.

    q [T, H, D], k [T, Hkv, D], D up to 256, any stride between tokens; position_ids int64 [3, T]; sections: how many of
    the rotary_dim / 2 frequencies theta^(-2i / rotary_dim) belong to each axis, e.g. (8, 12, 12). Neighbouring pairs
    rotate together; cosine and sine are rounded to the activations' type. Returns q and k rotated.
    Raises ValueError for other shapes, types or devices and for sections that do not add up to rotary_dim / 2.
    Source: transformers' Glm4vTextRotaryEmbedding and apply_rotary_pos_emb.
    """
    check_heads(q, k)
    check_shape("position_ids", position_ids, (3, q.shape[0]))
    check_dtype("position_ids", position_ids, torch.int64)
    check_device("q", q, position_ids=position_ids)
    if rotary_dim % 2 or not 0 <= rotary_dim <= q.shape[2]:
        raise ValueError(f"rotary_dim: is {rotary_dim}; expected an even number up to the heads' {q.shape[2]}")
    if len(sections) != 3 or min(sections) < 0 or 2 * sum(sections) != rotary_dim:
        raise ValueError(f"sections: are {tuple(sections)}; expected three numbers that add up to {rotary_dim // 2}")
    return _rope_3d(q, k, position_ids, list(sections), rotary_dim, theta, False)


def check_heads(q: Tensor, k: Tensor) -> None:
    check_float("q", q)
    check_shape("q", q, ("T", "H", "D"))
    check_shape("k", k, (q.shape[0], "Hkv", q.shape[2]))
    check_like("q", q, k=k)
    if not 0 < q.shape[2] <= 256:
        raise ValueError(f"q: has heads of {q.shape[2]}; expected 1 to 256")


def empty_heads(q: Tensor, k: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape)


# kernels ------------------------------------------------------------------------------------------------------------


@through_float32
def run_rope_2d(q: Tensor, k: Tensor, grid_thw: Tensor, theta: float, inverse: bool) -> tuple[Tensor, Tensor]:
    out = empty_heads(q, k)
    check_values("check_grids", grid_thw, q.shape[0])
    native_for(q).rope_2d(dense_heads(q), dense_heads(k), grid_thw.contiguous(), *out, theta, inverse)
    return out


@through_float32
def run_rope_3d(
    q: Tensor, k: Tensor, position_ids: Tensor, sections: list[int], rotary_dim: int, theta: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    out = empty_heads(q, k)
    position_ids = position_ids.contiguous()
    native_for(q).rope_3d(dense_heads(q), dense_heads(k), position_ids, *out, sections, rotary_dim, theta, inverse)
    return out


# registration -------------------------------------------------------------------------------------------------------


def setup_2d(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, grid_thw, ctx.theta, ctx.inverse = inputs
    ctx.save_for_backward(grid_thw)


def backward_2d(ctx: Any, grad_q: Tensor, grad_k: Tensor) -> tuple[Tensor | None, ...]:
    (grid_thw,) = ctx.saved_tensors
    return *_rope_2d(grad_q, grad_k, grid_thw, ctx.theta, not ctx.inverse), None, None, None


def setup_3d(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, position_ids, *ctx.settings, ctx.inverse = inputs
    ctx.save_for_backward(position_ids)


def backward_3d(ctx: Any, grad_q: Tensor, grad_k: Tensor) -> tuple[Tensor | None, ...]:
    (position_ids,) = ctx.saved_tensors
    return *_rope_3d(grad_q, grad_k, position_ids, *ctx.settings, not ctx.inverse), None, None, None, None, None


_rope_2d = define(
    "rope_2d(Tensor q, Tensor k, Tensor grid_thw, float theta, bool inverse) -> (Tensor, Tensor)",
    run_rope_2d,
    empty_heads,
    lambda q, k, grid_thw, theta, inverse: reference.rope_2d(q, k, grid_thw, theta),
    backward_2d,
    setup_2d,
    cuda=True,
)
_rope_3d = define(
    "rope_3d(Tensor q, Tensor k, Tensor position_ids, int[] sections, int rotary_dim, float theta, bool inverse) "
    "-> (Tensor, Tensor)",
    run_rope_3d,
    empty_heads,
    lambda q, k, position_ids, sections, rotary_dim, theta, inverse: reference.rope_3d(
        q, k, position_ids, sections, rotary_dim, theta
    ),
    backward_3d,
    setup_3d,
    cuda=True,
)
