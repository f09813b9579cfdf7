"""packed_attention against its float64 twin in every place, forward and gradients; the bits it promises."""

import math
from collections.abc import Iterator
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native
from tests.ops.conftest import CUDA, DTYPES, PLACES_OF_ATTENTION, check_against_twin, running_in

# query lengths, key lengths, heads, key/value heads, head size
CASES = [
    ([70, 0, 3], [70, 5, 3], 2, 2, 64),  # a sequence without queries
    ([5, 130], [200, 131], 4, 2, 80),  # a cached prefix
    ([40, 7], [9, 0], 3, 3, 48),  # rows without keys, a sequence without keys
    ([33], [40], 16, 1, 32),
    ([6, 2], [65, 300], 2, 1, 256),
    ([9], [9], 10, 1, 96),  # query heads in parts of which the last is smaller
    ([300, 1, 9], [300, 1, 9], 2, 1, 40),  # several blocks of rows and keys
]


ON_DEVICES = [place for place in PLACES_OF_ATTENTION if place.startswith(tuple(CUDA))]


# float32 has the same kernels on every device
PLACES_AND_DTYPES = [
    pytest.param(place, dtype, id=f"{place}-{dtype}".replace("torch.", ""))
    for place in PLACES_OF_ATTENTION
    for dtype in DTYPES
    if dtype != torch.float32 or not place.endswith("sm_80")
]


@pytest.fixture
def in_place(place: str) -> Iterator[None]:
    with running_in(place):
        yield


def cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


def inputs(queries: int, keys: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    shapes = ((queries, heads), (keys, kv_heads), (keys, kv_heads))
    return [torch.randn(*shape, width).to(dtype) for shape in shapes]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("place", "dtype"), PLACES_AND_DTYPES)
def test_forward_and_gradients(place, in_place, dtype, causal):
    torch.manual_seed(0)
    for queries, keys, heads, kv_heads, width in CASES:
        tensors = inputs(sum(queries), sum(keys), heads, kv_heads, width, dtype)
        check_against_twin(
            ops.packed_attention, reference.packed_attention, tensors, cu(queries), cu(keys), causal, 0.2
        )


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 40) | st.integers(60, 140), st.integers(0, 140)), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 1), (2, 2), (6, 2), (16, 1), (20, 1)]),
    width=st.integers(4, 32).map(lambda n: 8 * n),
    causal=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
    place=st.sampled_from(PLACES_OF_ATTENTION),
)
def test_random_shapes(lengths, heads, width, causal, dtype, seed, place):
    torch.manual_seed(seed)
    queries, keys = [q for q, _ in lengths], [k for _, k in lengths]
    with running_in(place):
        tensors = inputs(sum(queries), sum(keys), *heads, width, dtype)
        # a row that sees one key has no gradient through its score: what is left of up to 256 products is rounding,
        # and of up to 140 such rows their sum
        check_against_twin(
            ops.packed_attention, reference.packed_attention, tensors, cu(queries), cu(keys), causal, floor=1.0
        )


@pytest.mark.parametrize(("place", "dtype"), PLACES_AND_DTYPES)
def test_one_token(place, in_place, dtype):
    tensors = inputs(1, 1, 4, 2, 64, dtype)
    check_against_twin(ops.packed_attention, reference.packed_attention, tensors, cu([1]), None, True, floor=1.0)


def test_no_sequences(place):
    tensors = [t.requires_grad_() for t in inputs(0, 0, 4, 2, 32, torch.float32)]
    out = ops.packed_attention(*tensors, cu([]))
    assert out.shape == (0, 4, 32)
    assert [g.shape for g in torch.autograd.grad(out.sum(), tensors)] == [t.shape for t in tensors]


def test_hundreds_of_short_sequences(place):
    torch.manual_seed(0)
    lengths = [n % 5 for n in range(400)]
    tensors = inputs(sum(lengths), sum(lengths), 4, 2, 32, torch.float32)
    check_against_twin(ops.packed_attention, reference.packed_attention, tensors, cu(lengths), None, True)


