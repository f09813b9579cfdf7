"""The 3D patch convolution, whose stride is its kernel, as a matrix product.

A still image is two equal frames: its two temporal weight slices are summed once (in float32), which halves the work;
its gradient goes to both slices. The folded weight is never rounded to 16 bits, which would cost half as much error
again: patches of still images are doubled where the device multiplies their type, else widened, a block at a time.
A fused kernel (GLM4V_FUSED=1) multiplies both slices by patches as they are.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import aligned_rows, check_float, check_like, check_shape, define, fuses, native_for
from glm4v.ops.linear import linear, product, widens

BLOCK = {"cpu": 4096, "cuda": 65536}  # patches widened or doubled at a time


def patch_embed(patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Patches to embeddings.

    patches [P, 3*1*14*14] of still images or [P, 3*2*14*14] of frame pairs, ordered channel, frame, row, column;
    weight [C, 3, 2, 14, 14], bias [C]: float32, bfloat16 or float16, alike. Returns [P, C].
    Raises ValueError for other shapes, types or devices. Source: transformers' Glm4vVisionPatchEmbed.
    """
    check_float("patches", patches)
    if weight.ndim != 5 or weight.shape[2] != 2:
        raise ValueError(f"weight: has shape {list(weight.shape)}; expected [C, 3, 2, 14, 14]")
    full = weight[0].numel()
    if patches.ndim != 2 or patches.shape[1] not in (full // 2, full):
        raise ValueError(f"patches: has shape {list(patches.shape)}; expected [P, {full // 2}] or [P, {full}]")
    check_shape("bias", bias, weight.shape[:1])
    check_like("patches", patches, weight=weight, bias=bias)
    if patches.shape[1] == full:
        return linear(patches, weight.flatten(1), bias)
    return _patch_embed(patches, weight, bias)


def folded(weight: Tensor) -> Tensor:
    """[C, 3, 2, 14, 14] -> float32 [C, 3*14*14]."""
    return weight.sum(dim=2, dtype=torch.float32).flatten(1)


def doubled(patches: Tensor, shape: torch.Size) -> Tensor:
    """Still patches [P, 3*14*14] as two equal frames in the order of a weight of `shape`: [P, 3*2*14*14]."""
    _, channels, frames, height, width = shape
    one_frame = patches.view(len(patches), channels, 1, height * width)
    return one_frame.expand(-1, -1, frames, -1).flatten(1)


def multiplies_half(x: Tensor) -> bool:
    """Whether the 16-bit type of `x` is multiplied as it is."""
    if x.device.type == "cpu":
        return x.dtype == torch.bfloat16 and not widens(x)
    return x.dtype != torch.float32


def interleaved(weight: Tensor) -> Tensor:
    """Both temporal slices as rows: [2 * C, 3*14*14], eight channels of one after eight of the other."""
    slices = weight.flatten(3).unflatten(0, (-1, 8)).permute(0, 3, 1, 2, 4)  # [C / 8, frames, 8, colours, pixels]
    return slices.reshape(2 * weight.shape[0], -1)


def run_fused(patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    slices, offset = aligned_rows(interleaved(weight)), aligned_rows(bias[None])[0]
    out = patches.new_empty(patches.shape[0], weight.shape[0])
    size = BLOCK[patches.device.type]
    for start in range(0, patches.shape[0], size):
        block = slice(start, start + size)
        native_for(patches).fused_patch_embed(aligned_rows(patches[block]), slices, offset, out[block])
    return out


def run_patch_embed(patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if fuses(patches) and weight.shape[0] % 8 == 0:
        return run_fused(patches, weight, bias)
    if multiplies_half(patches):
        matrix, offset = weight.flatten(1), bias
        operand = lambda block: doubled(block, weight.shape)
    else:
        matrix, offset = folded(weight), bias.float()
        operand = Tensor.float
    size = BLOCK[patches.device.type]
    if patches.shape[0] <= size:
        return product(operand(patches), matrix, offset).to(patches.dtype)
    out = patches.new_empty(patches.shape[0], weight.shape[0])
    for start in range(0, patches.shape[0], size):
        out[start : start + size] = product(operand(patches[start : start + size]), matrix, offset)
    return out


def whole_vectors(patches: Tensor) -> Tensor:
    """On a GPU with columns of 0 that fill rows up to 16 bytes, which products in 16 bits there are fast on."""
    missing = -patches.shape[1] % 8
    return F.pad(patches, (0, missing)) if patches.is_cuda and missing else patches


def run_grad_weight(grad: Tensor, patches: Tensor, weight: Tensor) -> Tensor:
    if multiplies_half(patches):
        total = (grad.T @ whole_vectors(patches))[:, : patches.shape[1]]  # float32 inside, rounded once
    else:
        total = grad.new_zeros(weight.shape[0], patches.shape[1], dtype=torch.float32)
        size = BLOCK[patches.device.type]
        for start in range(0, patches.shape[0], size):
            block = slice(start, start + size)
            total += product(grad[block].float().T, patches[block].float().T)
    one_slice = total.reshape(weight.shape[0], weight.shape[1], 1, *weight.shape[3:])
    return one_slice.expand(weight.shape).to(weight.dtype, memory_format=torch.contiguous_format).contiguous()


_grad_weight = define(
    "patch_embed_grad_weight(Tensor grad, Tensor patches, Tensor weight) -> Tensor",
    run_grad_weight,
    lambda grad, patches, weight: weight.new_empty(weight.shape),
    cuda=True,
)


def setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    patches, weight, _ = inputs
    ctx.save_for_backward(patches, weight)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    patches, weight = ctx.saved_tensors
    need_patches, need_weight, need_bias = ctx.needs_input_grad
    return (
        product(grad.float(), folded(weight).T).to(grad.dtype) if need_patches else None,
        _grad_weight(grad, patches, weight) if need_weight else None,
        grad.sum(dim=0, dtype=torch.float32).to(grad.dtype) if need_bias else None,
    )


_patch_embed = define(
    "patch_embed(Tensor patches, Tensor weight, Tensor bias) -> Tensor",
    run_patch_embed,
    lambda patches, weight, bias: patches.new_empty(patches.shape[0], weight.shape[0]),
    reference.patch_embed,
    backward,
    setup,
    cuda=True,
)
