"""packed_attention against scaled_dot_product_attention, sequence by sequence."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import DTYPES
from glm4v.data.packing import cumulative

# name, heads, key/value heads, head size, lengths, causal
MIXES = (
    ("9B text, a quarter of its heads: 1 of 8192", 8, 1, 128, (8192,), True),
    ("9B text: 64 of 128", 32, 2, 128, (128,) * 64, True),
    ("9B vision: images of 64 to 5184", 12, 12, 128, (64, 256, 576, 1296, 5184), False),
    ("64 a head: 1 of 4096", 8, 8, 64, (4096,), False),
    ("demo text: 24 of 85", 6, 2, 32, (85,) * 24, True),
    ("demo vision: 24 of 160", 4, 4, 32, (160,) * 24, False),
)
# On a GPU: one length at a time, the vision packs seen in production, and images of very different sizes together.
ON_GPU = (
    *((f"9B text: {16384 // n} of {n}", 32, 2, 128, (n,) * (16384 // n), True) for n in (1024, 4096, 16384)),
    *((f"not causal: {16384 // n} of {n}", 32, 2, 128, (n,) * (16384 // n), False) for n in (1024, 4096, 16384)),
    *((f"9B vision: 1 of {n}", 12, 12, 128, (n,), False) for n in (8836, 15376, 35344)),
    ("9B vision: images of 64 to 15376", 12, 12, 128, (64,) * 32 + (256, 576, 1296, 5184, 15376), False),
    ("64 a head: 4 of 4096", 32, 32, 64, (4096,) * 4, True),
)


def by_sequence(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], causal: bool) -> Tensor:
    """Heads that share keys get copies of them: torch's fused CPU attention knows no groups."""
    group = q.shape[1] // k.shape[1]
    if harness.on_gpu() and len(set(lengths)) == 1:  # its best case there: one call, and it knows groups
        q, k, v = (x.unflatten(0, (len(lengths), -1)).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=group > 1)
        return out.transpose(1, 2).flatten(0, 1)
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, H, T, D]
    pieces = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
    parts = [F.scaled_dot_product_attention(a, b, c, is_causal=causal) for a, b, c in pieces]
    return torch.cat(parts, dim=2)[0].transpose(0, 1)


def peers(lengths: Sequence[int], causal: bool, dtype: torch.dtype) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """What else computes it here: torch's fused attention, and on a GPU flash-attn where it is installed."""
    yield "scaled_dot_product_attention by sequence", lambda q, k, v: by_sequence(q, k, v, lengths, causal)
    if harness.on_gpu() and dtype != torch.float32 and find_spec("flash_attn"):
        from flash_attn import flash_attn_varlen_func

        cu, most = cumulative(lengths), max(lengths)
        yield (
            "flash_attn_varlen_func",
            lambda q, k, v: flash_attn_varlen_func(q, k, v, cu, cu, most, most, causal=causal),
        )


def cases() -> Iterator[Case]:
    for name, heads, kv_heads, width, lengths, causal in ON_GPU if harness.on_gpu() else MIXES:
        cu_seqlens = cumulative(lengths)
        tokens = sum(lengths)
        flops = 4.0 * heads * width * sum(length**2 for length in lengths) / (2 if causal else 1)
        for dtype in DTYPES[1:] if harness.on_gpu() else DTYPES:  # float32 there is for checks, on no tensor cores
            q, k, v = (torch.randn(tokens, h, width, dtype=dtype) for h in (heads, kv_heads, kv_heads))
            size = q.element_size() * (2 * q.numel() + k.numel() + v.numel())
            ours = lambda q, k, v, cu=cu_seqlens, causal=causal: ops.packed_attention(q, k, v, cu, causal=causal)
            for peer, theirs in peers(lengths, causal, dtype):
                moved, counted = (size, 2 * size), (flops, 2.5 * flops)
                yield from both_directions("packed_attention", name, peer, ours, theirs, (q, k, v), moved, counted)
