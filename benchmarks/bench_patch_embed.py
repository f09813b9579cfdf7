"""patch_embed of still images against the full 3D convolution, a matrix product over doubled frames."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import cases_of


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        patches = torch.randn(sizes.patches, 588, dtype=dtype)
        doubled = patches.view(-1, 3, 1, 196).expand(-1, 3, 2, 196).reshape(-1, 1176)
        weight = torch.randn(sizes.vision_width, 3, 2, 14, 14, dtype=dtype) * 0.03
        bias = torch.randn(sizes.vision_width, dtype=dtype)
        size, embedded = patches.numel() * dtype.itemsize, sizes.patches * sizes.vision_width * dtype.itemsize
        weights = weight.numel() * dtype.itemsize
        flops = 2.0 * sizes.patches * 588 * sizes.vision_width
        yield from both_directions(
            "patch_embed", sizes.vision, "F.linear over two frames",
            lambda weight, bias, patches=patches: ops.patch_embed(patches, weight, bias),
            lambda weight, bias, patches=doubled: F.linear(patches, weight.flatten(1), bias),
            (weight, bias), (size + embedded + weights,) * 2, (flops, flops),
        )  # fmt: skip
