"""packed_attention against scaled_dot_product_attention, sequence by sequence."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
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


def by_sequence(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], causal: bool) -> Tensor:
    """Heads that share keys get copies of them: torch's fused CPU attention knows no groups."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, H, T, D]
    pieces = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
    parts = [F.scaled_dot_product_attention(a, b, c, is_causal=causal) for a, b, c in pieces]
    return torch.cat(parts, dim=2)[0].transpose(0, 1)


def cases() -> Iterator[Case]:
    for name, heads, kv_heads, width, lengths, causal in MIXES:
        cu_seqlens = cumulative(lengths)
        tokens = sum(lengths)
        flops = 4.0 * heads * width * sum(length**2 for length in lengths) / (2 if causal else 1)
        for dtype in DTYPES:
            q, k, v = (torch.randn(tokens, h, width, dtype=dtype) for h in (heads, kv_heads, kv_heads))
            size = q.element_size() * (2 * q.numel() + k.numel() + v.numel())
            yield from both_directions(
                "packed_attention", name, "scaled_dot_product_attention by sequence",
                lambda q, k, v, cu=cu_seqlens, causal=causal: ops.packed_attention(q, k, v, cu, causal=causal),
                lambda q, k, v, n=lengths, causal=causal: by_sequence(q, k, v, n, causal),
                (q, k, v), (size, 2 * size), (flops, 2.5 * flops),
            )  # fmt: skip
