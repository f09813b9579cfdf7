"""linear_cross_entropy against its float64 twin, for any upstream gradient of loss, log-probabilities and entropy."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native, native_for
from tests.ops.conftest import (
    DTYPES,
    PLACES,
    PLACES_OF_FUSED,
    check_against_twin,
    check_compiles,
    check_same_bits,
    check_single_gradients,
    error,
    running_in,
)

module = importlib.import_module("glm4v.ops.linear_cross_entropy")  # the name in glm4v.ops is the function
IGNORE = reference.IGNORE


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of tokens and of the vocabulary in a small case."""
    monkeypatch.setattr(module, "tile", lambda x: (8, 48))


def case(tokens, columns, vocabulary, dtype=torch.float32, ignored=0.3):
    weight = 2 * torch.randn(vocabulary, columns, dtype=dtype) / columns**0.5
    targets = torch.randint(0, vocabulary, (tokens,)).masked_fill(torch.rand(tokens) < ignored, IGNORE)
    return [torch.randn(tokens, columns, dtype=dtype), weight, targets]


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradients(place, small_blocks, dtype):
    torch.manual_seed(0)
    for tokens, columns, vocabulary in [(1, 4, 1), (1, 8, 50), (37, 24, 203), (9, 16, 48), (0, 8, 5)]:
        tensors = case(tokens, columns, vocabulary, dtype)
        for temperature in (1.0, 0.7):
            check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors, temperature)


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(0, 40), columns=st.integers(1, 40), vocabulary=st.integers(1, 300), ignored=st.floats(0, 1),
    place=st.sampled_from(PLACES),
)  # fmt: skip
def test_random_shapes(tokens, columns, vocabulary, ignored, place):
    with running_in(place):
        tensors = case(tokens, columns, vocabulary, ignored=ignored)
        check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors)


def test_blocks_of_the_full_size(place):
    tensors = case(1100, 8, 4200)
    check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors)


def test_tokens_without_a_target_give_zero_and_no_gradient(place):
    x, weight, targets = case(6, 8, 20, ignored=0)
    targets[[1, 4]] = IGNORE
    x.requires_grad_()
    outputs = ops.linear_cross_entropy(x, weight, targets)
    (grad,) = torch.autograd.grad(sum(out.sum() for out in outputs), x)
    assert all(out[[1, 4]].eq(0).all() and out.dtype == torch.float32 for out in outputs)
    assert grad[[1, 4]].eq(0).all()
    assert grad[[0, 2, 3, 5]].ne(0).any(1).all()


def test_no_targets_at_all(place):
    x, weight, targets = (t.requires_grad_(t.is_floating_point()) for t in case(5, 8, 20, ignored=1.1))
    loss, _, _ = ops.linear_cross_entropy(x, weight, targets)
    for gradient in torch.autograd.grad(loss.sum(), (x, weight)):
        assert gradient.eq(0).all()


def test_large_logits(place, small_blocks):
    """Logits of +-300, a certain target and an impossible one: no overflow, no NaN, and the exact loss."""
    x, weight = torch.tensor([[1.0], [1.0]]).requires_grad_(), torch.zeros(100, 1)
    weight[3], weight[70] = 300.0, -300.0
    weight.requires_grad_()
    loss, _, entropy = ops.linear_cross_entropy(x, weight, torch.tensor([3, 70]))
    torch.testing.assert_close(loss, torch.tensor([0.0, 600.0]))
    torch.testing.assert_close(entropy, torch.zeros(2))
    for gradient in torch.autograd.grad(loss.sum() + entropy.sum(), (x, weight)):
        assert gradient.isfinite().all()


def test_widened_products(monkeypatch, isa, small_blocks):
    """As on a CPU without bf16 instructions."""
    monkeypatch.setattr(module, "widens", lambda x: x.dtype == torch.bfloat16)
    tensors = case(21, 16, 120, torch.bfloat16)
    check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors, tolerance=0.5)


