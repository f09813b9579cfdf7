"""PackedBatch: samples in a row, without padding; the one layout the model knows. `pack` makes it from samples."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glm4v import ops
from glm4v.data.images import CLIP_MEAN, CLIP_STD
from glm4v.data.sample import IGNORE, MERGE, PATCH, Grid, Sample, check_tensor
from glm4v.data.unpadding import unpadded

IMAGE_WIDTH = 3 * PATCH * PATCH
VIDEO_WIDTH = 2 * IMAGE_WIDTH


@dataclass(frozen=True)
class PackedBatch:
    """Sequences in a row, `T` tokens in all. Raises ValueError that names the field which breaks an invariant.

    Make it with `pack`, `PackedBatch.from_transformers` or `PackedBatch.make`. Shapes are checked always, values while
    the tensors are on the CPU, which is where batches are made.

    input_ids, labels: [T] int64; labels align with input_ids and are -100 where there is no loss.
    position_ids: [3, T] int64.
    cu_seqlens: [N + 1] int32, boundaries of the sequences.
    prefixes: for each sequence the earlier one that it goes on from, or -1: rollouts of one prompt share its tokens.
    key_index, cu_seqlens_k: [K] int64 and [N + 1] int32, the tokens whose keys each sequence sees: those of its prefix,
        then its own. predictors: [T] int64, the token that each token is predicted from, or -1.
    image_patches: [Pi, 588] of still images; video_patches: [Pv, 1176] of frame pairs; both in merge order.
    image_grid_thw, video_grid_thw: [M, 3] int64, in patches.
    vision_index: [T] int64; -1 for text, else the row of the vision features that stands there: merged tokens of all
        still images in order, then those of all videos' frame pairs. Sequences may share rows.
    vision_cu_seqlens_images, vision_cu_seqlens_videos: [M + 1] int32, in patches: an image or a frame pair attends to
        itself alone.
    seqlens, image_grids, video_grids, num_targets: copies on the host; num_targets counts the labels that are predicted
        (not -100, not the first of a sequence without a prefix).
    """

    input_ids: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor
    labels: Tensor
    image_patches: Tensor
    video_patches: Tensor
    image_grid_thw: Tensor
    video_grid_thw: Tensor
    vision_index: Tensor
    vision_cu_seqlens_images: Tensor
    vision_cu_seqlens_videos: Tensor
    key_index: Tensor
    cu_seqlens_k: Tensor
    predictors: Tensor
    seqlens: tuple[int, ...]
    prefixes: tuple[int, ...]
    image_grids: tuple[Grid, ...]
    video_grids: tuple[Grid, ...]
    num_targets: int

    @classmethod
    def make(
        cls,
        *,
        input_ids: Tensor,
        position_ids: Tensor,
        labels: Tensor,
        seqlens: Sequence[int],
        image_patches: Tensor,
        video_patches: Tensor,
        image_grids: Sequence[Grid],
        video_grids: Sequence[Grid],
        vision_index: Tensor,
        prefixes: Sequence[int] = (),
    ) -> "PackedBatch":
        """A batch from its independent parts, on the CPU; everything else follows from them. No prefixes: none."""
        prefixes = tuple(prefixes) or (-1,) * len(seqlens)
        _check_prefixes(prefixes, seqlens)
        cu_seqlens = cumulative(seqlens)
        bounds = cu_seqlens.tolist()
        predictors = torch.arange(-1, len(input_ids) - 1)
        keys = []
        for prefix, (start, stop) in zip(prefixes, pairwise(bounds), strict=True):
            before = torch.arange(bounds[prefix], bounds[prefix + 1]) if prefix >= 0 else predictors[:0]
            keys.append(torch.cat([before, torch.arange(start, stop)]))
            predictors[start:stop][:1] = bounds[prefix + 1] - 1 if prefix >= 0 else -1
        return cls(
            input_ids=input_ids,
            position_ids=position_ids,
            cu_seqlens=cu_seqlens,
            labels=labels,
            image_patches=image_patches,
            video_patches=video_patches,
            image_grid_thw=torch.tensor(image_grids, dtype=torch.int64).view(-1, 3),
            video_grid_thw=torch.tensor(video_grids, dtype=torch.int64).view(-1, 3),
            vision_index=vision_index,
            vision_cu_seqlens_images=cumulative([h * w for t, h, w in image_grids for _ in range(t)]),
            vision_cu_seqlens_videos=cumulative([h * w for t, h, w in video_grids for _ in range(t)]),
            key_index=torch.cat([torch.zeros(0, dtype=torch.int64), *keys]),
            cu_seqlens_k=cumulative([len(seen) for seen in keys]),
            predictors=predictors,
            seqlens=tuple(seqlens),
            prefixes=prefixes,
            image_grids=tuple(image_grids),
            video_grids=tuple(video_grids),
            num_targets=int(((labels != IGNORE) & (predictors >= 0)).sum()),
        )

    @property
    def shares_prefixes(self) -> bool:
        """Whether any sequence goes on from another."""
        return max(self.prefixes, default=-1) >= 0

    def __post_init__(self) -> None:
        self._check_shapes()
        if self.input_ids.device.type == "cpu":
            self._check_values()

    def _check_shapes(self) -> None:
        length = len(self.input_ids)
        for name in ("input_ids", "labels", "vision_index", "predictors"):
            check_tensor(name, getattr(self, name), (length,), torch.int64)
        check_tensor("position_ids", self.position_ids, (3, length), torch.int64)
        check_tensor("cu_seqlens", self.cu_seqlens, (len(self.seqlens) + 1,), torch.int32)
        if sum(self.seqlens) != length or min(self.seqlens, default=0) < 0:
            raise ValueError(f"seqlens {self.seqlens} do not add up to the {length} tokens of input_ids")
        for kind, width in (("image", IMAGE_WIDTH), ("video", VIDEO_WIDTH)):
            grids: tuple[Grid, ...] = getattr(self, f"{kind}_grids")
            for grid in grids:
                if min(grid) < 1 or grid[1] % MERGE or grid[2] % MERGE or (kind == "image" and grid[0] != 1):
                    shape = "(1, h, w)" if kind == "image" else "(t, h, w)"
                    raise ValueError(
                        f"{kind}_grids holds {grid}; expected {shape}, h and w positive multiples of {MERGE}"
                    )
            check_tensor(f"{kind}_grid_thw", getattr(self, f"{kind}_grid_thw"), (len(grids), 3), torch.int64)
            patches, expected = getattr(self, f"{kind}_patches"), [sum(t * h * w for t, h, w in grids), width]
            if list(patches.shape) != expected or not patches.is_floating_point():
                raise ValueError(
                    f"{kind}_patches is {patches.dtype} {list(patches.shape)}; {kind}_grids ask for float {expected}"
                )
            sequences = sum(t for t, _, _ in grids)
            bounds = f"vision_cu_seqlens_{kind}s"
            check_tensor(bounds, getattr(self, bounds), (sequences + 1,), torch.int32)

    def _check_values(self) -> None:
        if not torch.equal(self.cu_seqlens, cumulative(self.seqlens)):
            raise ValueError(
                f"cu_seqlens {self.cu_seqlens.tolist()} are not the running sums of seqlens {self.seqlens}"
            )
        for name in ("input_ids", "position_ids"):
            wrong = (values := getattr(self, name)) < 0
            if wrong.any():
                raise ValueError(f"{name} holds {int(values[wrong][0])}; expected nothing below 0")
        wrong = (self.labels < 0) & (self.labels != IGNORE)
        if wrong.any():
            raise ValueError(f"labels holds {int(self.labels[wrong][0])}; expected token ids or {IGNORE}")
        features = sum(t * h * w for t, h, w in (*self.image_grids, *self.video_grids)) // MERGE**2
        wrong = (self.vision_index < -1) | (self.vision_index >= features)
        if wrong.any():
            raise ValueError(
                f"vision_index holds {int(self.vision_index[wrong][0])}; expected -1 or one of the {features} features"
            )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "PackedBatch":
        """The batch on `device`, its patches in `dtype`; None leaves either as it is."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device, dtype if value.is_floating_point() else None)
        return replace(self, **moved)

    @classmethod
    def from_transformers(cls, inputs: dict[str, Any], config: Any) -> "PackedBatch":
        """The batch of a dict as transformers' processor returns it, padding (either side) removed.

        inputs: input_ids [B, T]; optional attention_mask and labels [B, T], pixel_values [P, 1176] with image_grid_thw,
        pixel_values_videos [P, 1176] with video_grid_thw; config: a `Glm4vConfig`, for its token ids.
        """
        return cls.make(**unpadded(inputs, config))


