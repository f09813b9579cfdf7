"""add_position_embedding against grid_sample, which gets its sample points ready-made."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import Sizes, cases_of
from glm4v.ops.reference import merge_order


def points_of(sizes: Sizes) -> Tensor:
    """Where each patch samples the table: [1, P, 1, 2] in -1..1."""
    row, column, grid = merge_order(sizes.grid_thw)
    height, width = sizes.grid_thw[grid, 1], sizes.grid_thw[grid, 2]
    return (torch.stack([(column + 0.5) / width, (row + 0.5) / height], dim=-1) * 2 - 1)[None, :, None]


def sampled(x: Tensor, table: Tensor, points: Tensor, side: int) -> Tensor:
    plane = table.T.reshape(1, -1, side, side).float()
    taken = F.grid_sample(plane, points, mode="bicubic", align_corners=False, padding_mode="border")
    return x + taken[0, :, :, 0].T.to(x.dtype)


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        x = torch.randn(sizes.patches, sizes.vision_width, dtype=dtype)
        table = torch.randn(sizes.table_side**2, sizes.vision_width, dtype=dtype)
        size = x.numel() * x.element_size()
        points = points_of(sizes)
        yield from both_directions(
            "add_position_embedding", sizes.vision, "F.grid_sample, points given",
            lambda x, table, grid_thw=sizes.grid_thw: ops.add_position_embedding(x, table, grid_thw),
            lambda x, table, p=points, side=sizes.table_side: sampled(x, table, p, side),
            (x, table), (2.0 * size, 1.0 * size),
        )  # fmt: skip