@pytest.mark.parametrize("causal", [False, True])
def test_several_blocks_of_a_head(place, causal):
    """Gradients are summed over blocks of 512 rows and 256 keys."""
    torch.manual_seed(0)
    tensors = inputs(600, 700, 2, 1, 32, torch.float32)
    check_against_twin(ops.packed_attention, reference.packed_attention, tensors, cu([600]), cu([700]), causal)


def test_large_scores_do_not_overflow(place):
    """Scores of a thousand, whose own rounding is what is left of the error."""
    torch.manual_seed(0)
    q, k, v = inputs(80, 80, 2, 2, 64, torch.float32)
    arguments = ([q * 30, k, v], cu([80]), None, True, 1.0)
    check_against_twin(ops.packed_attention, reference.packed_attention, *arguments, tolerance=20)


@pytest.mark.parametrize("scale", [-0.3, 0.0])
def test_any_scale(place, scale):
    torch.manual_seed(0)
    tensors = inputs(70, 70, 2, 2, 64, torch.float32)
    check_against_twin(ops.packed_attention, reference.packed_attention, tensors, cu([70]), None, False, scale)


def test_not_finite_numbers_are_not_hidden(place):
    q, k, v = inputs(70, 70, 1, 1, 32, torch.float32)
    q[3, 0, 5] = math.nan
    out = ops.packed_attention(q, k, v, cu([70]))
    assert out[3].isnan().all()
    assert out[torch.arange(70) != 3].isfinite().all()


@pytest.mark.parametrize("place", ON_DEVICES)
def test_any_alignment(place):
    """Tokens that start anywhere, which the CPU reads as they are, too."""
    torch.manual_seed(0)
    with running_in(place):
        odd = torch.randn(3, 50 * 4 * 32 + 1).bfloat16()[:, 1:].unflatten(1, (50, 4, 32)).unbind()
        far = torch.randn(3, 50, 4 * 32 + 1).bfloat16()[:, :, 1:].unflatten(2, (4, 32)).unbind()
        for tensors in (odd, far):
            check_against_twin(ops.packed_attention, reference.packed_attention, tensors, cu([50]))


@pytest.mark.parametrize("place", ON_DEVICES)
def test_devices_clamp_what_they_read(place):
    """Kernels on a device cannot refuse cu_seqlens that lie: they stay within the tensors."""
    torch.manual_seed(0)
    with running_in(place):
        tensors = inputs(9, 9, 2, 1, 32, torch.float32)
        want = ops.packed_attention(*tensors, cu([9]))
        long, early = torch.tensor([0, 50], dtype=torch.int32), torch.tensor([-7, 9], dtype=torch.int32)
        assert torch.equal(ops.packed_attention(*tensors, long), want)
        assert torch.equal(ops.packed_attention(*tensors, cu([9]), early), want)
        for lie in ([5, -3, 2**31 - 1], [9, 0, 0], [-(2**31), 2**31 - 1, 3]):
            given_ = [t.requires_grad_() for t in tensors]
            torch.autograd.grad(ops.packed_attention(*given_, torch.tensor(lie, dtype=torch.int32)).sum(), given_)


def test_views_of_a_fused_projection(place):
    torch.manual_seed(0)
    fused = torch.randn(90, 3, 4, 64, requires_grad=True)
    out = ops.packed_attention(*fused.unbind(1), cu([30, 60]))
    grad = torch.randn(90, 4, 64)
    (got,) = torch.autograd.grad(out, fused, grad)
    dense = [x.detach().contiguous().requires_grad_() for x in fused.unbind(1)]
    expected = ops.packed_attention(*dense, cu([30, 60]))
    assert torch.equal(out, expected)
    assert torch.equal(got, torch.stack(torch.autograd.grad(expected, dense, grad), dim=1))


