"""What transformers' processor returns (rows padded to one length) as the parts of a PackedBatch."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glm4v.data.sample import IGNORE, MERGE, PATCH, Grid, multimodal_positions

AREA = PATCH * PATCH
WIDTH = 3 * 2 * AREA  # of a patch in transformers, where a still image is two frames


class Medium(NamedTuple):
    """Patches [P, 1176] and their grid."""

    patches: Tensor
    grid: Grid


class Frame(NamedTuple):
    """An image or a frame pair of a video: rows and columns of merged tokens, and the row of its first feature."""

    rows: int
    columns: int
    start: int


def unpadded(inputs: dict[str, Any], config: Any) -> dict[str, Any]:
    """Arguments for `PackedBatch.make`; `inputs` and `config` as in `PackedBatch.from_transformers`.

    transformers marks video frames with the image token, so image tokens between begin and end of a video belong to
    videos. A still image whose two frames differ is carried as a video of one frame pair. Raises ValueError that names
    the input which does not fit the others.
    """
    inputs = {name: value.cpu() for name, value in inputs.items() if isinstance(value, Tensor)}
    rows = inputs["input_ids"]
    keep = inputs.get("attention_mask", torch.ones_like(rows)).bool()
    labels = inputs.get("labels", torch.full_like(rows, IGNORE))
    for name, tensor in (("attention_mask", keep), ("labels", labels)):
        if tensor.shape != rows.shape:
            raise ValueError(f"{name} is {list(tensor.shape)}; expected {list(rows.shape)} as input_ids")

    images = _media(inputs, "pixel_values", "image_grid_thw")
    videos = _media(inputs, "pixel_values_videos", "video_grid_thw")
    stills = [number for number, image in enumerate(images) if _is_still(image)]
    moving = [number for number, image in enumerate(images) if not _is_still(image)]
    ordered = [images[number] for number in (*stills, *moving)] + videos  # as their features are
    starts = list(accumulate((_features(medium.grid) for medium in ordered), initial=0))
    start_of = dict(zip((*stills, *moving), starts, strict=False))
    image_frames = iter(_frames(images, [start_of[number] for number in range(len(images))]))
    video_frames = iter(_frames(videos, starts[len(images) : -1]))

    indices, positions = [], []
    for number, kept in enumerate(keep):
        ids = rows[number][kept]
        is_vision = ids == config.image_token_id
        in_video = (ids == config.video_start_token_id).cumsum(0) > (ids == config.video_end_token_id).cumsum(0)
        shown = _shown(in_video[is_vision].tolist(), image_frames, video_frames, f"input_ids[{number}]")
        positions.append(multimodal_positions(is_vision, [(frame.rows, frame.columns) for frame in shown]))
        features = [torch.arange(frame.start, frame.start + frame.rows * frame.columns) for frame in shown]
        index = torch.full_like(ids, -1)
        index[is_vision] = torch.cat([index[:0], *features])
        indices.append(index)
    for name, rest in (("image_grid_thw", image_frames), ("video_grid_thw", video_frames)):
        if left := len(list(rest)):
            raise ValueError(f"{name}: {left} of its images or frame pairs have no tokens in input_ids")

    empty = torch.zeros(0, WIDTH, dtype=ordered[0].patches.dtype if ordered else torch.float32)
    still, other = ordered[: len(stills)], ordered[len(stills) :]
    return {
        "input_ids": rows[keep],
        "position_ids": torch.cat(positions, dim=1),
        "labels": labels[keep],
        "seqlens": keep.sum(1).tolist(),
        "image_patches": _first_frame(torch.cat([empty, *(medium.patches for medium in still)])),
        "video_patches": torch.cat([empty, *(medium.patches for medium in other)]),
        "image_grids": [medium.grid for medium in still],
        "video_grids": [medium.grid for medium in other],
        "vision_index": torch.cat(indices),
    }


def _media(inputs: dict[str, Tensor], pixels: str, grids: str) -> list[Medium]:
    if pixels not in inputs:
        return []
    if grids not in inputs:
        raise ValueError(f"{grids} is missing beside {pixels}")
    shapes = [(t, h, w) for t, h, w in inputs[grids].tolist()]
    counts = [t * h * w for t, h, w in shapes]
    if list(inputs[pixels].shape) != [sum(counts), WIDTH]:
        raise ValueError(f"{pixels} is {list(inputs[pixels].shape)}; expected {[sum(counts), WIDTH]} by {grids}")
    return [Medium(*medium) for medium in zip(inputs[pixels].split(counts), shapes, strict=True)]


def _is_still(image: Medium) -> bool:
    first, second = image.patches.view(-1, 3, 2, AREA).unbind(2)
    return image.grid[0] == 1 and torch.equal(first, second)


def _first_frame(patches: Tensor) -> Tensor:
    return patches.view(-1, 3, 2, AREA)[:, :, 0].reshape(-1, WIDTH // 2)


def _features(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2] // MERGE**2


def _frames(media: Sequence[Medium], starts: Sequence[int]) -> list[Frame]:
    return [
        Frame(h // MERGE, w // MERGE, start + pair * _features((1, h, w)))
        for (_, (t, h, w)), start in zip(media, starts, strict=True)
        for pair in range(t)
    ]


def _shown(in_video: list[bool], images: Iterator[Frame], videos: Iterator[Frame], name: str) -> list[Frame]:
    """The images and frame pairs, in order, of image tokens that are flagged `in_video` or not."""
    frames: list[Frame] = []
    token = 0
    while token < len(in_video):
        frame = next(videos if in_video[token] else images, None)
        token += frame.rows * frame.columns if frame else len(in_video) + 1
        if frame is None or token > len(in_video):
            raise ValueError(f"{name} has {len(in_video)} image tokens; image_grid_thw and video_grid_thw give others")
        frames.append(frame)
    return frames
