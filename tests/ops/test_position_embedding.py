"""add_position_embedding against its float64 twin (torch's grid_sample)."""

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

# side of the table, channels, grids: one token, several images and a video, 1 x 400 and 400 x 1 merged tokens,
# hundreds of small images, none
CASES = [
    (24, 70, [(1, 2, 2)]),
    (6, 64, [(1, 4, 6), (3, 2, 2), (1, 12, 12)]),
    (24, 5, [(1, 2, 800)]),
    (24, 520, [(1, 4, 70), (2, 6, 4)]),
    (7, 3, [(1, 800, 2)]),
    (1, 9, [(1, 2, 4)]),
    (6, 8, [(1, 2, 2)] * 300),
    (4, 8, []),
]


def case(side, channels, rows, dtype=torch.float32):
    grid_thw = torch.tensor(rows, dtype=torch.int64).view(-1, 3)
    patches = int(grid_thw.prod(1).sum())
    return [torch.randn(patches, channels, dtype=dtype), torch.randn(side * side, channels, dtype=dtype)], grid_thw


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradients(place, dtype):
    torch.manual_seed(0)
    for side, channels, rows in CASES:
        tensors, grid_thw = case(side, channels, rows, dtype)
        check_against_twin(ops.add_position_embedding, reference.add_position_embedding, tensors, grid_thw)


@settings(max_examples=30, deadline=None)
@given(
    sides=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), max_size=4),
    side=st.integers(1, 30),
    channels=st.integers(1, 140),
    place=st.sampled_from(PLACES),
)
def test_random_shapes(sides, side, channels, place):
    with running_in(place):
        tensors, grid_thw = case(side, channels, [(t, 2 * h, 2 * w) for t, h, w in sides])
        check_against_twin(ops.add_position_embedding, reference.add_position_embedding, tensors, grid_thw)


def test_own_grid_adds_the_table_itself(place):
    """A grid as large as the table samples each entry at its centre."""
    (x, table), grid_thw = case(6, 8, [(1, 6, 6)])
    row, column, _ = reference.merge_order(grid_thw)
    torch.testing.assert_close(ops.add_position_embedding(x, table, grid_thw), x + table[row * 6 + column])


def test_views_single_gradients_bits_and_threads(place):
    (x, table), grid_thw = case(24, 48, [(2, 8, 12), (1, 2, 40)])
    tensors = [x.repeat_interleave(2, 1)[:, ::2], table.T.contiguous().T]
    check_against_twin(ops.add_position_embedding, reference.add_position_embedding, tensors, grid_thw)
    check_single_gradients(ops.add_position_embedding, [x, table], grid_thw)
    check_same_bits(ops.add_position_embedding, [x, table], grid_thw)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_that_do_not_fit_in_the_cache(isa, dtype):
    size = 4 // dtype.itemsize
    (x, table), grid_thw = case(24, 512, [(4 * size, 40, 90)], dtype)
    frames = grid_thw // torch.tensor([4, 1, 1])
    add = lambda grid_thw: lambda x: ops.add_position_embedding(x, table, grid_thw)
    check_large(add(grid_thw), [add(frames)] * 4, [x])


def test_equal_images_are_as_one_of_many_frames(place):
    """Their taps and lines are shared, and their gradients added before anything else."""
    tensors, grid_thw = case(9, 40, [(1, 4, 10), (2, 4, 10), (1, 10, 4), (1, 4, 10)])
    check_against_twin(ops.add_position_embedding, reference.add_position_embedding, tensors, grid_thw)


def test_operator_is_well_formed():
    (x, table), grid_thw = case(4, 8, [(1, 2, 4)])
    arguments = (x.clone().requires_grad_(), table.clone().requires_grad_(), grid_thw)
    torch.library.opcheck(torch.ops.glm4v.add_position_embedding.default, arguments)
    check_compiles(ops.add_position_embedding, [x, table], grid_thw)


def test_bad_input_is_named():
    (x, table), grid_thw = case(4, 8, [(1, 2, 4)])
    bad = [
        ("x: is torch.int64", (x.long(), table, grid_thw)),
        (r"x: has shape \[8\]; expected \[P, C\]", (x[:, 0], table, grid_thw)),
        (r"table: has shape \[16, 7\]; expected \[S\*S, 8\]", (x, table[:, :7], grid_thw)),
        ("table: has 15 entries; expected a square", (x, table[:15], grid_thw)),
        ("table: is torch.float16; expected torch.float32 like x", (x, table.half(), grid_thw)),
        ("grid_thw: is torch.float32", (x, table, grid_thw.float())),
        ("grid_thw: holds 4 patches; expected 8", (x, table, torch.tensor([[1, 2, 2]]))),
        (r"grid_thw: row 0 is \(1, 4, 0\)", (x, table, torch.tensor([[1, 4, 0]]))),
        ("table: is on meta", (x, table.to("meta"), grid_thw)),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            ops.add_position_embedding(*arguments)
    with pytest.raises(ValueError, match="grad_table: is bfloat16; expected float32"):
        native.add_position_embedding_backward(x, grid_thw, table.bfloat16())
