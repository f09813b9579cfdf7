"""paged_attention against its float64 twin in every place and, on the CPU bit by bit, against packed_attention."""

from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native
from tests.ops.conftest import CUDA, DTYPES, PLACES, TOLERANCE, error, running_in


def cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


def paged(x: Tensor, lengths: list[int], block_size: int, table: Tensor) -> Tensor:
    """Keys or values [T, Hkv, D] of packed sequences in the blocks of `table`; NaN where nothing was written."""
    cache = torch.full((table.numel() + 3, block_size, *x.shape[1:]), torch.nan).to(x.dtype)
    for row, part in zip(table, x.split(lengths), strict=True):
        for index, chunk in enumerate(part.split(block_size)):
            cache[row[index], : len(chunk)] = chunk
    return cache


def block_table(lengths: list[int], block_size: int) -> Tensor:
    """Blocks in random order; -1 past a sequence's last."""
    counts = [-(-length // block_size) for length in lengths]
    blocks = torch.randperm(sum(counts) + 3).int().split([*counts, 3])
    table = torch.full((len(lengths), max(counts, default=0) + 1), -1, dtype=torch.int32)
    for row, taken in zip(table, blocks, strict=False):
        row[: len(taken)] = taken
    return table


def check(place, lengths, query_lengths, heads, kv_heads, width, block_size, dtype):
    """Against the twin and against packed attention, on the CPU with equal bits."""
    k, v = (torch.randn(sum(lengths), kv_heads, width).to(dtype) for _ in range(2))
    q = torch.randn(sum(query_lengths), heads, width).to(dtype)
    table = block_table(lengths, block_size)
    k_cache, v_cache = (paged(x, lengths, block_size, table) for x in (k, v))
    key_lengths = torch.tensor(lengths, dtype=torch.int32)
    out = ops.paged_attention(q, k_cache, v_cache, table, cu(query_lengths), key_lengths)
    packed = ops.packed_attention(q, k, v, cu(query_lengths), cu(lengths), causal=True)
    assert error(out, packed) <= TOLERANCE[dtype] if place in CUDA else torch.equal(out, packed)
    exact = (x.double() for x in (q, k_cache, v_cache))
    expected = reference.paged_attention(*exact, table, cu(query_lengths), key_lengths)
    assert error(out, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_decoding(place, dtype):
    torch.manual_seed(0)
    lengths = [37, 200, 64, 1, 65]
    check(place, lengths, [1] * 5, 8, 2, 72, 16, dtype)
    check(place, lengths, [1] * 5, 16, 1, 128, 16, dtype)
    check(place, [70, 3], [1] * 2, 4, 4, 256, 16, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_in_several_parts(place, dtype):
    """A table with room for 1,600 keys: CUDA kernels split them in four, of which some sequences need fewer."""
    torch.manual_seed(0)
    check(place, [1500, 7, 500, 0], [1, 1, 2, 0], 8, 2, 64, 16, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_new_tokens(place, dtype):
    torch.manual_seed(0)
    check(place, [37, 200, 64, 0, 70], [3, 0, 64, 0, 7], 6, 2, 64, 16, dtype)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 9)), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 1), (6, 2), (16, 1)]),
    width=st.integers(4, 32).map(lambda n: 8 * n),
    block_size=st.sampled_from([1, 3, 16, 80]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
    place=st.sampled_from(PLACES),
)
def test_random_shapes(lengths, heads, width, block_size, dtype, seed, place):
    torch.manual_seed(seed)
    keys = [length for length, _ in lengths]
    with running_in(place):
        check(place, keys, [min(pair) for pair in lengths], *heads, width, block_size, dtype)


@pytest.mark.parametrize("scale", [-0.3, 0.0])
def test_any_scale(place, scale):
    given_ = arguments()
    exact = {name: x.double() if x.is_floating_point() else x for name, x in given_.items()}
    out = ops.paged_attention(**given_, scale=scale)
    assert error(out, reference.paged_attention(**exact, scale=scale)) <= TOLERANCE[torch.float32]


def test_not_finite_numbers_are_not_hidden(place):
    given_ = arguments()
    given_["q"][1, 2, 5] = torch.nan
    out = ops.paged_attention(**given_)
    assert out[1, 2].isnan().all()
    assert out.isnan().sum() == 32


