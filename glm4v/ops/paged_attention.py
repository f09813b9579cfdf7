"""Attention of a few new tokens over a block table (PagedAttention, arXiv 2309.06180): what generation decodes with.

On the CPU it runs the same tiles in the same order as packed_attention: a token has the same bits in both. On CUDA
devices long sequences of keys are split among blocks, in a way that depends on the block table's width alone.
"""

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import check_device, check_dtype, check_like, check_shape, define, native, native_for
from glm4v.ops.packed_attention import aligned, check_heads, kernel_type, positive, scale_of

# Keys that one CUDA block attends to at least: the result that it leaves in memory, 8 KB for 16 heads of 128, is then a
# thirtieth of them.
KEYS_PER_SPLIT = 512
MOST_SPLITS = 64


def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    key_lengths: Tensor,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale * q k^T) v, the queries being the last tokens of their sequence's keys. Has no gradient.

    q [T, H, D] and the caches [blocks, block_size, Hkv, D]: float32, bfloat16 or float16, alike; H a multiple of Hkv,
    D a multiple of 8 up to 256. Key j of sequence n lies at place j % block_size of block
    block_table[n, j // block_size]; block_table int32 [N, max_blocks]; entries past a sequence's keys are not read.
    cu_seqlens_q int32 [N+1]: where sequences start in q. key_lengths int32 [N]: their keys, at least as many as
    queries. scale: D**-0.5 by default. Returns [T, H, D].
    Raises ValueError for other shapes, types or devices, for cu_seqlens_q that does not start at 0, descends or does
    not end at T, key_lengths that do not fit, and blocks that the cache does not have. Source: arXiv 2309.06180.
    """
    check_heads(q, k_cache=k_cache)
    check_shape("k_cache", k_cache, ("blocks", "block_size", "Hkv", q.shape[2]))
    check_shape("v_cache", v_cache, k_cache.shape)
    check_shape("key_lengths", key_lengths, ("N",))
    check_shape("cu_seqlens_q", cu_seqlens_q, (len(key_lengths) + 1,))
    check_shape("block_table", block_table, (len(key_lengths), "max_blocks"))
    indices = {"block_table": block_table, "cu_seqlens_q": cu_seqlens_q, "key_lengths": key_lengths}
    for name, tensor in indices.items():
        check_dtype(name, tensor, torch.int32)
    check_like("q", q, k_cache=k_cache, v_cache=v_cache)
    check_device("q", q, **indices)
    return _paged_attention(q, k_cache, v_cache, block_table, cu_seqlens_q, key_lengths, scale_of(q, scale))


def run_paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    key_lengths: Tensor,
    scale: float,
) -> Tensor:
    kernels = native_for(q)
    partial = log2_sums = None
    if kernels is native:
        queries = kernel_type(q)
        keys, values = (cache.to(queries.dtype).contiguous() for cache in (k_cache, v_cache))
    else:
        q, scale, _ = positive(q, scale)
        queries = aligned(q)
        keys, values = (aligned(cache.contiguous().flatten(0, 1)).view(cache.shape) for cache in (k_cache, v_cache))
        splits = min(MOST_SPLITS, -(-block_table.shape[1] * k_cache.shape[1] // KEYS_PER_SPLIT))
        if splits > 1:
            partial = q.new_empty(splits, *q.shape, dtype=torch.float32)
            log2_sums = q.new_empty(splits, *q.shape[:2], dtype=torch.float32)
    out = queries.new_empty(q.shape)
    indices = (block_table.contiguous(), cu_seqlens_q.contiguous(), key_lengths.contiguous())
    kernels.paged_attention(queries, keys, values, out, *indices, scale, partial, log2_sums)
    return out.to(q.dtype)


_paged_attention = define(
    "paged_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor block_table, Tensor cu_seqlens_q, "
    "Tensor key_lengths, float scale) -> Tensor",
    run_paged_attention,
    lambda q, k_cache, v_cache, block_table, cu_seqlens_q, key_lengths, scale: q.new_empty(q.shape),
    reference.paged_attention,
    cuda=True,
)