def test_views_single_gradients_bits_and_threads(place):
    x, weight, targets = case(60, 16, 500)
    views = [x.T.contiguous().T, weight.repeat_interleave(2, 0)[::2], targets.repeat_interleave(2)[::2]]
    check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, views)
    check_single_gradients(ops.linear_cross_entropy, [x, weight, targets])
    check_same_bits(ops.linear_cross_entropy, [x, weight, targets])


@pytest.mark.parametrize(("tokens", "several"), [(64, False), (8192, False), (8193, True), (100_000, True)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_on_a_gpu_take_at_most_64_mb(tokens, several, dtype):
    """Logits, and where there are several blocks of tokens a block of the weight's gradient in float32."""
    x = torch.empty(tokens, 4096, dtype=dtype, device="meta")
    rows, columns = module.tile(x)
    assert (rows < tokens) == several
    size = rows * columns * module.product_type(x).itemsize + several * columns * 4096 * 4
    assert 40e6 < size < 60e6
    assert columns % 256 == 0


@pytest.fixture
def fused(monkeypatch, place):
    """Fused kernels alone, even for few logits."""
    monkeypatch.setattr(module, "KEPT", -1)
    monkeypatch.setattr(module, "block_statistics", None)
    with running_in(place):
        yield


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_forward_and_gradients(place, fused, monkeypatch):
    """Within a tile, at its end and beyond, in blocks of the backward pass that end within a tile, too; the results,
    whose logits are nowhere rounded, are as exact as in float32."""
    torch.manual_seed(0)
    for block in ((64, 256), (8, 48)):
        monkeypatch.setattr(module, "tile", lambda x, block=block: block)
        for tokens, columns, vocabulary in [(1, 4, 1), (1, 8, 50), (37, 24, 203), (128, 16, 256), (140, 8, 520)]:
            tensors = case(tokens, columns, vocabulary, torch.bfloat16)
            for temperature in (1.0, 0.7):
                arguments = (*tensors, temperature)
                check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors, temperature)
                exact = reference.linear_cross_entropy(*(t.double() for t in tensors[:2]), *arguments[2:])
                for got, want in zip(ops.linear_cross_entropy(*arguments), exact, strict=True):
                    assert error(got, want) < 1e-5


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_blocks_of_tokens(place, fused, monkeypatch):
    """Several blocks in both directions, one of no targets at all, and none."""
    monkeypatch.setattr(module, "PARTIAL_BYTES", 3 * 4 * 2 * 128)
    monkeypatch.setattr(module, "tile", lambda x: (96, 256))
    x, weight, targets = case(300, 8, 300, torch.bfloat16)
    targets[128:256] = IGNORE
    for tensors in (
        [x, weight, targets],
        [x, weight, targets[:1].expand(300).clone().fill_(IGNORE)],
        [x[:0], weight, targets[:0]],
    ):
        check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors)


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_views_single_gradients_and_bits(place, fused):
    x, weight, targets = case(60, 13, 500, torch.bfloat16)
    views = [x.T.contiguous().T, weight.repeat_interleave(2, 0)[::2], targets.repeat_interleave(2)[::2]]
    check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, views)
    check_single_gradients(ops.linear_cross_entropy, [x, weight, targets])
    check_same_bits(ops.linear_cross_entropy, [x, weight, targets])


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_large_logits(place, fused):
    """As above; and where a tile ends after few of its columns, all of them far below what lies beyond it."""
    x, weight = torch.ones(2, 8).bfloat16(), torch.zeros(259, 8).bfloat16()
    weight[3, 0], weight[258, 0] = 300.0, -300.0
    loss, _, entropy = ops.linear_cross_entropy(x, weight, torch.tensor([3, 258]))
    torch.testing.assert_close(loss, torch.tensor([0.0, 600.0]))
    torch.testing.assert_close(entropy, torch.zeros(2))
    loss, _, entropy = ops.linear_cross_entropy(x, weight[258:], torch.tensor([0, 0]))
    torch.testing.assert_close(torch.stack([loss, entropy]), torch.zeros(2, 2))


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_targets_beyond_the_vocabulary_are_read_nowhere(place, fused):
    """A device does not look at values: these pick no logit."""
    x, weight, _ = case(4, 8, 20, torch.bfloat16)
    loss, _, _ = ops.linear_cross_entropy(x.requires_grad_(), weight, torch.tensor([20, -1, 2**62, -(2**62)]))
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("place", [place for place in PLACES_OF_FUSED if place.startswith("cuda fused")])
def test_fused_many_tiles_and_a_graph(place, fused):
    """Every multiprocessor has several tiles, in both directions; and what a CUDA graph replays has the same bits."""
    tensors = case(4001, 520, 20_011, torch.bfloat16)
    check_against_twin(ops.linear_cross_entropy, reference.linear_cross_entropy, tensors)
    want, graph = ops.linear_cross_entropy(*tensors), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = ops.linear_cross_entropy(*tensors)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("vocabulary", [151552, 262144, 1_000_000])
