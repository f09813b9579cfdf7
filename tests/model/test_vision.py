"""The vision encoder against transformers' Glm4vVisionModel, and what must not reach across images."""

from typing import Any

import pytest
import torch

from glm4v.data.packing import PackedBatch


def features_of(tools: Any, rows: list[list[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours and theirs, images before videos."""
    ours, theirs = tools.pair(tools.config())
    inputs = tools.inputs(rows)
    expected = []
    with torch.no_grad():
        if "pixel_values" in inputs:
            seen = theirs.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
            expected.extend(seen.pooler_output)
        if "pixel_values_videos" in inputs:
            seen = theirs.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"])
            expected.extend(seen.pooler_output)
        return ours.encode_images(PackedBatch.from_transformers(inputs, ours.config)), torch.cat(expected)


@pytest.mark.parametrize(
    "media",
    [
        [("image", (1, 2, 2))],
        [("image", (1, 2, 1600))],
        [("image", (1, 400, 2)), ("image", (1, 6, 6))],
        [("video", (1, 4, 4))],
        [("video", (5, 2, 8)), ("video", (1, 8, 2))],
        [("video", (2, 4, 4)), ("image", (1, 6, 4)), ("video", (1, 2, 2)), ("image", (1, 2, 2))],
    ],
    ids=str,
)
def test_features_are_those_of_transformers(tools: Any, media: list[Any]) -> None:
    actual, expected = features_of(tools, [[1, *media, 2]])
    assert actual.shape == expected.shape
    assert tools.difference(actual, expected) <= 1e-4


def test_an_image_does_not_see_its_neighbours(tools: Any) -> None:
    model, _ = tools.pair(tools.config())
    inputs = tools.inputs([[("image", (1, 4, 4)), ("image", (1, 2, 6)), ("image", (1, 2, 2))]])
    batch = PackedBatch.from_transformers(inputs, model.config)
    with torch.no_grad():
        before = model.encode_images(batch)
        batch.image_patches[16:28] += 1
        after = model.encode_images(batch)
    assert torch.equal(before[:4], after[:4])
    assert torch.equal(before[7:], after[7:])
    assert not torch.isclose(before[4:7], after[4:7]).all(dim=1).any()


def test_a_still_image_equals_a_video_of_two_equal_frames(tools: Any) -> None:
    model, _ = tools.pair(tools.config())
    image = torch.randn(24, 3, 1, 196)
    batch = PackedBatch.from_transformers(tools.inputs([[("image", (1, 4, 6))]]), model.config)
    batch.image_patches.copy_(image.flatten(1))
    grid_thw, cu_seqlens = batch.image_grid_thw, batch.vision_cu_seqlens_images
    with torch.no_grad():
        still = model.encode_images(batch)
        frames = image.expand(-1, -1, 2, -1).reshape(24, 1176)
        moving = model.model.visual(batch.image_patches[:0], frames, grid_thw, cu_seqlens)
    assert tools.difference(moving, still) <= 1e-5