@pytest.mark.parametrize("place", [place for place in PLACES if place in CUDA])
def test_devices_clamp_what_they_read(place):
    """Kernels on a device cannot refuse a table that lies: they read the first or last block instead."""
    with running_in(place):
        good = arguments()
        good["block_table"] = torch.tensor([[0, 4], [4, -1]], dtype=torch.int32)
        lies = good | {"block_table": torch.tensor([[-9, 2**31 - 1], [5, -1]], dtype=torch.int32)}
        assert torch.equal(ops.paged_attention(**lies), ops.paged_attention(**good))
        lies = good | {"key_lengths": torch.tensor([2**31 - 1, -5], dtype=torch.int32)}
        full = good | {"key_lengths": torch.tensor([32, 16], dtype=torch.int32)}
        out = ops.paged_attention(**lies)
        assert torch.equal(out[:1], ops.paged_attention(**full)[:1])
        assert out[1:].count_nonzero() == 0
        ops.paged_attention(**good | {"cu_seqlens_q": torch.tensor([50, -3, 2**31 - 1], dtype=torch.int32)})


def test_same_bits_for_every_number_of_threads():
    torch.manual_seed(0)
    q, cache = torch.randn(20, 4, 64), torch.randn(2, 40, 16, 2, 64)
    table = torch.randint(0, 40, (20, 12), dtype=torch.int32)
    lengths = torch.arange(1, 192, 10, dtype=torch.int32)[:20].contiguous()
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        count = len(lengths)
        results.append(ops.paged_attention(q[:count], *cache, table[:count], cu([1] * count), lengths))
    torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results)


def arguments() -> dict[str, Tensor]:
    return {
        "q": torch.randn(3, 4, 32),
        "k_cache": torch.randn(5, 16, 2, 32),
        "v_cache": torch.randn(5, 16, 2, 32),
        "block_table": torch.tensor([[0, 1], [4, -1]], dtype=torch.int32),
        "cu_seqlens_q": cu([1, 2]),
        "key_lengths": torch.tensor([20, 16], dtype=torch.int32),
    }


def test_operator_is_well_formed():
    torch.library.opcheck(torch.ops.glm4v.paged_attention.default, (*arguments().values(), 0.2))


def test_compiles_whole():
    compiled = torch.compile(ops.paged_attention, fullgraph=True)
    given_ = arguments()
    torch.testing.assert_close(compiled(**given_), ops.paged_attention(**given_))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(3, 4, 30)}, "q: has heads of 30"),
        ({"k_cache": torch.zeros(5, 16, 3, 32)}, "k_cache: has 3 heads; expected a divisor of the 4"),
        ({"v_cache": torch.zeros(5, 8, 2, 32)}, r"v_cache: has shape \[5, 8, 2, 32\]"),
        ({"k_cache": torch.zeros(5, 16, 2, 32).half()}, "k_cache: is torch.float16"),
        ({"key_lengths": torch.tensor([20, 16])}, "key_lengths: is torch.int64"),
        ({"block_table": torch.zeros(3, 2, dtype=torch.int32)}, "block_table: has shape"),
        ({"block_table": torch.tensor([[0, 5], [4, 0]], dtype=torch.int32)}, r"block_table: holds 5 at \[0, 1\]"),
        ({"block_table": torch.tensor([[0, 1], [-1, 0]], dtype=torch.int32)}, r"block_table: holds -1 at \[1, 0\]"),
        ({"key_lengths": torch.tensor([33, 16], dtype=torch.int32)}, "key_lengths: holds 33 at 0; expected from 1"),
        ({"key_lengths": torch.tensor([20, 1], dtype=torch.int32)}, "key_lengths: holds 1 at 1; expected from 2"),
        ({"cu_seqlens_q": cu([1, 3])}, "cu_seqlens_q: ends at 4; expected 3"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        ops.paged_attention(**arguments() | change)


def test_bindings_check_again():
    good = list(arguments().values())
    out = torch.empty(3, 4, 32)
    native.paged_attention(*good[:3], out, *good[3:], 1.0, None, None)
    with pytest.raises(ValueError, match=r"out: has shape \[2, 4, 32\]"):
        native.paged_attention(*good[:3], out[:2], *good[3:], 1.0, None, None)
