"""Attention of a few new tokens over a block table (PagedAttention, arXiv 2309.06180): what generation decodes with.

Runs the same tiles in the same order as packed_attention: a token has the same bits in both.
"""

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import check_device, check_dtype, check_like, check_shape, define, native
from glm4v.ops.packed_attention import check_heads, kernel_type, scale_of


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


def cpu_paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    key_lengths: Tensor,
    scale: float,
) -> Tensor:
    queries = kernel_type(q)
    keys, values = (cache.to(queries.dtype).contiguous() for cache in (k_cache, v_cache))
    out = queries.new_empty(q.shape)
    indices = (block_table.contiguous(), cu_seqlens_q.contiguous(), key_lengths.contiguous())
    native.paged_attention(queries, keys, values, out, *indices, scale)
    return out.to(q.dtype)


_paged_attention = define(
    "paged_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor block_table, Tensor cu_seqlens_q, "
    "Tensor key_lengths, float scale) -> Tensor",
    cpu_paged_attention,
    lambda q, k_cache, v_cache, block_table, cu_seqlens_q, key_lengths, scale: q.new_empty(q.shape),
    reference.paged_attention,
)