def _check_prefixes(prefixes: Sequence[int], seqlens: Sequence[int]) -> None:
    if len(prefixes) != len(seqlens):
        raise ValueError(f"prefixes has {len(prefixes)} entries for {len(seqlens)} sequences")
    for number, prefix in enumerate(prefixes):
        if not -1 <= prefix < number or (prefix >= 0 and (prefixes[prefix] >= 0 or not seqlens[prefix])):
            raise ValueError(
                f"prefixes[{number}] is {prefix}; expected -1 or an earlier sequence that has tokens and no prefix"
            )


def cumulative(lengths: Sequence[int]) -> Tensor:
    """Running sums of `lengths` that start at 0: [N + 1] int32."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


def pack(
    samples: Sequence[Sample],
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
    dtype: torch.dtype = torch.float32,
    prefixes: Sequence[int] = (),
) -> PackedBatch:
    """All `samples`, in order, as one batch on the CPU, patches in `dtype`; `prefixes` as in `PackedBatch`.

    Media are resized, normalised (`mean`, `std` of pixel values in 0..1) and cut into patches here. Media that are the
    same tensor object, as in a group of rollouts of one prompt, are patchified and later encoded once.
    """
    media: dict[tuple[int, tuple[int, int]], tuple[Tensor, int]] = {}  # (object, size) -> tensor, features
    for sample in samples:
        for image, size, features in zip(sample.images, sample.sizes, sample.features, strict=True):
            media.setdefault((id(image), size), (image, features))
    stills = [key for key, (image, _) in media.items() if image.ndim == 3]
    ordered = stills + [key for key, (image, _) in media.items() if image.ndim == 4]
    counts = [media[key][1] for key in ordered]
    starts = dict(zip(ordered, accumulate(counts, initial=0), strict=False))  # first feature of each medium
    patches = ops.patchify([media[key][0] for key in ordered], mean, std, [size for _, size in ordered], dtype)

    indices = []
    for sample in samples:
        rows = [
            torch.arange(starts[id(image), size], starts[id(image), size] + features)
            for image, size, features in zip(sample.images, sample.sizes, sample.features, strict=True)
        ]
        index = torch.full_like(sample.vision_index, -1)
        index[sample.vision_index >= 0] = torch.cat([torch.zeros(0, dtype=torch.int64), *rows])
        indices.append(index)

    empty = torch.zeros(0, dtype=torch.int64)
    return PackedBatch.make(
        input_ids=torch.cat([empty, *(sample.input_ids for sample in samples)]),
        position_ids=torch.cat([empty.view(3, 0), *(sample.position_ids for sample in samples)], dim=1),
        labels=torch.cat([empty, *(sample.labels for sample in samples)]),
        seqlens=[len(sample) for sample in samples],
        image_patches=patches.image_patches,
        video_patches=patches.video_patches,
        image_grids=[(t, h, w) for t, h, w in patches.image_grid_thw.tolist()],
        video_grids=[(t, h, w) for t, h, w in patches.video_grid_thw.tolist()],
        vision_index=torch.cat([empty, *indices]),
        prefixes=prefixes,
    )


class Packing(NamedTuple):
    """What goes into which batch, as indices of samples: `batches`, and what fits into none: `dropped`."""

    batches: list[list[int]]
    dropped: list[int]


def pack_to_budget(samples: Sequence[Sized], max_tokens: int) -> Packing:
    """Distributes `samples` over as few batches of at most `max_tokens` tokens as first-fit-decreasing finds.

    Only lengths matter: anything with a `len` in tokens will do. A sample longer than `max_tokens` is dropped whole,
    never cut. Indices within a batch ascend.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; expected at least 1")
    batches: list[list[int]] = []
    room: list[int] = []
    dropped = []
    for index in sorted(range(len(samples)), key=lambda i: -len(samples[i])):
        length = len(samples[index])
        if length > max_tokens:
            dropped.append(index)
            continue
        place = next((place for place, free in enumerate(room) if free >= length), len(room))
        if place == len(room):
            batches.append([])
            room.append(max_tokens)
        batches[place].append(index)
        room[place] -= length
    return Packing([sorted(batch) for batch in batches], sorted(dropped))
