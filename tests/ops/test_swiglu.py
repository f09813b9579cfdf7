"""swiglu against its float64 twin."""

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
    running_in,
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradients(place, dtype):
    torch.manual_seed(0)
    for rows, features in [(1, 1), (1, 16), (37, 203), (5, 1536), (0, 8), (3, 0)]:
        check_against_twin(ops.swiglu, reference.swiglu, [torch.randn(rows, 2 * features, dtype=dtype)])


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 70), features=st.integers(0, 150), place=st.sampled_from(PLACES))
def test_random_shapes(rows, features, place):
    with running_in(place):
        check_against_twin(ops.swiglu, reference.swiglu, [torch.randn(rows, 2 * features)])


def test_large_gates_saturate(place):
    gate = torch.tensor([-1e4, -100.0, -88.0, 0.0, 88.0, 100.0, 1e4])
    gate_up = torch.cat([gate, torch.ones(7)]).requires_grad_()
    out = ops.swiglu(gate_up)
    (grad,) = torch.autograd.grad(out.sum(), gate_up)
    torch.testing.assert_close(out, torch.tensor([0.0, 0, 0, 0, 88, 100, 1e4]), rtol=1e-6, atol=1e-30)
    assert grad.isfinite().all()


def test_leading_dimensions_and_strides_are_free(place):
    x = torch.randn(6, 5, 64).transpose(0, 1)[..., ::2]
    check_against_twin(ops.swiglu, reference.swiglu, [x])


def test_same_bits_for_every_number_of_threads(place):
    check_same_bits(ops.swiglu, [torch.randn(300, 258)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_that_do_not_fit_in_the_cache(isa, dtype):
    check_large(ops.swiglu, [ops.swiglu] * 4, [torch.randn(14 * 1024 // dtype.itemsize, 2048, dtype=dtype)])


def test_operator_is_well_formed():
    torch.library.opcheck(torch.ops.glm4v.swiglu.default, (torch.randn(4, 32, requires_grad=True),))
    check_compiles(ops.swiglu, [torch.randn(4, 32)])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"gate_up: is torch.int64"):
        ops.swiglu(torch.zeros(2, 4).long())
    with pytest.raises(ValueError, match=r"gate_up: has shape \[2, 5\]; expected \[..., 2F\]"):
        ops.swiglu(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"gate_up: has shape \[\]"):
        ops.swiglu(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"out: has shape \[2, 3\]; expected \[2, 2\]"):
        native.swiglu(torch.zeros(2, 4), None, torch.zeros(2, 3))
