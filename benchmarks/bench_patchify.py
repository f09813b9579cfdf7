"""patchify against the same in torch, resizing patchify against PIL's resize before it, and both together against
transformers' processor.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Glm4vImageProcessorPil

from glm4v import ops
from glm4v.benchmarks.harness import Case
from glm4v.benchmarks.shapes import cases_of
from glm4v.data import CLIP_MEAN, CLIP_STD
from glm4v.ops import reference

Side = tuple[int, int]


def resize_by_pil(image: Tensor, size: Side) -> Tensor:
    resized = Image.fromarray(image.cpu().numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).to(image.device)


def first_frames(doubled: Tensor) -> Tensor:
    """Of still images that a processor doubled: [P, 3 * 2 * 196] -> [P, 3 * 196]."""
    return doubled.view(len(doubled), 3, 2, 196)[:, :, 0].flatten(1)


def cases() -> Iterator[Case]:
    processor = Glm4vImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 4096 * 4096})  # keeps the sizes
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
        if dtype == torch.float32:  # what the processor gives
            odd = [torch.randint(0, 256, (h * 14 + 9, w * 14 + 9, 3), dtype=torch.uint8) for _, h, w in sizes.grids]
            pictures = [Image.fromarray(image.cpu().numpy()) for image in odd]
            yield Case(
                "resize + patchify", "forward", dtype, sizes.vision, "transformers' processor",
                lambda images=odd, to=targets: ops.patchify(images, CLIP_MEAN, CLIP_STD, to).image_patches,
                lambda pictures=pictures: first_frames(processor(pictures, return_tensors="pt")["pixel_values"]),
                bytes=sum(image.numel() for image in odd) + written,
            )  # fmt: skip
