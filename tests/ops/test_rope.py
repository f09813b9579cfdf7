"""rope_2d and rope_3d against their float64 twins."""

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
    error,
    running_in,
)

STRIP = [(1, 2, 800)]  # 1 x 400 merged tokens
GRIDS = [[(1, 2, 2)], [(1, 4, 6), (3, 2, 2), (1, 6, 4)], STRIP, [(1, 400, 2)], [(1, 2, 2)] * 300, []]


def grids(rows):
    return torch.tensor(rows, dtype=torch.int64).view(-1, 3)


def heads(tokens, count, width, dtype=torch.float32):
    return torch.randn(tokens, count, width, dtype=dtype)


def fused(tokens, count, width):
    """q and k as views of a fused projection [T, 3, H, D]."""
    return torch.randn(tokens, 3, count, width).unbind(1)[:2]


def text_case(tokens, width, rotary_dim, *, count=2, dtype=torch.float32):
    third = rotary_dim // 2 // 3
    sections = (rotary_dim // 2 - 2 * third, third, third)
    positions = torch.randint(0, 3000, (3, tokens))
    return [heads(tokens, count, width, dtype), heads(tokens, 1, width, dtype)], (positions, sections, rotary_dim)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rope_2d_forward_and_gradients(place, dtype):
    torch.manual_seed(0)
    for rows in GRIDS:
        grid_thw = grids(rows)
        patches = int(grid_thw.prod(1).sum())
        for width in (4, 24) if patches > 500 else (4, 64, 92, 256):
            tensors = [heads(patches, 3, width, dtype), heads(patches, 1, width, dtype)]
            check_against_twin(ops.rope_2d, reference.rope_2d, tensors, grid_thw)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rope_3d_forward_and_gradients(place, dtype):
    torch.manual_seed(0)
    for tokens, width, rotary_dim in [
        (1, 128, 64),
        (33, 64, 64),
        (5, 20, 6),
        (7, 3, 2),
        (4, 8, 0),
        (0, 16, 8),
        (2, 256, 256),
    ]:
        tensors, rest = text_case(tokens, width, rotary_dim, dtype=dtype)
        check_against_twin(ops.rope_3d, reference.rope_3d, tensors, *rest)


@settings(max_examples=30, deadline=None)
@given(
    sides=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), max_size=4),
    quarter=st.integers(1, 33),
    place=st.sampled_from(PLACES),
)
def test_rope_2d_random_shapes(sides, quarter, place):
    with running_in(place):
        grid_thw = grids([(t, 2 * h, 2 * w) for t, h, w in sides])
        patches = int(grid_thw.prod(1).sum())
        tensors = [heads(patches, 2, 4 * quarter), heads(patches, 1, 4 * quarter)]
        check_against_twin(ops.rope_2d, reference.rope_2d, tensors, grid_thw)


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(0, 40), width=st.integers(2, 130), part=st.floats(0, 1), place=st.sampled_from(PLACES))
def test_rope_3d_random_shapes(tokens, width, part, place):
    with running_in(place):
        tensors, rest = text_case(tokens, width, 2 * int(part * (width // 2)))
        check_against_twin(ops.rope_3d, reference.rope_3d, tensors, *rest)


def test_far_positions_keep_their_accuracy(place):
    """A million tokens on, the float64 twin still agrees to float32 rounding."""
    q, k = heads(4, 2, 64), heads(4, 1, 64)
    positions = torch.tensor([0, 65536, 1_000_000, 5_000_000]).repeat(3, 1)
    rest = (positions, (8, 12, 12), 64)
    for got, want in zip(ops.rope_3d(q, k, *rest), reference.rope_3d(q.double(), k.double(), *rest), strict=True):
        assert error(got, want) < 1e-6


def test_gradient_is_the_rotation_back(place):
    q, k = heads(24, 2, 64), heads(24, 1, 64)
    grid_thw = grids([(1, 4, 6)])
    turned = ops.rope_2d(q, k, grid_thw)
    for got, want in zip(torch.ops.glm4v.rope_2d(*turned, grid_thw, 10000.0, True), (q, k), strict=True):
        torch.testing.assert_close(got, want)


def test_views_of_a_fused_projection(place):
    check_against_twin(ops.rope_2d, reference.rope_2d, fused(24, 2, 32), grids([(1, 4, 6)]))
    q, k = fused(9, 2, 32)
    positions = torch.randint(0, 99, (9, 3)).T  # strides that the kernel does not take
    check_against_twin(ops.rope_3d, reference.rope_3d, [q, k], positions, (4, 4, 4), 24)
    check_against_twin(ops.rope_3d, reference.rope_3d, [q.transpose(1, 2), k.mT], positions, (0, 1, 0), 2)


def test_single_gradients_bits_and_threads(place):
    grid_thw = grids([(2, 8, 12), (1, 2, 40)])
    tensors = [heads(272, 4, 64), heads(272, 4, 64)]
    check_single_gradients(ops.rope_2d, tensors, grid_thw)
    check_same_bits(ops.rope_2d, tensors, grid_thw)
    tensors, rest = text_case(300, 64, 32, count=4)
    check_single_gradients(ops.rope_3d, tensors, *rest)
    check_same_bits(ops.rope_3d, tensors, *rest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_that_do_not_fit_in_the_cache(isa, dtype):
    size = 4 // dtype.itemsize  # 4 frames of 32 x 28 patches, or twice as many
    tensors = [heads(4 * 896 * size, 8, 128, dtype), heads(4 * 896 * size, 8, 128, dtype)]
    by_grid = lambda *rows: lambda q, k: ops.rope_2d(q, k, grids(rows), 10000.0)
    check_large(by_grid((4 * size, 32, 28)), [by_grid((size, 32, 28))] * 4, tensors)
    positions = torch.randint(0, 3000, (3, len(tensors[0])))
    by_place = lambda places: lambda q, k: ops.rope_3d(q, k, places, (8, 12, 12), 64, 10000.0)
    check_large(by_place(positions), [by_place(part) for part in positions.chunk(4, dim=1)], tensors)


def test_operators_are_well_formed():
    q, k = (heads(8, 2, 16).requires_grad_() for _ in range(2))
    grid_thw, positions = grids([(1, 2, 4)]), torch.arange(24).view(3, 8)
    torch.library.opcheck(torch.ops.glm4v.rope_2d.default, (q, k, grid_thw, 1e4, False))
    torch.library.opcheck(torch.ops.glm4v.rope_3d.default, (q, k, positions, [1, 2, 1], 8, 1e4, False))
    check_compiles(ops.rope_2d, [q, k], grid_thw)
    check_compiles(ops.rope_3d, [q, k], positions, (1, 2, 1), 8)


def test_bad_input_is_named():
    q, k, grid_thw, positions = heads(8, 2, 16), heads(8, 1, 16), grids([(1, 2, 4)]), torch.zeros(3, 8).long()
    bad_2d = [
        ("q: is torch.int64", (q.long(), k, grid_thw)),
        (r"k: has shape \[7, 1, 16\]; expected \[8, Hkv, 16\]", (q, k[:7], grid_thw)),
        ("k: is torch.bfloat16; expected torch.float32 like q", (q, k.bfloat16(), grid_thw)),
        ("q: has heads of 6; expected a multiple of 4", (q[..., :6], k[..., :6], grid_thw)),
        ("grid_thw: is torch.int32; expected torch.int64", (q, k, grid_thw.int())),
        (r"grid_thw: has shape \[3\]", (q, k, grid_thw[0])),
        ("grid_thw: holds 4 patches; expected 8", (q, k, grids([(1, 2, 2)]))),
        ("grid_thw: holds more than the 8 patches", (q, k, grids([(1, 2, 4), (1, 2, 2)]))),
        (r"grid_thw: row 0 is \(1, 1, 8\); expected even", (q, k, grids([(1, 1, 8)]))),
        (r"grid_thw: row 0 is \(-1, 2, -4\)", (q, k, grids([(-1, 2, -4)]))),
    ]
    for message, arguments in bad_2d:
        with pytest.raises(ValueError, match=message):
            ops.rope_2d(*arguments)
    bad_3d = [
        (r"position_ids: has shape \[3, 7\]; expected \[3, 8\]", (q, k, positions[:, :7], (1, 1, 2), 8)),
        ("position_ids: is torch.int32", (q, k, positions.int(), (1, 1, 2), 8)),
        ("rotary_dim: is 18; expected an even number up to the heads' 16", (q, k, positions, (3, 3, 3), 18)),
        (r"sections: are \(1, 1, 1\); expected three numbers that add up to 4", (q, k, positions, (1, 1, 1), 8)),
    ]
    for message, arguments in bad_3d:
        with pytest.raises(ValueError, match=message):
            ops.rope_3d(*arguments)


def test_bindings_check_again():
    q, grid_thw = heads(8, 2, 16), grids([(1, 2, 4)])
    with pytest.raises(ValueError, match=r"q_out: has shape \[7, 2, 16\]"):
        native.rope_2d(q, q, grid_thw, q[:7].clone(), q.clone(), 1e4, False)
    with pytest.raises(ValueError, match="theta: is not positive"):
        native.rope_2d(q, q, grid_thw, q.clone(), q.clone(), 0.0, False)
    with pytest.raises(ValueError, match="sections: add up to 3"):
        native.rope_3d(q, q, torch.zeros(3, 8).long(), q.clone(), q.clone(), (1, 1, 1), 8, 1e4, False)