def test_any_strides(place):
    torch.manual_seed(0)
    q = torch.randn(4, 50, 32).transpose(0, 1)  # heads outside tokens
    k = torch.randn(50, 4, 64)[:, :, ::2]
    v = torch.randn(1, 4, 32).expand(50, 4, 32)
    dense = [x.contiguous() for x in (q, k, v)]
    assert torch.equal(ops.packed_attention(q, k, v, cu([50])), ops.packed_attention(*dense, cu([50])))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_gradients_for_some_inputs(place, wanted):
    torch.manual_seed(0)
    tensors = inputs(20, 20, 2, 1, 32, torch.float32)
    everything = [t.clone().requires_grad_() for t in tensors]
    some = [t.clone().requires_grad_(i in wanted) for i, t in enumerate(tensors)]
    outs = [ops.packed_attention(*group, cu([20]), causal=True) for group in (everything, some)]
    full = torch.autograd.grad(outs[0].sum(), everything)  # an expanded upstream gradient, too
    part = torch.autograd.grad(outs[1].sum(), [some[i] for i in wanted])
    assert all(torch.equal(full[i], got) for i, got in zip(wanted, part, strict=True))


@pytest.mark.parametrize(("place", "dtype"), PLACES_AND_DTYPES)
def test_a_token_has_the_same_bits_in_any_company(place, in_place, dtype):
    """Alone or among others, whole or in pieces after a cached prefix."""
    torch.manual_seed(0)
    lengths = [3, 150, 40]
    q, k, v = inputs(sum(lengths), sum(lengths), 6, 2, 72, dtype)
    together = ops.packed_attention(q, k, v, cu(lengths), causal=True)[3:153]
    alone = [x[3:153] for x in (q, k, v)]
    assert torch.equal(ops.packed_attention(*alone, cu([150]), causal=True), together)
    for piece in (1, 37, 100):
        last = ops.packed_attention(alone[0][-piece:], *alone[1:], cu([piece]), cu([150]), causal=True)
        assert torch.equal(last, together[-piece:])


@pytest.mark.parametrize(("place", "dtype"), PLACES_AND_DTYPES)
def test_same_bits_on_every_call_and_for_every_number_of_threads(place, in_place, dtype):
    torch.manual_seed(0)
    lengths = [200 if place in ON_DEVICES else 700, 5, 90]  # several blocks of rows
    tensors = [t.requires_grad_() for t in inputs(sum(lengths), sum(lengths), 4, 1, 64, dtype)]
    grad = torch.randn_like(tensors[0])
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        out = ops.packed_attention(*tensors, cu(lengths), causal=True)
        results.append((out, *torch.autograd.grad(out, tensors, grad)))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("isa", ["avx512_bf16", "amx_bf16"])
def test_stand_in_multiplies_bf16_pairs_as_the_instruction_does(isa):
    """Where both run here: the emulation that tests execute everywhere follows VDPBF16PS and TDPBF16PS bit by bit."""
    stand_in = {"avx512_bf16": "standin16_bf16", "amx_bf16": "standin16_amx_bf16"}[isa]
    pair = [name for name in (isa, stand_in) if native.variants().get(name, (0, False))[1]]
    tensors = inputs(130, 130, 2, 2, 64, torch.bfloat16)
    before = native.isa()
    outs = []
    for name in pair:
        native.use_isa(name)
        outs.append(ops.packed_attention(*tensors, cu([130]), causal=True))
    native.use_isa(before)
    assert all(torch.equal(outs[0], out) for out in outs)


def test_operator_is_well_formed():
    tensors = [t.requires_grad_() for t in inputs(20, 20, 4, 2, 32, torch.float32)]
    lengths = cu([5, 15])
    torch.library.opcheck(torch.ops.glm4v.packed_attention.default, (*tensors, lengths, lengths, True, 0.2))


