"""Attention through the cache against packed attention over whole sequences; the account of blocks."""

from types import SimpleNamespace

import pytest
import torch

from glm4v import ops
from glm4v.model.cache import BLOCK_SIZE, PagedCache, affordable_blocks, blocks_of
from glm4v.model.layers import Attend

LAYERS, HEADS, KV_HEADS, WIDTH = 2, 4, 2, 32
CONFIG = SimpleNamespace(
    num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, hidden_size=HEADS * WIDTH
)


def make_cache(blocks: int) -> PagedCache:
    cache = PagedCache(CONFIG, blocks, torch.float32, torch.device("cpu"))
    cache.keys.fill_(torch.nan)  # nothing may be read before it is written
    cache.values.fill_(torch.nan)
    return cache


def table_of(rows: list[list[int]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.int32) for row in rows], batch_first=True)


def test_blocks_are_counted() -> None:
    cache = make_cache(5)
    first = cache.take(3)
    cache.share(first[:1])
    cache.release(first)
    assert cache.free == 4
    assert first[0] not in cache.take(4)
    with pytest.raises(MemoryError, match="count is 1; the cache has 0 free blocks of 5"):
        cache.take(1)
    cache.release(first[:1])
    assert cache.take(1) == first[:1]


@pytest.mark.parametrize("piece", [5, 16, 23, 1000])
def test_pieces_and_single_tokens_attend_as_a_whole(piece: int) -> None:
    """Sequences of 40, 1, 16 and 17 tokens come in pieces of several a call, and 5 more tokens of each one by one."""
    torch.manual_seed(0)
    prompts, new = [40, 1, 16, 17], 5
    totals = [length + new for length in prompts]
    q, k, v = (torch.randn(sum(totals), heads, WIDTH) for heads in (HEADS, KV_HEADS, KV_HEADS))
    starts = [sum(totals[:index]) for index in range(len(totals))]
    expected = ops.packed_attention(q, k, v, torch.tensor([*starts, sum(totals)], dtype=torch.int32), causal=True)

    cache = make_cache(20)
    blocks = [cache.take(blocks_of(total)) for total in totals]
    cache.release(cache.take(3))
    out = torch.full_like(q, torch.nan)

    def feed(rows: torch.Tensor, attend: Attend, padding: int) -> None:
        padded = [torch.nn.functional.pad(x[rows], (0, 0, 0, 0, 0, padding), value=9.0) for x in (q, k, v)]
        for layer in range(LAYERS):
            result = attend(layer, *padded)
            assert not result[len(rows) :].any()
            out[rows] = result[: len(rows)]

    pieces = [
        (index, start, min(start + piece, length))
        for index, length in enumerate(prompts)
        for start in range(0, length, piece)
    ]
    for call in (pieces[:3], pieces[3:]):
        if call:
            rows = torch.cat([torch.arange(starts[i] + a, starts[i] + b) for i, a, b in call])
            table = table_of([blocks[i] for i, _, _ in call])
            feed(rows, cache.prefill(table, [b - a for _, a, b in call], [b for _, _, b in call]), 3)
    for step in range(new):
        lengths = torch.tensor([length + step + 1 for length in prompts])
        feed(torch.tensor(starts) + lengths - 1, cache.decode(table_of(blocks), lengths), 0)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_a_copied_block_is_independent() -> None:
    """Two samples of a prompt of 20 tokens share its full block and own a copy of the partial one."""
    torch.manual_seed(0)
    cache = make_cache(8)
    prompt = cache.take(2)
    k, v = torch.randn(2, 20, KV_HEADS, WIDTH)
    cache.prefill(table_of([prompt]), [20], [20])(1, torch.randn(20, HEADS, WIDTH), k, v)
    cache.share(prompt[:1])
    copies = cache.take(2)
    cache.copy(prompt[1:] * 2, copies)
    q, new_k, new_v = torch.randn(2, HEADS, WIDTH), *torch.randn(2, 2, KV_HEADS, WIDTH)
    table = table_of([[prompt[0], copies[0]], [prompt[0], copies[1]]])
    out = cache.decode(table, torch.tensor([21, 21]))(1, q, new_k, new_v)
    for sample in range(2):
        keys, values = (torch.cat([x, new[sample : sample + 1]]) for x, new in ((k, new_k), (v, new_v)))
        bounds = [torch.tensor([0, length], dtype=torch.int32) for length in (1, 21)]
        expected = ops.packed_attention(q[sample : sample + 1], keys, values, *bounds, causal=True)
        torch.testing.assert_close(out[sample : sample + 1], expected, atol=1e-5, rtol=1e-5)


def test_affordable_blocks_count_bytes() -> None:
    wide = affordable_blocks(CONFIG, torch.float32, torch.device("cpu"))
    narrow = affordable_blocks(CONFIG, torch.bfloat16, torch.device("cpu"))
    assert 1.5 < narrow / wide < 2.5  # free memory moves between the two calls
    assert wide > blocks_of(BLOCK_SIZE + 1) == 2
