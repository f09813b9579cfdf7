"""What transformers' processor returns (rows padded to one length) as the parts of a PackedBatch."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from glm4v.data.sample import IGNORE, MERGE, PATCH, multimodal_positions

Grid = tuple[int, int, int]
AREA = PATCH * PATCH
WIDTH = 3 * 2 * AREA  # of a patch in transformers, where a still image is two frames


def unpadded(inputs: dict[str, Any], config: Any) -> dict[str, Any]:
    """Arguments for `PackedBatch.make`; `inputs` and `config` as in `PackedBatch.from_transformers`.

    transformers marks video frames with the image token, so image tokens between begin and end of a video belong to
    videos. A still image whose two frames differ is carried as a video of one frame pair. Raises ValueError that names
    the input which does not fit the others.
    """
    rows = inputs["input_ids"]
    mask, labels = inputs.get("attention_mask"), inputs.get("labels")
    keep = torch.ones_like(rows, dtype=torch.bool) if mask is None else mask.bool()
    labels = torch.full_like(rows, IGNORE) if labels is None else labels
    for name, tensor in (("attention_mask", keep), ("labels", labels)):
        if tensor.shape != rows.shape:
            raise ValueError(f"{name} is {list(tensor.shape)}; expected {list(rows.shape)} as input_ids")

    images = list(_media(inputs, "pixel_values", "image_grid_thw"))
    videos = list(_media(inputs, "pixel_values_videos", "video_grid_thw"))
    stills = [number for number, (patches, grid) in enumerate(images) if grid[0] == 1 and _frames_equal(patches)]
    moving = [number for number in range(len(images)) if number not in set(stills)]
    order = [images[number] for number in (*stills, *moving)] + videos  # the order of the features
    starts = list(accumulate((_features(grid) for _, grid in order), initial=0))
    place = {number: position for position, number in enumerate((*stills, *moving))}
    image_frames = iter([(grid, starts[place[number]]) for number, (_, grid) in enumerate(images)])
    video_frames = iter(
        [
            ((1, h, w), start + pair * _features((1, h, w)))
            for (_, (t, h, w)), start in zip(videos, starts[len(images) :], strict=False)
            for pair in range(t)
        ]
    )

    parts = []
    for number, (row, kept) in enumerate(zip(rows, keep, strict=True)):
        ids = row[kept]
        in_video = (ids == config.video_start_token_id).cumsum(0) > (ids == config.video_end_token_id).cumsum(0)
        is_vision = ids == config.image_token_id
        frames = _frames_of(in_video[is_vision].tolist(), image_frames, video_frames, number)
        positions = multimodal_positions(is_vision, [(h // MERGE, w // MERGE) for (_, h, w), _ in frames])
        index = torch.full_like(ids, -1)
        index[is_vision] = torch.cat(
            [ids.new_zeros(0), *(torch.arange(start, start + _features(grid)) for grid, start in frames)]
        )
        parts.append((ids, positions, labels[number][kept], index))
    for name, rest in (("image_grid_thw", image_frames), ("video_grid_thw", video_frames)):
        if left := len(list(rest)):
            raise ValueError(f"{name}: {left} of its images or frame pairs have no tokens in input_ids")

    token_ids, position_ids, targets, indices = zip(*parts, strict=True)
    return {
        "input_ids": torch.cat(token_ids),
        "position_ids": torch.cat(position_ids, dim=1),
        "labels": torch.cat(targets),
        "seqlens": [len(part) for part in token_ids],
        "image_patches": torch.cat(
            [torch.zeros(0, WIDTH // 2), *(_one_frame(order[i][0]) for i in range(len(stills)))]
        ),
        "video_patches": torch.cat([torch.zeros(0, WIDTH), *(patches for patches, _ in order[len(stills) :])]),
        "image_grids": [grid for _, grid in order[: len(stills)]],
        "video_grids": [grid for _, grid in order[len(stills) :]],
        "vision_index": torch.cat(indices),
    }


def _media(inputs: dict[str, Any], pixels: str, grids: str) -> Iterator[tuple[Tensor, Grid]]:
    """Patches [P, 1176] and grid (t, h, w) of each medium."""
    patches, grid_thw = inputs.get(pixels), inputs.get(grids)
    if patches is None:
        return
    if grid_thw is None:
        raise ValueError(f"{grids} is missing beside {pixels}")
    shape = [(t, h, w) for t, h, w in grid_thw.tolist()]
    expected = [sum(t * h * w for t, h, w in shape), WIDTH]
    if list(patches.shape) != expected:
        raise ValueError(f"{pixels} is {list(patches.shape)}; expected {expected} by {grids}")
    yield from zip(patches.split([t * h * w for t, h, w in shape]), shape, strict=True)


def _features(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2] // MERGE**2


def _frames_equal(patches: Tensor) -> bool:
    first, second = patches.view(-1, 3, 2, AREA).unbind(2)
    return torch.equal(first, second)


def _one_frame(patches: Tensor) -> Tensor:
    return patches.view(-1, 3, 2, AREA)[:, :, 0].reshape(-1, WIDTH // 2)


def _frames_of(
    in_video: list[bool], images: Iterator[tuple[Grid, int]], videos: Iterator[tuple[Grid, int]], row: int
) -> list[tuple[Grid, int]]:
    """The images and frame pairs, in order, whose tokens are flagged `in_video` or not."""
    frames: list[tuple[Grid, int]] = []
    token = 0
    while token < len(in_video):
        frame = next(videos if in_video[token] else images, None)
        count = _features(frame[0]) if frame else 0
        if frame is None or token + count > len(in_video):
            raise ValueError(
                f"input_ids[{row}] has {len(in_video)} image tokens; image_grid_thw and video_grid_thw give others"
            )
        frames.append(frame)
        token += count
    return frames
