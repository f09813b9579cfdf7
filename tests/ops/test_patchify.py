"""patchify against its twin, and its resizing against PIL bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glm4v import ops
from glm4v.ops import reference
from glm4v.ops.library import native
from tests.ops.conftest import DTYPES, PLACES, running_in

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
IDENTITY = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # patches hold the pixels themselves


def noise(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)


def pixels(patches, height, width):
    """Image patches in merge order -> [height, width, 3]."""
    blocks = patches.view(height // 28, width // 28, 2, 2, 3, 14, 14)
    return blocks.permute(0, 2, 5, 1, 3, 6, 4).reshape(height, width, 3)


def resize_by_pil(image, height, width):
    """In the order of axes of Pillow 13, whichever is installed: rows first where many more of them go than columns."""
    picture = Image.fromarray(image.cpu().numpy())
    if picture.height - height > 2 * max(picture.width - width, 0):
        picture = picture.resize((picture.width, height), Image.Resampling.BICUBIC)
    return np.array(picture.resize((width, height), Image.Resampling.BICUBIC))


def check_equal_to_pil(image, height, width):
    want = resize_by_pil(image, height, width)
    patches = ops.patchify([image], *IDENTITY, sizes=[(height, width)]).image_patches.cpu()
    assert torch.equal(pixels(patches, height, width).round().to(torch.uint8), torch.from_numpy(want))
    with torch.device("cpu"):
        assert torch.equal(reference.resize(image.cpu()[None], height, width)[0], torch.from_numpy(want))


def check_equal_to_twin(images, sizes, dtype=torch.float32):
    got = ops.patchify(images, MEAN, STD, sizes=sizes, dtype=dtype)
    with torch.device("cpu"):
        want = reference.patchify([image.cpu() for image in images], MEAN, STD, sizes=sizes, dtype=dtype)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-2 if dtype == torch.bfloat16 else 1e-3, atol=1e-6)


# still images, videos of one, two and three frames, strips of 1 x 40 tokens and a 400:1 picture shrunk into them
IMAGES = [
    ((28, 28), (28, 28)),
    ((50, 90), (56, 84)),
    ((3, 40, 30), (56, 28)),
    ((1, 28, 28), (28, 28)),
    ((2, 90, 20), (28, 56)),
    ((28, 1120), (28, 1120)),
    ((7, 2800), (28, 1120)),
    ((1, 1), (28, 28)),
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_to_the_twin(place, dtype):
    images, sizes = zip(*((noise(*shape), size) for shape, size in IMAGES), strict=True)
    check_equal_to_twin(images, sizes, dtype)
    check_equal_to_twin(images[:1], None, dtype)
    check_equal_to_twin([], None, dtype)


def test_strip_of_one_by_four_hundred_tokens(place):
    check_equal_to_twin([noise(28, 11200), noise(11200, 28)], None)


@pytest.mark.parametrize("offset", [1, 2])
def test_any_alignment(place, offset):
    """Pixels that start off a multiple of four bytes, kept and resized."""
    image = noise(28 * 56 + 1).flatten()[offset : offset + 28 * 56 * 3].view(28, 56, 3)
    check_equal_to_twin([image], None)
    check_equal_to_twin([image], [(56, 56)])


# height and width, each kept, shrunk, grown or shrunk much more than the other: there PIL resizes the height first
@pytest.mark.parametrize("width", [56, 50, 100, 300, 1])
@pytest.mark.parametrize("height", [84, 60, 160, 900, 1])
def test_resizes_as_pil_to_the_bit(height, width):
    check_equal_to_pil(noise(height, width), 84, 56)


def test_resizes_as_pil_everywhere(place):
    check_equal_to_pil(noise(70, 90), 28, 84)
    check_equal_to_pil(noise(300, 90), 28, 84)
    check_equal_to_pil((noise(99, 41) > 127).to(torch.uint8) * 255, 56, 56)  # overshoots on both ends


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(*[st.integers(1, 200)] * 2),
    blocks=st.tuples(*[st.integers(1, 4)] * 2),
    place=st.sampled_from(PLACES),
)
def test_random_sizes(sides, blocks, place):
    with running_in(place):
        check_equal_to_pil(noise(*sides), 28 * blocks[0], 28 * blocks[1])


def test_order_of_elements(place):
    """Element (channel, frame, row, column) of the patch at its place in merge order."""
    video = noise(2, 56, 28)
    patches, grid = ops.patchify([video], *IDENTITY).video_patches, (1, 4, 2)
    assert patches.shape == (8, 3 * 2 * 14 * 14)
    row, column, _ = reference.merge_order(torch.tensor([grid]))
    for index in (0, 3, 5, 7):
        top, left = 14 * int(row[index]), 14 * int(column[index])
        want = video[:, top : top + 14, left : left + 14].permute(3, 0, 1, 2).flatten()
        assert torch.equal(patches[index].round().to(torch.uint8), want)


def test_odd_video_repeats_its_last_frame(place):
    video = noise(3, 28, 28)
    even = torch.cat([video, video[-1:]])
    assert torch.equal(ops.patchify([video], MEAN, STD).video_patches, ops.patchify([even], MEAN, STD).video_patches)


def test_strides_are_free(place):
    image = noise(40, 60).transpose(0, 1)[:, ::2]
    got, want = (ops.patchify([x], MEAN, STD, sizes=[(28, 56)]) for x in (image, image.contiguous()))
    assert torch.equal(got.image_patches, want.image_patches)


def test_same_bits_for_every_number_of_threads(place):
    before = torch.get_num_threads()
    images, runs = [noise(200, 300), noise(4, 90, 90)], []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        runs.append(ops.patchify(images, MEAN, STD, sizes=[(140, 280), (84, 84)]))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_operator_is_well_formed():
    arguments = ([noise(28, 28), noise(2, 28, 56)], list(MEAN), list(STD), [28, 56, 28, 28], torch.float32)
    torch.library.opcheck(torch.ops.glm4v.patchify.default, arguments)


def test_bad_input_is_named():
    image = noise(28, 28)
    bad = [
        (r"images\[1\]: is torch.float32; expected torch.uint8", ([image, image.float()], MEAN, STD)),
        (r"images\[0\]: has shape \[28, 28\]", ([image[..., 0]], MEAN, STD)),
        (r"images\[0\]: has shape \[0, 28, 3\]; .* none empty", ([image[:0]], MEAN, STD)),
        (r"images\[0\]: pixel size \(28, 27\); expected positive multiples of 28", ([image[:, :27]], MEAN, STD)),
        (r"images\[0\]: target size \(0, 28\)", ([image], MEAN, STD, [(0, 28)])),
        ("sizes: has 2 entries; expected one for each of the 1 images", ([image], MEAN, STD, [(28, 28)] * 2)),
        ("mean: has 1 entries; expected three", ([image], MEAN[:1], STD)),
        ("std: is .*; expected positive", ([image], MEAN, (0.5, 0.0, 1.0))),
        ("dtype: is torch.int32", ([image], MEAN, STD, None, torch.int32)),
    ]
    for message, arguments in bad:
        with pytest.raises(ValueError, match=message):
            ops.patchify(*arguments)


def test_bindings_check_again():
    frames, out, one = noise(1, 28, 28), torch.empty(4, 588), (1.0, 1.0, 1.0)
    none = frames.new_empty(0)
    with pytest.raises(ValueError, match=r"out: has shape \[3, 588\]; expected \[4, 588\]"):
        native.patchify(frames, out[:3], none, 28, 28, 1, one, one)
    with pytest.raises(ValueError, match="span: is 3"):
        native.patchify(frames, out, none, 28, 28, 3, one, one)
    with pytest.raises(TypeError):
        native.patchify(frames, out, none, 28, 28, 1, one[:2], one)
