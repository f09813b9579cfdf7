"""patch_embed of still images against the full 3D convolution, a matrix product over doubled frames; on a GPU that runs
it, the fused kernel forward against this and against ours.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import cases_of
from glm4v.ops.library import fused, has_fused


def embed(wanted: bool, patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with fused(wanted):
        return ops.patch_embed(patches, weight, bias)


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
        if dtype != torch.bfloat16 or not (harness.on_gpu() and has_fused(patches.device)):
            continue
        for peer, theirs in (
            ("F.linear over two frames", lambda w, b, x=doubled: F.linear(x, w.flatten(1), b)),
            ("patches doubled by a copy", lambda w, b, x=patches: embed(False, x, w, b)),
        ):
            yield Case(
                "patch_embed", "forward", dtype, f"{sizes.vision}, fused", peer,
                lambda patches=patches, weight=weight, bias=bias: embed(True, patches, weight, bias),
                lambda theirs=theirs, weight=weight, bias=bias: theirs(weight, bias),
                size + embedded + weights, flops,
            )  # fmt: skip