def test_fused_statistics_of_tiles_take_at_most_64_mb(vocabulary):
    tokens = module.fused_tokens(100_000, vocabulary, 256)
    assert 50e6 < 3 * 4 * tokens * -(-vocabulary // 256) < 64e6
    assert tokens % 128 == 0
    assert module.fused_tokens(8192, 151552, 256) == 8192


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_bindings_check_again(place, fused):
    x, weight, targets = case(3, 8, 20, torch.bfloat16)
    kernels, partials, statistics = native_for(x), torch.zeros(3, 1, 3), torch.zeros(4, 3)
    bad = [
        ("x: has rows that do not start at multiples of 16 bytes", (x[:, 1:], weight[:, 1:], targets, partials)),
        (
            r"weight: has shape \[20, 7\]; expected \[\*, 8\]",
            (x, torch.empty(20, 8).bfloat16()[:, :7], targets, partials),
        ),
        (r"partials: has shape \[3, 2, 3\]; expected \[3, 1, 3\]", (x, weight, targets, torch.zeros(3, 2, 3))),
        (r"targets: has shape \[2\]; expected \[3\]", (x, weight, targets[:2], partials)),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            kernels.fused_cross_entropy(*arguments, statistics, 1.0)
    with pytest.raises(ValueError, match=r"gradients: has shape \[3, 20\]; expected \[3, 24\]"):
        kernels.fused_cross_entropy_backward(x, weight, targets, *statistics, torch.zeros(3, 20).bfloat16(), 0, 1.0)


def test_operator_is_well_formed():
    x, weight, targets = case(6, 8, 20)
    arguments = (x.clone().requires_grad_(), weight.clone().requires_grad_(), targets, 1.0)
    torch.library.opcheck(torch.ops.glm4v.linear_cross_entropy.default, arguments)
    check_compiles(ops.linear_cross_entropy, [x, weight, targets])


def test_bad_input_is_named():
    x, weight, targets = case(6, 8, 20, ignored=0)
    bad = [
        ("x: is torch.int64", (x.long(), weight, targets)),
        (r"x: has shape \[8\]; expected \[T, C\]", (x[0], weight, targets)),
        (r"weight: has shape \[20, 7\]; expected \[V, 8\]", (x, weight[:, :7], targets)),
        ("weight: is torch.bfloat16; expected torch.float32 like x", (x, weight.bfloat16(), targets)),
        (r"targets: has shape \[5\]; expected \[6\]", (x, weight, targets[:5])),
        ("targets: is torch.int32; expected torch.int64", (x, weight, targets.int())),
        ("targets: holds 20 at 0; expected -100 or 0 to 19", (x, weight, torch.full((6,), 20))),
        ("targets: holds -1 at 2", (x, weight, torch.tensor([0, 0, -1, 0, 0, 0]))),
        ("temperature: is 0.0; expected a positive number", (x, weight, targets, 0.0)),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            ops.linear_cross_entropy(*arguments)


def test_bindings_check_again():
    logits, targets, statistics = torch.randn(3, 8), torch.zeros(3).long(), torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"statistics: has shape \[3, 3\]; expected \[4, 3\]"):
        native.cross_entropy(logits, targets, statistics[:3], 0, 1.0)
    with pytest.raises(ValueError, match="first: is -1; expected 0 or more"):
        native.cross_entropy(logits, targets, statistics, -1, 1.0)
