"""Adds the learned position table, bicubically adapted to each image's grid, to the patches."""

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
    native_for,
    through_float32,
)


def add_position_embedding(x: Tensor, table: Tensor, grid_thw: Tensor) -> Tensor:
    """x + table sampled at every patch's place in its image.

    x [P, C] in merge order, table [S*S, C] (S up to 256), alike; grid_thw int64 [N, 3], rows of (t, h, w) in patches.
    Patch (w, h) of a Wp x Hp grid samples the table at 2 * ((w + 0.5) / Wp, (h + 0.5) / Hp) - 1: bicubic, a = -0.75,
    border clamped, in float32. Returns [P, C]. The table's gradient has the same bits whatever the number of threads.
    Raises ValueError for other shapes, types or devices and where the grids do not hold P patches.
    Source: transformers' Glm4vVisionEmbeddings (torch's grid_sample, align_corners=False).
    """
    check_float("x", x)
    check_shape("x", x, ("P", "C"))
    check_shape("table", table, ("S*S", x.shape[1]))
    check_like("x", x, table=table)
    check_shape("grid_thw", grid_thw, ("N", 3))
    check_dtype("grid_thw", grid_thw, torch.int64)
    check_device("x", x, grid_thw=grid_thw)
    return _add_position_embedding(x, table, grid_thw)


@through_float32
def run_add_position_embedding(x: Tensor, table: Tensor, grid_thw: Tensor) -> Tensor:
    out = x.new_empty(x.shape)
    check_values("check_grids", grid_thw, x.shape[0])
    native_for(x).add_position_embedding(x.contiguous(), table.contiguous(), grid_thw.contiguous(), out)
    return out


@through_float32
def run_backward(grad: Tensor, grid_thw: Tensor, entries: int) -> Tensor:
    grad_table = grad.new_empty(entries, grad.shape[1], dtype=torch.float32)
    native_for(grad).add_position_embedding_backward(grad.contiguous(), grid_thw.contiguous(), grad_table)
    return grad_table.to(grad.dtype)


_backward = define(
    "add_position_embedding_backward(Tensor grad, Tensor grid_thw, int entries) -> Tensor",
    run_backward,
    lambda grad, grid_thw, entries: grad.new_empty(entries, grad.shape[1]),
    cuda=True,
)


def setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    _, table, grid_thw = inputs
    ctx.entries = table.shape[0]
    ctx.save_for_backward(grid_thw)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
    (grid_thw,) = ctx.saved_tensors
    return grad, _backward(grad, grid_thw, ctx.entries) if ctx.needs_input_grad[1] else None, None


_add_position_embedding = define(
    "add_position_embedding(Tensor x, Tensor table, Tensor grid_thw) -> Tensor",
    run_add_position_embedding,
    lambda x, table, grid_thw: x.new_empty(x.shape),
    reference.add_position_embedding,
    backward,
    setup,
    cuda=True,
)
