"""patchify against the same in torch, and resizing patchify against PIL's resize before it."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.harness import Case
from glm4v.benchmarks.shapes import cases_of
from glm4v.data import CLIP_MEAN, CLIP_STD
from glm4v.ops import reference

Side = tuple[int, int]


def resize_by_pil(image: Tensor, size: Side) -> Tensor:
    resized = Image.fromarray(image.numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized))


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        targets = [(h * 14, w * 14) for _, h, w in sizes.grids]
        exact = [torch.randint(0, 256, (*size, 3), dtype=torch.uint8) for size in targets]
        larger = [torch.randint(0, 256, (h * 3 // 2, w * 3 // 2, 3), dtype=torch.uint8) for h, w in targets]
        written = 588 * sizes.patches * dtype.itemsize
        yield Case(
            "patchify", "forward", dtype, sizes.vision, "torch",
            lambda images=exact, dtype=dtype: ops.patchify(images, CLIP_MEAN, CLIP_STD, None, dtype),
            lambda images=exact, dtype=dtype: reference.patchify(images, CLIP_MEAN, CLIP_STD, None, dtype),
            bytes=sum(image.numel() for image in exact) + written,
        )  # fmt: skip
        yield Case(
            "resize + patchify", "forward", dtype, sizes.vision, "PIL's resize, then torch",
            lambda images=larger, to=targets, dtype=dtype: ops.patchify(images, CLIP_MEAN, CLIP_STD, to, dtype),
            lambda images=larger, to=targets, dtype=dtype: reference.patchify(
                [resize_by_pil(*pair) for pair in zip(images, to, strict=True)], CLIP_MEAN, CLIP_STD, None, dtype
            ),
            bytes=sum(image.numel() for image in larger) + written,
        )  # fmt: skip
