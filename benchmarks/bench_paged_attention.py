"""paged_attention against gathering each sequence's blocks and calling scaled_dot_product_attention."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Case
from glm4v.benchmarks.shapes import cases_of
from glm4v.data.packing import cumulative

BLOCK = 64
SEQUENCES = 32


def gathered(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, table: Tensor, bounds: list[int], lengths: list[int]
) -> Tensor:
    group = q.shape[1] // k_cache.shape[2]
    parts = []
    for (a, b), blocks, length in zip(pairwise(bounds), table, lengths, strict=True):
        k, v = (
            cache[blocks].flatten(0, 1)[:length].repeat_interleave(group, dim=1).transpose(0, 1)[None]
            for cache in (k_cache, v_cache)
        )
        mask = torch.ones(b - a, length, dtype=torch.bool).tril(length - (b - a))
        queries = q[a:b].transpose(0, 1)[None]
        parts.append(F.scaled_dot_product_attention(queries, k, v, attn_mask=mask)[0].transpose(0, 1))
    return torch.cat(parts)


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        keys = 4096 if harness.on_gpu() else 512 if sizes.name == "9B" else 192
        for new in (1, 4):
            lengths = [keys - 3 * i for i in range(SEQUENCES)]
            blocks = keys // BLOCK
            table = torch.randperm(SEQUENCES * blocks).view(SEQUENCES, blocks).int()
            caches = [torch.randn(table.numel(), BLOCK, sizes.kv_heads, sizes.head_dim, dtype=dtype) for _ in range(2)]
            q = torch.randn(SEQUENCES * new, sizes.heads, sizes.head_dim, dtype=dtype)
            cu_seqlens, key_lengths = cumulative([new] * SEQUENCES), torch.tensor(lengths, dtype=torch.int32)
            bounds = cu_seqlens.tolist()
            read = 2 * sum(lengths) * sizes.kv_heads * sizes.head_dim * dtype.itemsize
            yield Case(
                "paged_attention", "forward", dtype, f"{sizes.name}: {SEQUENCES} x {new} tokens, {keys} keys",
                "blocks gathered, scaled_dot_product_attention",
                lambda a=(q, *caches, table, cu_seqlens, key_lengths): ops.paged_attention(*a),
                lambda a=(q, *caches, table, bounds, lengths): gathered(*a),
                bytes=read + 2 * q.numel() * dtype.itemsize,
                flops=4.0 * new * sum(lengths) * sizes.heads * sizes.head_dim,
            )  # fmt: skip
