"""linear against its float64 twin; the way through widened blocks also on machines with bf16 instructions."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v import ops
from glm4v.ops import reference
from tests.ops.conftest import DTYPES, TOLERANCE, check_against_twin, check_compiles, check_same_bits, error

module = importlib.import_module("glm4v.ops.linear")  # the name in glm4v.ops is the function


@pytest.fixture(params=["own", "widened"])
def way(request, monkeypatch):
    """How bfloat16 is multiplied here by choice of the package, and as on a CPU without bf16 instructions."""
    if request.param == "widened":
        monkeypatch.setattr(module, "HAS_BF16_PRODUCTS", False)
        monkeypatch.setattr(module, "BLOCK", 8)
    return request.param


def case(rows, columns, outputs, dtype=torch.float32):
    weight = torch.randn(outputs, columns, dtype=dtype) / max(columns, 1) ** 0.5
    return [torch.randn(rows, columns, dtype=dtype), weight, torch.randn(outputs, dtype=dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradients(place, way, dtype):
    torch.manual_seed(0)
    for shape in [(1, 1, 1), (7, 40, 21), (33, 64, 8), (0, 8, 4), (3, 8, 0)]:
        check_against_twin(ops.linear, reference.linear, case(*shape, dtype))
        check_against_twin(ops.linear, reference.linear, case(*shape, dtype)[:2])


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 40), columns=st.integers(0, 60), outputs=st.integers(0, 40))
def test_widened_kernels_at_random_shapes(rows, columns, outputs):
    """Rounded once, at the end: half a unit in the last place of bfloat16, and float32's error of the sum."""
    x, weight, bias = case(rows, columns, outputs, torch.bfloat16)
    grad = torch.randn(rows, outputs, dtype=torch.bfloat16)
    limit = TOLERANCE[torch.bfloat16] / 4
    assert error(module.cpu_linear(x, weight, bias), x.double() @ weight.double().T + bias.double()) <= limit
    assert error(module.cpu_grad_x(grad, weight), grad.double() @ weight.double()) <= limit
    assert error(module.cpu_grad_weight(grad, x), grad.double().T @ x.double()) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_dimensions_and_strides_are_free(way, dtype):
    x, weight, bias = case(12, 16, 6, dtype)
    x = x.view(3, 4, 16).transpose(0, 1)
    bias = bias.repeat_interleave(2)[::2]
    for strided in (weight.T.contiguous().T, weight.repeat_interleave(2, 1)[:, ::2], weight[:1].expand(6, 16)):
        check_against_twin(ops.linear, reference.linear, [x, strided, bias])
        check_against_twin(ops.linear, reference.linear, [x[..., :1].expand(x.shape), strided, bias])


@pytest.mark.parametrize("onednn", [True, False])
def test_float32_by_either_library(monkeypatch, onednn):
    monkeypatch.setattr(module, "ONEDNN_IN_FLOAT32", onednn)
    for shape in [(1, 1, 1), (7, 40, 21), (33, 64, 8), (0, 8, 4), (3, 8, 0), (3, 0, 4)]:
        check_against_twin(ops.linear, reference.linear, case(*shape))
    x, weight, _ = case(12, 16, 6)
    x.requires_grad_(), weight.requires_grad_()
    ops.linear(x, weight).sum().backward()  # an upstream gradient without strides
    torch.testing.assert_close(weight.grad, x.detach().sum(0).expand(6, 16))


def test_same_bits_for_every_number_of_threads(way):
    check_same_bits(ops.linear, case(40, 64, 32, torch.bfloat16))


def test_operator_is_well_formed(way):
    tensors = case(4, 8, 6, torch.bfloat16)
    torch.library.opcheck(torch.ops.glm4v.linear.default, tuple(t.clone().requires_grad_() for t in tensors))
    check_compiles(ops.linear, tensors)


def test_bad_input_is_named():
    x, weight, bias = case(4, 8, 6)
    bad = [
        ("x: is torch.int32", (x.int(), weight, bias)),
        ("x: is a scalar", (x[0, 0], weight, bias)),
        (r"weight: has shape \[6, 7\]; expected \[out, 8\]", (x, weight[:, :7], bias)),
        (r"bias: has shape \[5\]; expected \[6\]", (x, weight, bias[:5])),
        ("weight: is torch.float16; expected torch.float32 like x", (x, weight.half(), bias)),
        ("bias: is on meta", (x, weight, bias.to("meta"))),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            ops.linear(*arguments)
