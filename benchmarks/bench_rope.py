"""rope_2d and rope_3d against transformers' rotations, which get their cosines and sines ready-made."""

from collections.abc import Iterator

import torch
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions, with_compiled
from glm4v.benchmarks.shapes import Sizes, cases_of
from glm4v.ops.reference import merge_order

THETA = 10000.0
PEER = "transformers' rotation, cosines given"


def tables_2d(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Cosines and sines [P, 1, D] in float32, as transformers keeps them for the vision blocks."""
    half = sizes.vision_head_dim // 2
    row, column, _ = merge_order(sizes.grid_thw)
    frequency = THETA ** (-torch.arange(0, half, 2) / half)
    angle = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=-1).repeat(1, 2)[:, None]
    return angle.cos(), angle.sin()


def tables_3d(
    positions: Tensor, sections: tuple[int, ...], rotary_dim: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, rotary_dim] in the activations' type."""
    axis = torch.repeat_interleave(torch.arange(3), torch.tensor(sections))
    angle = positions[axis].T * THETA ** (-torch.arange(0, rotary_dim, 2) / rotary_dim)
    angle = angle.repeat_interleave(2, dim=-1)[:, None]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def turn_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat([-b, a], dim=-1) * sin).to(x.dtype)


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rotated, passed = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    turned = torch.stack((-rotated[..., 1::2], rotated[..., 0::2]), dim=-1).flatten(-2)
    return torch.cat([rotated * cos + turned * sin, passed], dim=-1)


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        grid_thw = sizes.grid_thw
        q, k = (torch.randn(sizes.patches, sizes.vision_heads, sizes.vision_head_dim, dtype=dtype) for _ in range(2))
        tables = tables_2d(sizes)
        moved = 2.0 * (q.numel() + k.numel()) * q.element_size()
        turn = lambda q, k, tables=tables: (turn_halves(q, *tables), turn_halves(k, *tables))
        for peer, theirs in with_compiled(PEER, turn, sizes, dtype):
            yield from both_directions(
                "rope_2d", sizes.vision, peer,
                lambda q, k, grid_thw=grid_thw: ops.rope_2d(q, k, grid_thw, THETA), theirs, (q, k), (moved, moved),
            )  # fmt: skip

        rotary_dim = sizes.head_dim // 2
        side = rotary_dim // 2 * 3 // 8
        sections = (rotary_dim // 2 - 2 * side, side, side)
        positions = torch.arange(sizes.tokens).expand(3, -1).contiguous()
        q, k = (torch.randn(sizes.tokens, h, sizes.head_dim, dtype=dtype) for h in (sizes.heads, sizes.kv_heads))
        tables = tables_3d(positions, sections, rotary_dim, dtype)
        moved = 2.0 * (q.numel() + k.numel()) * q.element_size()
        turn = lambda q, k, tables=tables: (turn_pairs(q, *tables), turn_pairs(k, *tables))
        for peer, theirs in with_compiled(PEER, turn, sizes, dtype):
            yield from both_directions(
                "rope_3d", sizes.text, peer,
                lambda q, k, p=positions, s=sections, r=rotary_dim: ops.rope_3d(q, k, p, s, r, THETA),
                theirs, (q, k), (moved, moved),
            )  # fmt: skip
