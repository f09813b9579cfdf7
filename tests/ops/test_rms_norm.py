"""rms_norm, add_rms_norm and sandwich_norm against their float64 twins."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native
from tests.ops.conftest import (
    DTYPES,
    PLACES,
    check_against_twin,
    check_compiles,
    check_large,
    check_same_bits,
    check_single_gradients,
    running_in,
)

EPS = 1e-5
SHAPES = [(1, 5), (2, 7), (3, 16), (37, 203), (65, 1536), (0, 8), (3, 0)]
OPERATORS = [("rms_norm", 1, 1), ("add_rms_norm", 2, 1), ("sandwich_norm", 2, 2)]  # name, activations, weights


def inputs(rows: int, columns: int, activations: int, weights: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.randn(rows, columns, dtype=dtype) for _ in range(activations)] + [
        torch.randn(columns, dtype=dtype) for _ in range(weights)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "activations", "weights"), OPERATORS)
def test_forward_and_gradients(place, name, activations, weights, dtype):
    torch.manual_seed(0)
    for rows, columns in SHAPES:
        tensors = inputs(rows, columns, activations, weights, dtype)
        check_against_twin(getattr(ops, name), getattr(reference, name), tensors, EPS)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 70),
    columns=st.integers(4, 300),
    seed=st.integers(0, 1000),
    which=st.sampled_from(OPERATORS),
    place=st.sampled_from(PLACES),
)
def test_random_shapes(rows, columns, seed, which, place):
    torch.manual_seed(seed)
    name, activations, weights = which
    with running_in(place):
        tensors = inputs(rows, columns, activations, weights, torch.float32)
        check_against_twin(getattr(ops, name), getattr(reference, name), tensors, EPS)


def test_bfloat16_rounds_where_transformers_does(place):
    """Equal bits with the twin run in bfloat16, except where float32 sums differ in their last bit."""
    torch.manual_seed(1)
    tensors = inputs(64, 256, 2, 2, torch.bfloat16)
    for got, want in zip(ops.sandwich_norm(*tensors, EPS), reference.sandwich_norm(*tensors, EPS), strict=True):
        assert (got != want).float().mean() < 1e-3


def test_leading_dimensions_and_strides_are_free(place):
    x = torch.randn(6, 5, 32).transpose(0, 1)
    weight = torch.randn(64)[::2]
    torch.testing.assert_close(ops.rms_norm(x, weight, EPS), reference.rms_norm(x, weight, EPS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "activations", "weights"), OPERATORS)
def test_rows_too_long_for_shared_memory(place, name, activations, weights, dtype):
    """CUDA kernels keep up to 96 KB of a row; longer ones, and vectors that are not aligned, take other roads."""
    torch.manual_seed(0)
    for columns in (50_000, 12_001):
        tensors = inputs(3, columns, activations, weights, dtype)
        check_against_twin(getattr(ops, name), getattr(reference, name), tensors, EPS, tolerance=3)


def test_any_alignment(place):
    """Rows of whole vectors that start two bytes off a multiple of sixteen."""
    torch.manual_seed(0)
    x, residual = (torch.randn(5 * 64 + 1).bfloat16()[1:].view(5, 64) for _ in range(2))
    weight = torch.randn(65).bfloat16()[1:]
    check_against_twin(ops.add_rms_norm, reference.add_rms_norm, [x, residual, weight], EPS)


@pytest.mark.parametrize(("name", "activations", "weights"), OPERATORS)
def test_single_gradients_bits_and_threads(place, name, activations, weights):
    tensors = inputs(300, 130, activations, weights, torch.float32)
    check_single_gradients(getattr(ops, name), tensors, EPS)
    check_same_bits(getattr(ops, name), tensors, EPS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_that_do_not_fit_in_the_cache(isa, dtype):
    torch.manual_seed(0)
    x, residual, post_weight, weight = inputs(14 * 1024 // dtype.itemsize, 1024, 2, 2, dtype)
    norm = lambda x: ops.rms_norm(x, weight, EPS)
    add = lambda x, residual: ops.add_rms_norm(x, residual, weight, EPS)
    sandwich = lambda x, residual: ops.sandwich_norm(x, residual, post_weight, weight, EPS)
    for operator, tensors in ((norm, [x]), (add, [x, residual]), (sandwich, [x, residual])):
        check_large(operator, [operator] * 4, tensors)


@pytest.mark.parametrize(("name", "activations", "weights"), OPERATORS)
def test_operator_is_well_formed(name, activations, weights):
    tensors = [t.requires_grad_() for t in inputs(4, 32, activations, weights, torch.float32)]
    torch.library.opcheck(getattr(torch.ops.glm4v, name).default, (*tensors, EPS))
    check_compiles(getattr(ops, name), tensors, EPS)


def test_bad_input_is_named():
    x, weight = torch.randn(3, 8), torch.randn(8)
    with pytest.raises(ValueError, match=r"x: is torch.int64"):
        ops.rms_norm(x.long(), weight, EPS)
    with pytest.raises(ValueError, match=r"weight: has shape \[7\]; expected \[8\]"):
        ops.rms_norm(x, weight[:7], EPS)
    with pytest.raises(ValueError, match=r"weight: is torch.bfloat16; expected torch.float32 like x"):
        ops.rms_norm(x, weight.bfloat16(), EPS)
    with pytest.raises(ValueError, match=r"residual: has shape \[2, 8\]"):
        ops.add_rms_norm(x, x[:2], weight, EPS)
    with pytest.raises(ValueError, match="weight: is on meta"):
        ops.rms_norm(x, weight.to("meta"), EPS)


def test_bindings_check_again():
    x, weight, out = torch.randn(3, 8), torch.randn(8), torch.empty(3, 8)
    with pytest.raises(ValueError, match=r"out: has shape \[2, 8\]; expected \[3, 8\]"):
        native.rms_norm(x, None, None, weight, None, out[:2], EPS)
    with pytest.raises(ValueError, match="x: dimension"):
        native.rms_norm(x.T.contiguous().T, None, None, weight, None, out, EPS)
