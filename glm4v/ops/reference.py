"""Plain-torch twins of every operator, in the contract's names: oracle of the tests (in float64) and fallback on
devices for which no native kernels were built. Differentiable by torch's own autograd. They assume checked arguments.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 14
MERGE = 2
IGNORE = -100


class Patches(NamedTuple):
    """What `patchify` returns: patches in merge order and their grids in patches, (t, h, w) a row."""

    image_patches: Tensor  # [Pi, 3*1*14*14]
    video_patches: Tensor  # [Pv, 3*2*14*14]
    image_grid_thw: Tensor  # [Ni, 3] int64
    video_grid_thw: Tensor  # [Nv, 3] int64


def wide(x: Tensor) -> Tensor:
    """`x` in the type in which mathematics is done: float64 stays, everything else becomes float32."""
    return x if x.dtype == torch.float64 else x.float()


def bounds(cu_seqlens: Tensor) -> list[tuple[int, int]]:
    """First and one-past-last token of each sequence."""
    return list(pairwise(cu_seqlens.tolist()))


def merge_order(grid_thw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and number of its grid for every patch of `grid_thw` [N, 3], in merge order, each [P]."""
    rows, columns, grids = [], [], []
    for index, (t, h, w) in enumerate(grid_thw.tolist()):
        row = torch.arange(h).view(h // MERGE, 1, MERGE, 1).expand(h // MERGE, w // MERGE, MERGE, MERGE)
        column = torch.arange(w).view(1, w // MERGE, 1, MERGE).expand_as(row)
        rows.append(row.reshape(-1).repeat(t))
        columns.append(column.reshape(-1).repeat(t))
        grids.append(torch.full((t * h * w,), index))
    empty = torch.zeros(0, dtype=torch.int64)
    return tuple(torch.cat([empty, *part]).to(grid_thw.device) for part in (rows, columns, grids))  # type: ignore[return-value]


# patches ------------------------------------------------------------------------------------------------------------


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """uint8 [F, H, W, 3] -> uint8 [F, height, width, 3]: bicubic, antialiased, the bits of Pillow 13.

    The width comes first, except where the height loses more than twice the pixels it loses (Pillow's #9549).
    """
    rows_lost, columns_lost = frames.shape[1] - height, frames.shape[2] - width
    axes = [(2, width), (1, height)]
    for dim, side in reversed(axes) if rows_lost > 2 * max(columns_lost, 0) else axes:
        if frames.shape[dim] != side:
            frames = _resample(frames, dim, side)
    return frames


def _resample(frames: Tensor, dim: int, side: int) -> Tensor:
    """One axis of uint8 [F, H, W, 3] to `side` pixels in PIL's arithmetic: 22-bit fixed point, rounded once an axis."""
    count = frames.shape[dim]
    scale = count / side
    support = 2 * max(scale, 1.0)  # Keys' cubic (a = -0.5), stretched over the pixels that one output pixel covers
    centre = (torch.arange(side, dtype=torch.float64) + 0.5) * scale
    first = (centre - support + 0.5).long().clamp(min=0)
    last = (centre + support + 0.5).long().clamp(max=count)
    index = first[:, None] + torch.arange(int((last - first).max()))  # [side, taps]
    x = ((index + 0.5 - centre[:, None]) / max(scale, 1.0)).abs()
    cubic = torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, torch.where(x < 2, ((2.5 - 0.5 * x) * x - 4) * x + 2, 0.0))
    cubic = cubic.where(index < last[:, None], 0.0)
    weights = (cubic / cubic.sum(1, keepdim=True) * (1 << 22)).round().int()
    index = index.clamp(max=count - 1)
    total = torch.tensor(1 << 21, dtype=torch.int32)
    for tap in range(index.shape[1]):
        total = total + frames.index_select(dim, index[:, tap]) * weights[:, tap].view(-1, *[1] * (3 - dim))
    return (total >> 22).clamp(0, 255).to(torch.uint8)


def patchify(
    images: Sequence[Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    sizes: Sequence[tuple[int, int]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Patches:
    patches: dict[int, list[Tensor]] = {1: [torch.zeros(0, 3 * PATCH * PATCH)], 2: [torch.zeros(0, 6 * PATCH * PATCH)]}
    grids: dict[int, list[tuple[int, int, int]]] = {1: [], 2: []}
    scale = 1 / (255 * torch.tensor(std))
    shift = -torch.tensor(mean) / torch.tensor(std)
    for index, image in enumerate(images):
        span = 1 if image.ndim == 3 else 2  # frames a patch
        frames = image if image.ndim == 4 else image[None]
        height, width = sizes[index] if sizes is not None else frames.shape[1:3]
        frames = resize(frames, height, width)
        if len(frames) % span:
            frames = torch.cat([frames, frames[-1:]])
        pixels = frames * scale + shift
        t, h, w = len(frames) // span, height // PATCH, width // PATCH
        blocks = pixels.view(t, span, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
        patches[span].append(blocks.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(t * h * w, -1))
        grids[span].append((t, h, w))
    return Patches(
        *(torch.cat(patches[span]).to(dtype) for span in (1, 2)),
        *(torch.tensor(grids[span], dtype=torch.int64).view(-1, 3) for span in (1, 2)),
    )


def patch_embed(patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    w = wide(weight)  # [C, 3, 2, 14, 14]
    if patches.shape[1] == w[:, :, 0].numel() // len(w):
        w = w.sum(dim=2)  # a still image is two equal frames
    return (wide(patches) @ w.flatten(1).T + wide(bias)).to(patches.dtype)


def add_position_embedding(x: Tensor, table: Tensor, grid_thw: Tensor) -> Tensor:
    side = math.isqrt(len(table))
    row, column, grid = merge_order(grid_thw)
    shape = grid_thw[grid].to(wide(table).dtype)
    points = torch.stack([(column + 0.5) / shape[:, 2], (row + 0.5) / shape[:, 1]], dim=-1) * 2 - 1  # [P, 2]
    plane = wide(table).T.reshape(1, -1, side, side)
    sampled = F.grid_sample(plane, points[None, :, None], mode="bicubic", align_corners=False, padding_mode="border")
    return (wide(x) + sampled[0, :, :, 0].T).to(x.dtype)


# rotary embeddings --------------------------------------------------------------------------------------------------


def rope_2d(q: Tensor, k: Tensor, grid_thw: Tensor, theta: float = 10000.0) -> tuple[Tensor, Tensor]:
    half = q.shape[-1] // 2
    row, column, _ = merge_order(grid_thw)
    frequency = theta ** (-torch.arange(0, half, 2, device=q.device).to(wide(q).dtype) / half)  # [D/4]
    angle = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=-1)[:, None]  # [P, 1, D/2]

    def rotate(x: Tensor) -> Tensor:
        a, b = wide(x).split(half, dim=-1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1).to(x.dtype)

    return rotate(q), rotate(k)


def rope_3d(
    q: Tensor, k: Tensor, position_ids: Tensor, sections: Sequence[int], rotary_dim: int, theta: float = 10000.0
) -> tuple[Tensor, Tensor]:
    axis = torch.repeat_interleave(torch.arange(3), torch.tensor(sections)).to(q.device)  # [rotary_dim / 2]
    frequency = theta ** (-torch.arange(0, rotary_dim, 2, device=q.device).to(wide(q).dtype) / rotary_dim)
    angle = position_ids[axis].T * frequency  # [T, rotary_dim / 2]
    # cos and sin are rounded to the activations' type first, as transformers does
    cos, sin = wide(angle.cos().to(q.dtype))[:, None], wide(angle.sin().to(q.dtype))[:, None]

    def rotate(x: Tensor) -> Tensor:
        even, odd = wide(x[..., 0:rotary_dim:2]), wide(x[..., 1:rotary_dim:2])
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
        return torch.cat([turned.to(x.dtype), x[..., rotary_dim:]], dim=-1)

    return rotate(q), rotate(k)


# attention ----------------------------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    """One sequence: [Tq, H, D], [Tk, Hkv, D] -> [Tq, H, D]; causal masks are aligned to the bottom right."""
    group = q.shape[1] // k.shape[1]
    keys, values = (wide(x).repeat_interleave(group, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", wide(q), keys) * scale
    if causal:
        allowed = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).tril(len(k) - len(q))
        scores = scores.masked_fill(~allowed, -math.inf)
        probabilities = scores.softmax(dim=-1).masked_fill(~allowed, 0)  # a row without keys: 0, not NaN
    else:
        probabilities = scores.softmax(dim=-1)
    return torch.einsum("hqk,khd->qhd", probabilities, values).to(q.dtype)


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    spans = zip(bounds(cu_seqlens_q), bounds(cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k), strict=True)
    parts = [attend(q[a:b], k[c:d], v[c:d], causal, scale) for (a, b), (c, d) in spans]
    return torch.cat([q[:0], *parts])


def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    key_lengths: Tensor,
    scale: float | None = None,
) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    parts = []
    for (a, b), blocks, length in zip(bounds(cu_seqlens_q), block_table, key_lengths.tolist(), strict=True):
        k, v = (cache[blocks[: -(-length // cache.shape[1])]].flatten(0, 1)[:length] for cache in (k_cache, v_cache))
        parts.append(attend(q[a:b], k, v, True, scale))
    return torch.cat([q[:0], *parts])


# norms, activations, products ---------------------------------------------------------------------------------------


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    normed = wide(x) * torch.rsqrt(wide(x).square().mean(dim=-1, keepdim=True) + eps)
    return weight * normed.to(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    h = x + residual
    return rms_norm(h, weight, eps), h


def sandwich_norm(
    x: Tensor, residual: Tensor, post_weight: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    h = residual + rms_norm(x, post_weight, eps)
    return h, rms_norm(h, weight, eps)


def swiglu(gate_up: Tensor) -> Tensor:
    gate, up = wide(gate_up).chunk(2, dim=-1)
    return (F.silu(gate) * up).to(gate_up.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    log_p = (F.linear(wide(x), wide(weight)) / temperature).log_softmax(dim=-1)  # [T, V]
    counts = targets != IGNORE
    picked = log_p.gather(1, targets.clamp(min=0)[:, None])[:, 0]
    log_probs = torch.where(counts, picked, 0)
    entropy = torch.where(counts, -(log_p.exp() * log_p).sum(dim=-1), 0)
    return -log_probs, log_probs, entropy


# sampling -----------------------------------------------------------------------------------------------------------

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # increment of SplitMix64 and its two multipliers, as signed 64-bit numbers
MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
BITS = 52  # of a uniform number: u * total stays below total in float64, so the last token cannot be overrun


def uniform(seeds: Tensor, steps: Tensor) -> Tensor:
    """One number in [0, 1) for each pair of int64 [N]: [N] float64."""
    z = seeds + (steps + 1) * GOLDEN  # int64 wraps around
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        z = (z ^ shift_right(z, shift)) * multiplier
    z = z ^ shift_right(z, 31)
    return shift_right(z, 64 - BITS).double() * 2.0**-BITS


def shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own fills with the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """`probabilities` [N, V] with 0 outside of the smallest set of likeliest tokens that holds `top_p`."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
    kept = ordered.masked_fill(before >= top_p, 0)
    kept[:, 0] = ordered[:, 0]
    return torch.zeros_like(kept).scatter_(1, order, kept)


def sample_tokens(
    logits: Tensor,
    temperature: float,
    top_p: float,
    repetition_penalty: float,
    seeds: Tensor,
    steps: Tensor,
    seen: Tensor | None = None,
    banned: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    scores = wide(logits)
    log_p = (scores / (temperature or 1.0)).log_softmax(dim=-1)
    if seen is not None:
        penalised = torch.where(scores < 0, scores * repetition_penalty, scores / repetition_penalty)
        scores = torch.where(seen, penalised, scores)
    if banned is not None:
        scores = scores.masked_fill(banned, -torch.inf)
    if temperature == 0:
        tokens = scores.argmax(dim=-1)
    else:
        weights = (scores / temperature).softmax(dim=-1)
        if top_p < 1:
            weights = nucleus(weights, top_p)
        cumulative = weights.cumsum(dim=-1, dtype=torch.float64)
        target = uniform(seeds, steps) * cumulative[:, -1]
        tokens = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
        tokens = tokens.clamp(max=logits.shape[1] - 1)  # only where logits are not finite; the log-probability tells
    return tokens, log_p.gather(1, tokens[:, None])[:, 0].float()
