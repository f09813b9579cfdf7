"""Sample: one conversation as token ids, 3D positions, labels and the decoded media it shows.

Position ids agree with `Glm4vModel.get_rope_index` of transformers: text counts up by one on all three axes, an image
or a frame pair of a video at position p has temporal p, height p + row, width p + column, and the text after it goes on
at p + max(rows, columns).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

PATCH = 14  # pixels a patch side
MERGE = 2  # patches a merged token's side
UNIT = PATCH * MERGE  # pixels a merged token's side
IGNORE = -100  # label of a token that carries no loss

Grid = tuple[int, int, int]  # (t, h, w) of a medium in patches; t counts frame pairs


@dataclass(frozen=True)
class Sample:
    """A conversation ready to be packed. Raises ValueError when its parts do not fit one another.

    input_ids: [T] int64.
    position_ids: [3, T] int64, temporal, height, width.
    labels: [T] int64, aligned with `input_ids`; -100 where there is no loss.
    images: media in order of appearance, uint8: [H, W, 3] a still image, [F, H, W, 3] a video; decoded, not normalised.
    sizes: (height, width) in pixels to which each medium is resized, multiples of 28.
    vision_index: [T] int64, -1 for text, else the merged feature of this sample that stands there; features are counted
        over media in order of appearance.
    key: where the sample came from ("train.jsonl:12"), for error messages.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    images: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]
    vision_index: Tensor
    key: str = ""

    def __post_init__(self) -> None:
        where = f"{self.key}: " if self.key else ""
        length = len(self.input_ids)
        for name, shape in {"input_ids": (length,), "labels": (length,), "vision_index": (length,)}.items():
            check_tensor(where + name, getattr(self, name), shape, torch.int64)
        check_tensor(where + "position_ids", self.position_ids, (3, length), torch.int64)
        if len(self.images) != len(self.sizes):
            raise ValueError(f"{where}sizes has {len(self.sizes)} entries for {len(self.images)} images; one each")
        for number, (image, (height, width)) in enumerate(zip(self.images, self.sizes, strict=True)):
            if image.dtype != torch.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3 or image.numel() == 0:
                raise ValueError(
                    f"{where}images[{number}] is {image.dtype} {list(image.shape)}; "
                    "expected uint8 [H, W, 3] or, for a video, [F, H, W, 3]"
                )
            if height % UNIT or width % UNIT or min(height, width) < UNIT:
                raise ValueError(f"{where}sizes[{number}] is {(height, width)}; expected multiples of {UNIT}")
        features = sum(self.features)
        used = self.vision_index[self.vision_index >= 0]
        if not torch.equal(used, torch.arange(features)):
            raise ValueError(
                f"{where}vision_index marks {len(used)} tokens for {features} features; expected each once, in order"
            )

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def features(self) -> tuple[int, ...]:
        """Merged features (vision tokens) of each medium."""
        grids = (merged_grids(image, size) for image, size in zip(self.images, self.sizes, strict=True))
        return tuple(sum(rows * columns for rows, columns in grid) for grid in grids)

    def response(self, tokens: Tensor, labels: Tensor) -> "Sample":
        """A response to this sample, `tokens` and `labels` [R] int64, by itself: what `pack` takes after its prefix.

        Its positions go on at the largest position so far plus one, as when the model decodes.
        """
        check_tensor("tokens", tokens, (len(tokens),), torch.int64)
        start = int(self.position_ids.max()) + 1 if len(self) else 0
        return Sample(
            input_ids=tokens,
            position_ids=torch.arange(start, start + len(tokens)).expand(3, -1),
            labels=labels,
            images=(),
            sizes=(),
            vision_index=torch.full_like(tokens, -1),
            key=self.key,
        )

    def completed(self, tokens: Tensor, labels: Tensor) -> "Sample":
        """The sample with its `response` appended. Media are shared, not copied."""
        response = self.response(tokens, labels)
        return replace(
            self,
            input_ids=torch.cat([self.input_ids, response.input_ids]),
            position_ids=torch.cat([self.position_ids, response.position_ids], dim=1),
            labels=torch.cat([self.labels, response.labels]),
            vision_index=torch.cat([self.vision_index, response.vision_index]),
        )


def check_tensor(name: str, tensor: Tensor, shape: Sequence[int], dtype: torch.dtype) -> None:
    """Raises ValueError that names `name` when `tensor` has another shape or dtype."""
    if tuple(tensor.shape) != tuple(shape) or tensor.dtype != dtype:
        raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}; expected {dtype} {list(shape)}")


def merged_grids(image: Tensor, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(rows, columns) of merged tokens of a medium: one entry for a still image, one a frame pair of a video."""
    pairs = (len(image) + 1) // 2 if image.ndim == 4 else 1
    return [(size[0] // UNIT, size[1] // UNIT)] * pairs


def multimodal_positions(is_vision: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """3D position ids [3, T] int64 of a sequence.

    is_vision: [T] bool, true at image tokens; grids: rows and columns of merged tokens of each image or frame pair, in
    order. Raises ValueError when the runs of image tokens are not those of the grids.
    """
    places = is_vision.nonzero()[:, 0].tolist()
    expected = sum(rows * columns for rows, columns in grids)
    if len(places) != expected:
        raise ValueError(f"is_vision marks {len(places)} tokens; the grids of the images have {expected}")
    parts, token, position, used = [], 0, 0, 0
    for rows, columns in grids:
        start, count = places[used], rows * columns
        if places[used + count - 1] != start + count - 1:
            raise ValueError(f"is_vision: the {count} tokens of the image at token {start} are not in one run")
        parts.append(torch.arange(position, position + start - token).expand(3, -1))
        position += start - token
        row, column = torch.arange(rows), torch.arange(columns)
        height, width = row.repeat_interleave(columns), column.repeat(rows)
        parts.append(torch.stack([torch.zeros_like(height), height, width]) + position)
        position += max(rows, columns)
        token, used = start + count, used + count
    parts.append(torch.arange(position, position + len(is_vision) - token).expand(3, -1))
    return torch.cat(parts, dim=1)
