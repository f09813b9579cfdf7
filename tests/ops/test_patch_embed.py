"""patch_embed against its float64 twin and torch's 3D convolution."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native_for
from tests.ops.conftest import (
    DTYPES,
    PLACES_OF_FUSED,
    check_against_twin,
    check_compiles,
    check_same_bits,
    check_single_gradients,
    running_in,
)

module = importlib.import_module("glm4v.ops.patch_embed")  # the name in glm4v.ops is the function


def case(patches, channels, frames, dtype=torch.float32):
    weight = torch.randn(channels, 3, 2, 14, 14, dtype=dtype) / 34
    return [torch.randn(patches, 588 * frames, dtype=dtype), weight, torch.randn(channels, dtype=dtype)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("frames", [1, 2])
def test_forward_and_gradients(place, frames, dtype):
    torch.manual_seed(0)
    for patches, channels in [(1, 8), (4, 1), (37, 24), (0, 8)]:
        check_against_twin(ops.patch_embed, reference.patch_embed, case(patches, channels, frames, dtype))


@settings(max_examples=15, deadline=None)
@given(patches=st.integers(0, 50), channels=st.integers(1, 40), frames=st.integers(1, 2))
def test_random_shapes(patches, channels, frames):
    check_against_twin(ops.patch_embed, reference.patch_embed, case(patches, channels, frames))


def test_agrees_with_the_convolution():
    patches, weight, bias = case(5, 8, 2)
    want = F.conv3d(patches.view(5, 3, 2, 14, 14), weight, bias).flatten(1)
    torch.testing.assert_close(ops.patch_embed(patches, weight, bias), want, rtol=1e-5, atol=1e-5)


def test_still_image_is_two_equal_frames():
    still, weight, bias = case(6, 8, 1)
    doubled = still.view(6, 3, 1, 14, 14).expand(-1, -1, 2, -1, -1).reshape(6, -1)
    got, want = ops.patch_embed(still, weight, bias), ops.patch_embed(doubled, weight, bias)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_several_blocks_of_patches(place, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", {"cpu": 8, "cuda": 8})
    check_against_twin(ops.patch_embed, reference.patch_embed, case(21, 4, 1, torch.bfloat16))


@pytest.fixture
def fused(monkeypatch, place):
    """Only fused kernels multiply patches of still images."""
    monkeypatch.setattr(module, "doubled", None)
    with running_in(place):
        yield


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_forward_and_gradients(place, fused):
    """Rows and columns within a tile, at its end and beyond, and several tiles in a row and one below the other."""
    torch.manual_seed(0)
    for patches, channels in [(1, 8), (37, 24), (128, 128), (300, 136), (0, 8)]:
        tensors = case(patches, channels, 1, torch.bfloat16)
        check_against_twin(ops.patch_embed, reference.patch_embed, tensors, tolerance=0.25)


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_blocks_views_and_bits(place, fused, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", {"cpu": 8, "cuda": 8})
    patches, weight, bias = case(21, 16, 1, torch.bfloat16)
    views = [patches.repeat_interleave(2, 0)[::2], weight.transpose(3, 4), bias.repeat_interleave(3)[1::3]]
    for tensors in ([patches, weight, bias], views):
        check_against_twin(ops.patch_embed, reference.patch_embed, tensors, tolerance=0.25)
    check_same_bits(ops.patch_embed, views)


@pytest.mark.parametrize("place", [place for place in PLACES_OF_FUSED if place.startswith("cuda fused")])
def test_fused_many_tiles(place, fused):
    """Every multiprocessor has several tiles."""
    tensors = case(26_005, 1536, 1, torch.bfloat16)
    check_against_twin(ops.patch_embed, reference.patch_embed, tensors, tolerance=0.25)


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_odd_channels_are_not_fused(place):
    with running_in(place):
        check_against_twin(ops.patch_embed, reference.patch_embed, case(9, 12, 1, torch.bfloat16))


@pytest.mark.parametrize("place", PLACES_OF_FUSED)
def test_fused_bindings_check_again(place, fused):
    patches, slices, bias = torch.empty(5, 592).bfloat16(), torch.empty(16, 592).bfloat16(), torch.empty(8).bfloat16()
    out, kernels = torch.empty(5, 8).bfloat16(), native_for(patches)
    bad = [
        ("patches: has rows that do not start at multiples of 16 bytes", (patches[:, 1:589], slices, bias, out)),
        ("patches: is float32; expected bfloat16", (patches.float(), slices, bias, out)),
        (r"slices: has shape \[15, 592\]; expected \[16, 592\]", (patches, slices[:15], bias, out)),
        ("bias: has 7 channels; expected a multiple of 8", (patches, slices, bias[:7], out)),
        (r"out: has shape \[4, 8\]; expected \[5, 8\]", (patches, slices, bias, out[:4])),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            kernels.fused_patch_embed(*arguments)


def test_views_single_gradients_bits_and_threads():
    patches, weight, bias = case(30, 16, 1)
    views = [patches.repeat_interleave(2, 0)[::2], weight.transpose(3, 4), bias.repeat_interleave(2)[::2]]
    check_against_twin(ops.patch_embed, reference.patch_embed, views)
    check_single_gradients(ops.patch_embed, [patches, weight, bias])
    check_same_bits(ops.patch_embed, [patches, weight, bias])


def test_operator_is_well_formed():
    tensors = case(4, 8, 1)
    torch.library.opcheck(torch.ops.glm4v.patch_embed.default, tuple(t.clone().requires_grad_() for t in tensors))
    check_compiles(ops.patch_embed, tensors)
    check_compiles(ops.patch_embed, case(4, 8, 2))


def test_bad_input_is_named():
    patches, weight, bias = case(4, 8, 1)
    bad = [
        ("patches: is torch.int64", (patches.long(), weight, bias)),
        (r"patches: has shape \[4, 500\]; expected \[P, 588\] or \[P, 1176\]", (patches[:, :500], weight, bias)),
        (r"weight: has shape \[8, 3, 1, 14, 14\]", (patches, weight[:, :, :1], bias)),
        (r"bias: has shape \[7\]; expected \[8\]", (patches, weight, bias[:7])),
        ("weight: is torch.bfloat16; expected torch.float32 like patches", (patches, weight.bfloat16(), bias)),
        ("bias: is on meta", (patches, weight, bias.to("meta"))),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            ops.patch_embed(*arguments)