def test_compiles_whole():
    tensors = [t.requires_grad_() for t in inputs(20, 20, 4, 2, 32, torch.float32)]

    def loss(*tensors: Tensor) -> Tensor:
        return ops.packed_attention(*tensors, cu_seqlens_q=lengths, causal=True).square().sum()

    lengths = cu([5, 15])
    expected = torch.autograd.grad(loss(*tensors), tensors)
    got = torch.autograd.grad(torch.compile(loss, fullgraph=True)(*tensors), tensors)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(9, 4, 32, dtype=torch.int64)}, "q: is torch.int64"),
        ({"q": torch.zeros(9, 128)}, r"q: has shape \[9, 128\]"),
        ({"q": torch.zeros(9, 4, 30)}, "q: has heads of 30; expected a multiple of 8"),
        ({"q": torch.zeros(9, 4, 264)}, "q: has heads of 264"),
        ({"k": torch.zeros(9, 3, 32), "v": torch.zeros(9, 3, 32)}, "k: has 3 heads; expected a divisor of the 4"),
        ({"k": torch.zeros(9, 2, 64)}, r"k: has shape \[9, 2, 64\]"),
        ({"v": torch.zeros(8, 2, 32)}, r"v: has shape \[8, 2, 32\]; expected \[9, 2, 32\]"),
        ({"v": torch.zeros(9, 2, 32).bfloat16()}, "v: is torch.bfloat16; expected torch.float32 like q"),
        ({"k": torch.zeros(9, 2, 32, device="meta")}, "k: is on meta"),
        ({"cu_seqlens_q": cu([9]).long()}, "cu_seqlens_q: is torch.int64"),
        ({"cu_seqlens_k": cu([4, 5])}, r"cu_seqlens_k: has shape \[3\]; expected \[2\]"),
        ({"cu_seqlens_q": torch.tensor([1, 9], dtype=torch.int32)}, "cu_seqlens_q: starts at 1; expected 0"),
        ({"cu_seqlens_q": torch.tensor([0, 10], dtype=torch.int32)}, "cu_seqlens_q: ends at 10; expected 9"),
        ({"cu_seqlens_q": torch.tensor([0, 12, 9], dtype=torch.int32)}, "cu_seqlens_q: descends from 12 to 9"),
        (
            {"cu_seqlens_q": cu([9, 0]), "cu_seqlens_k": torch.tensor([0, -3, 9], dtype=torch.int32)},
            "cu_seqlens_k: descends from 0 to -3",
        ),
        ({"cu_seqlens_q": torch.zeros(0, dtype=torch.int32)}, "cu_seqlens_q: is empty"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"q": torch.zeros(9, 4, 32), "k": torch.zeros(9, 2, 32), "v": torch.zeros(9, 2, 32), "cu_seqlens_q": cu([9])}
    ops.packed_attention(**good)
    with pytest.raises(ValueError, match=message):
        ops.packed_attention(**good | change)


def test_bindings_check_again():
    q, k, v = inputs(9, 9, 4, 2, 32, torch.float32)
    out, log_sum_exp, lengths = torch.empty_like(q), torch.empty(4, 9), cu([9])
    with pytest.raises(ValueError, match=r"out: has shape \[8, 4, 32\]"):
        native.packed_attention(q, k, v, out[:8], log_sum_exp, lengths, lengths, False, 1.0, None)
    with pytest.raises(ValueError, match=r"log_sum_exp: has shape \[4, 8\]"):
        native.packed_attention(q, k, v, out, log_sum_exp[:, :8].contiguous(), lengths, lengths, False, 1.0, None)
    with pytest.raises(ValueError, match="q: dimension 2 has stride"):
        native.packed_attention(q[:, :, ::2], k, v, out, log_sum_exp, lengths, lengths, False, 1.0, None)
    gradients = [torch.empty_like(x) for x in (q, k, v)]
    saved = (out, q, k, v, out, log_sum_exp, log_sum_exp.clone())
    for name, sums in (("grad_k", gradients), ("sum_k", [x.clone() for x in gradients])):
        short = [*gradients, *sums]
        short[1 if name == "grad_k" else 4] = gradients[1][:8]
        with pytest.raises(ValueError, match=rf"{name}: has shape \[8, 2, 32\]"):
            native.packed_attention_backward(*saved, *short, lengths, lengths, False, 1.0, None)
