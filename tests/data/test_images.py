"""Images from every source to RGB; sizes and patch values against transformers' PIL image processor."""

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as oracle_resize

from glm4v import ops
from glm4v.data.images import CLIP_MEAN, CLIP_STD, load_image, smart_resize

GREY_LEVEL = 1 / 255 / min(CLIP_STD)  # one step of uint8 after normalisation


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def test_every_kind_of_source_gives_the_same_picture(tmp_path, noise):
    array = noise(20, 30)
    image = Image.fromarray(array)
    data = encoded(image)
    (tmp_path / "a.png").write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    sources = [
        array,
        torch.from_numpy(array),
        image,
        data,
        url,
        "a.png",
        tmp_path / "a.png",
        f"file://{tmp_path}/a.png",
    ]
    sources += [array.astype(np.float32) / 255, array.astype(np.uint16) * 257]
    for source in sources:
        loaded = load_image(source, tmp_path)
        assert loaded.dtype == torch.uint8
        assert np.array_equal(loaded.numpy(), array), type(source)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(noise, orientation):
    upright = Image.fromarray(noise(24, 40))
    stored = {
        1: lambda x: x,
        2: lambda x: x.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda x: x.transpose(Image.Transpose.ROTATE_180),
        4: lambda x: x.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda x: x.transpose(Image.Transpose.TRANSPOSE),
        6: lambda x: x.transpose(Image.Transpose.ROTATE_90),
        7: lambda x: x.transpose(Image.Transpose.TRANSVERSE),
        8: lambda x: x.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(encoded(stored, exif=exif))
    assert np.array_equal(loaded.numpy(), np.asarray(upright))


def test_alpha_is_laid_on_white(noise):
    array = noise(8, 8, channels=4)
    array[..., 3] = np.linspace(0, 255, 8, dtype=np.uint8)
    alpha = array[..., 3:].astype(float) / 255
    expected = array[..., :3] * alpha + 255 * (1 - alpha)
    for source in (array, Image.fromarray(array), encoded(Image.fromarray(array))):
        assert np.abs(load_image(source).numpy() - expected).max() <= 1
    grey = Image.fromarray(array[..., [0, 3]], "LA")
    assert (
        np.abs(load_image(grey).numpy()[..., 1] - (array[..., 0] * alpha[..., 0] + 255 * (1 - alpha[..., 0]))).max()
        <= 1
    )


def test_palettes_with_and_without_transparency(noise):
    image = Image.fromarray(noise(16, 16)).quantize(8)
    assert np.array_equal(load_image(encoded(image)).numpy(), np.asarray(image.convert("RGB")))
    clear = load_image(encoded(image, transparency=int(np.asarray(image)[0, 0]))).numpy()
    hidden = np.asarray(image) == np.asarray(image)[0, 0]
    assert (clear[hidden] == 255).all()
    assert np.array_equal(clear[~hidden], np.asarray(image.convert("RGB"))[~hidden])


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.rint(ramp / 257).astype(np.uint8)
    for source in (ramp, Image.fromarray(ramp), encoded(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF")):
        assert np.array_equal(load_image(source).numpy()[..., 2], expected)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes(noise, mode):
    image = Image.fromarray(noise(12, 12)).convert(mode)
    assert np.array_equal(load_image(image).numpy(), np.asarray(image.convert("RGB")))


def test_arrays_keep_their_owner(noise):
    array = noise(4, 4)
    loaded = load_image(array)
    array[:] = 0
    assert loaded.max() > 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.png", "no file nowhere.png"),
        ("https://example.org/a.png", "on the network"),
        ("data:image/png,abc", "data URL starts with"),
        ("data:image/png;base64,a*b", "no base64"),
        (b"no image", "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be decoded"),
        (np.zeros((3, 8, 8), np.uint8), r"\[3, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.full((8, 8), 7.5), "7.5"),
        (np.full((8, 8), np.nan), "nan"),
        (Image.new("F", (4, 4)), "mode F"),
        (None, "NoneType"),
    ],
)
def test_errors_say_what_was_wrong(source, message):
    with pytest.raises(ValueError, match=message):
        load_image(source)


def test_a_truncated_file_is_an_error(noise):
    with pytest.raises(ValueError, match="cannot be decoded"):
        load_image(encoded(Image.fromarray(noise(200, 200)), "JPEG")[:2000])


@given(
    height=st.integers(1, 6000),
    width=st.integers(1, 6000),
    pairs=st.integers(1, 20),
    least=st.integers(1, 500),
    share=st.floats(0, 1),
)
def test_sizes_are_those_of_transformers(height, width, pairs, least, share):
    least *= 784
    most = int(least + share * (28 * 28 * 30000 - least))
    short, long = sorted((max(height, 1), max(width, 1)))
    ours = smart_resize(2 * pairs, height, width, least, most)
    assert ours[0] % 28 == ours[1] % 28 == 0
    assert min(ours) >= 28
    if long / short <= 190:  # transformers refuses more than 200 after enlarging, in whole pixels
        assert ours == oracle_resize(2 * pairs, height, width, min_pixels=least, max_pixels=most)


@pytest.mark.parametrize(("height", "width"), [(10, 4000), (9000, 20), (1, 100_000), (28, 28 * 2000)])
def test_ratios_beyond_200_are_taken_and_keep_the_limit(height, width):
    ours = smart_resize(1, height, width, 6272, 28 * 28 * 500)
    assert ours[0] * ours[1] <= 28 * 28 * 500
    assert min(ours) == 28
    assert max(ours) > 28 * 200


@pytest.mark.parametrize(
    ("height", "width"), [(300, 200), (37, 512), (28, 28), (5, 9), (20, 3000), (1500, 1100), (40, 61), (448, 448)]
)
def test_patch_values_within_one_grey_level(noise, height, width):
    size = {"shortest_edge": 12544, "longest_edge": 2 * 600_000}
    image = Image.fromarray(noise(height, width, seed=height))
    oracle = Glm4vImageProcessorPil(size=size)(images=[image], return_tensors="pt")
    target = smart_resize(1, height, width, 12544 / 2, 600_000)
    ours = ops.patchify([load_image(image)], CLIP_MEAN, CLIP_STD, [target])
    assert torch.equal(ours.image_grid_thw, oracle["image_grid_thw"])
    expected = oracle["pixel_values"].view(-1, 3, 2, 196)[:, :, 0].reshape(-1, 588)
    assert (ours.image_patches - expected).abs().max() <= GREY_LEVEL * 1.001


@pytest.mark.slow
def test_an_8000_by_6000_photograph(tmp_path):
    y, x = np.mgrid[:6000, :8000].astype(np.float32)
    array = np.stack([128 + 100 * np.sin(x / 300), 128 + 100 * np.cos(y / 200), (x + y) * 255 / 14000], axis=-1)
    Image.fromarray(array.astype(np.uint8)).save(tmp_path / "big.jpg", quality=92)
    image = load_image("big.jpg", tmp_path)
    assert image.shape == (6000, 8000, 3)
    full = smart_resize(1, 6000, 8000, 6272, 8000 * 6000)
    assert full == (5992, 8008)
    patches = ops.patchify([image], CLIP_MEAN, CLIP_STD, [full], torch.bfloat16)
    assert patches.image_grid_thw.tolist() == [[1, 428, 572]]
    assert patches.image_patches.shape == (428 * 572, 588)
