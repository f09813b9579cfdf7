"""Registration and the checks all operators share; all of them compiled into one graph."""

import pytest
import torch

from glm4v import ops
from glm4v.ops.library import aligned_rows, dense_heads, fused, fuses, through_float32
from tests.ops.conftest import PLACES_OF_FUSED, results, running_in

GRID = torch.tensor([[1, 2, 4], [2, 2, 2]])
CU_SEQLENS = torch.tensor([0, 8, 16], dtype=torch.int32)


def network(patches, weight, bias, table, norm, projection, gate_up, vocabulary):
    """One pass through every differentiable operator on 16 patches of 32 channels."""
    x = ops.add_position_embedding(ops.patch_embed(patches, weight, bias), table, GRID)
    q, k, v = ops.linear(ops.rms_norm(x, norm, 1e-5), projection).view(16, 3, 2, 16).unbind(1)
    q, k = ops.rope_2d(q, k, GRID)
    q, k = ops.rope_3d(q, k, torch.arange(48).view(3, 16), (1, 2, 1), 8)
    attended = ops.packed_attention(q, k, v, CU_SEQLENS, causal=True).flatten(1)
    normed, x = ops.add_rms_norm(attended, x, norm, 1e-5)
    x, normed = ops.sandwich_norm(ops.swiglu(ops.linear(normed, gate_up)), x, norm, norm, 1e-5)
    return ops.linear_cross_entropy(normed, vocabulary, torch.arange(16))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_operators_compile_into_one_graph(dtype):
    """With code generation, dynamic shapes off: the results of the plain call, outputs and gradients."""
    torch.manual_seed(0)
    shapes = [(16, 588), (32, 3, 2, 14, 14), (32,), (25, 32), (32,), (96, 32), (64, 32), (40, 32)]
    tensors = [torch.randn(shape).div(shape[-1] ** 0.5 if len(shape) == 2 else 8).to(dtype) for shape in shapes]
    needs = range(1, len(tensors))
    want = results(network, tensors, needs=needs)
    got = results(torch.compile(network, fullgraph=True), tensors, needs=needs)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 5e-2}
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, **close)


def test_operators_without_gradients_leave_no_graph():
    out = ops.rms_norm(torch.randn(3, 8), torch.ones(8), 1e-5)
    assert out.grad_fn is None


def test_dense_heads_copies_only_what_is_not_dense():
    fused = torch.randn(5, 3, 2, 16)
    assert dense_heads(fused[:, 1]).data_ptr() == fused[:, 1].data_ptr()
    turned = torch.randn(2, 5, 16).transpose(0, 1)
    assert dense_heads(turned).is_contiguous()
    assert torch.equal(dense_heads(turned), turned)


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_kernels_are_taken_where_they_serve_and_are_asked_for(place):
    with running_in(place):
        x = torch.ones(2, 8).bfloat16()
        assert fuses(x)
        assert not any(fuses(other) for other in (x.float(), x.half(), x[:, :0]))
        with fused(False):
            assert not fuses(x)
    with fused():
        assert not fuses(torch.ones(2, 8).bfloat16())  # the CPU has none


def test_aligned_rows_copies_only_what_is_not_aligned():
    wide = torch.randn(3, 24).bfloat16()
    for x, copied in [(wide, 0), (wide[:, :16], 0), (wide[:, :13], 0), (wide[:, 4:], 1), (wide.T, 1), (wide[:0], 0)]:
        rows = aligned_rows(x)
        assert torch.equal(rows, x)
        assert (rows is not x) == copied
        assert rows.stride(0) % 8 == 0
        assert rows.data_ptr() % 16 == 0


def test_float16_goes_through_float32():
    seen = []

    def kernel(x, scale):
        seen.append(x.dtype)
        return x * scale, None

    double = through_float32(kernel)
    out, nothing = double(torch.ones(2, dtype=torch.float16), 2)
    assert (out.dtype, nothing, seen) == (torch.float16, None, [torch.float32])
    assert double(torch.ones(2, dtype=torch.bfloat16), 2)[0].dtype == torch.bfloat16


def test_meta_tensors_give_shapes_alone():
    x, weight = torch.empty(4, 8, device="meta"), torch.empty(8, device="meta")
    assert ops.rms_norm(x, weight, 1e-5).shape == (4, 8)
    assert ops.swiglu(x).shape == (4, 4)
