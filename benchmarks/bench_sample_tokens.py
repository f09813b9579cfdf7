"""sample_tokens against its composition in torch: mask, soft-max, top-p by sorting, cumulative sum and search."""

from collections.abc import Iterator

import torch

from glm4v import ops
from glm4v.benchmarks.harness import Case
from glm4v.benchmarks.shapes import DTYPES
from glm4v.ops import reference

# name, rows, vocabulary, temperature, top_p
SHAPES = (
    ("9B: 32 sequences", 32, 151552, 1.0, 1.0),
    ("9B: 32 sequences, top-p 0.9", 32, 151552, 1.0, 0.9),
    ("9B: 32 sequences, greedy", 32, 151552, 0.0, 1.0),
    ("demo: 128 sequences", 128, 768, 1.0, 1.0),
)


def cases() -> Iterator[Case]:
    for name, rows, vocabulary, temperature, top_p in SHAPES:
        banned = torch.zeros(vocabulary, dtype=torch.bool).index_fill_(0, torch.arange(6), True).expand(rows, -1)
        seeds, steps = torch.arange(rows), torch.arange(rows)
        for dtype in DTYPES:
            logits = (8 * torch.randn(rows, vocabulary)).to(dtype)  # as peaked as a language model's
            arguments = (logits, temperature, top_p, 1.0, seeds, steps, None, banned)
            yield Case(
                "sample_tokens", "forward", dtype, name, "soft-max, cumsum, searchsorted",
                lambda arguments=arguments: ops.sample_tokens(*arguments),
                lambda arguments=arguments: reference.sample_tokens(*arguments),
                logits.numel() * dtype.itemsize,
            )  # fmt: skip
