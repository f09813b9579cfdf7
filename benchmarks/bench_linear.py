"""linear against F.linear: the same function where the CPU has bf16 instructions, widened blocks where it has not."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import cases_of


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        tokens = sizes.tokens if sizes.name == "demo" else 512
        x = torch.randn(tokens, sizes.width, dtype=dtype)
        weight = torch.randn(sizes.width, sizes.width, dtype=dtype) * sizes.width**-0.5
        size = (2 * x.numel() + weight.numel()) * dtype.itemsize
        flops = 2.0 * tokens * weight.numel()
        yield from both_directions(
            "linear", f"{sizes.name}: {tokens} tokens", "F.linear", ops.linear, F.linear, (x, weight),
            (size, 2 * size), (flops, 2 * flops),
        )  # fmt: skip
