"""Batches as transformers' processor returns them: the same as packing the samples."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from glm4v.data import PackedBatch, pack


@pytest.fixture(scope="module")
def config(processor):
    special = processor.special
    return SimpleNamespace(
        image_token_id=special.image,
        video_start_token_id=special.begin_of_video,
        video_end_token_id=special.end_of_video,
    )


@pytest.fixture
def samples(processor, noise):
    def video(frames):
        return {"type": "video", "video": [noise(56, 84, seed=seed) for seed in range(frames)], "frame_rate": 1}

    def image(*shape):
        return {"type": "image", "image": noise(*shape)}

    contents = [
        [image(56, 84), {"type": "text", "text": "A"}, video(3), image(28, 140)],
        "Nothing to see",
        [video(1), video(4)],
        [image(112, 28), {"type": "text", "text": "What is it?"}],
    ]
    chats = [[{"role": "user", "content": content}, {"role": "assistant", "content": "x"}] for content in contents]
    return [processor(chat, train="assistant") for chat in chats]


def padded(samples, side, fill=0):
    """The dict transformers would make of `samples`."""
    longest = max(len(sample) for sample in samples)

    def rows(values, fill):
        pads = [torch.full((longest - len(value),), fill) for value in values]
        return torch.stack([torch.cat([p, v] if side == "left" else [v, p]) for v, p in zip(values, pads, strict=True)])

    batch = pack(samples)
    pixels = batch.image_patches.view(-1, 3, 1, 196).expand(-1, 3, 2, 196).reshape(-1, 1176)
    return {
        "input_ids": rows([sample.input_ids for sample in samples], fill),
        "attention_mask": rows([torch.ones_like(sample.input_ids) for sample in samples], 0),
        "labels": rows([sample.labels for sample in samples], -100),
        "pixel_values": pixels,
        "image_grid_thw": batch.image_grid_thw,
        "pixel_values_videos": batch.video_patches,
        "video_grid_thw": batch.video_grid_thw,
    }


def assert_equal(ours, expected):
    for field in dataclasses.fields(PackedBatch):
        first, second = getattr(ours, field.name), getattr(expected, field.name)
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second, field.name


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_removed_and_nothing_else_changes(samples, config, side):
    # padding with the image token shows that the mask decides, not the ids
    for fill in (0, config.image_token_id):
        assert_equal(PackedBatch.from_transformers(padded(samples, side, fill), config), pack(samples))


def test_text_alone_without_mask_and_labels(processor, config):
    sample = processor([{"role": "user", "content": "Hi"}])
    batch = PackedBatch.from_transformers({"input_ids": sample.input_ids[None]}, config)
    assert_equal(batch, pack([sample]))


def test_an_image_whose_frames_differ_becomes_a_frame_pair(samples, config):
    inputs = padded(samples, "right")
    first = 4 * 6  # patches of the first image
    inputs["pixel_values"] = inputs["pixel_values"].clone()
    inputs["pixel_values"][:first] = torch.randn(first, 1176)
    batch = PackedBatch.from_transformers(inputs, config)
    expected = pack(samples)
    assert batch.image_grids == expected.image_grids[1:]
    assert batch.video_grids == (expected.image_grids[0], *expected.video_grids)
    assert torch.equal(batch.video_patches[:first], inputs["pixel_values"][:first])
    # features: the two stills of 5 and 4 tokens now come before those of the image, 6 tokens
    moved = expected.vision_index.clone()
    moved[(expected.vision_index >= 0) & (expected.vision_index < 6)] += 9
    moved[(expected.vision_index >= 6) & (expected.vision_index < 15)] -= 6
    assert torch.equal(batch.vision_index, moved)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("attention_mask", lambda x: x[:, 1:], "attention_mask is"),
        ("labels", lambda x: x[1:], "labels is"),
        ("pixel_values", lambda x: x[:, :588], "pixel_values is"),
        ("pixel_values", lambda x: x[4:], "pixel_values is"),
        ("image_grid_thw", lambda x: None, "image_grid_thw is missing"),
        ("video_grid_thw", lambda x: x * torch.tensor([1, 1, 2]), "pixel_values_videos is"),
        ("input_ids", lambda x: x[:3], "labels|attention_mask"),
    ],
)
def test_what_does_not_fit_is_named(samples, config, name, change, message):
    inputs = padded(samples, "right")
    inputs[name] = change(inputs[name])
    with pytest.raises(ValueError, match=message):
        PackedBatch.from_transformers(inputs, config)


def test_too_few_and_too_many_images(samples, config):
    inputs = padded(samples, "right")
    few = {key: value[:1] for key, value in inputs.items() if key in ("input_ids", "attention_mask", "labels")}
    with pytest.raises(ValueError, match="image_grid_thw: 1 of its images"):
        PackedBatch.from_transformers(inputs | few, config)
    none = {"pixel_values": None, "image_grid_thw": None}
    with pytest.raises(ValueError, match=r"input_ids\[0\] has 23 image tokens"):
        PackedBatch.from_transformers(inputs | none, config)
