"""rms_norm, add_rms_norm and sandwich_norm against transformers' RMSNorm and the additions around it."""

from collections.abc import Iterator

import torch
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.harness import Case, both_directions, with_compiled
from glm4v.benchmarks.shapes import cases_of

EPS = 1e-5
PEER = "transformers' RMSNorm"


def norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype)


def add_norm(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    h = x + residual
    return norm(h, weight), h


def sandwich(x: Tensor, residual: Tensor, post_weight: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    h = residual + norm(x, post_weight)
    return h, norm(h, weight)


def cases() -> Iterator[Case]:
    for sizes, dtype in cases_of():
        x, residual = (torch.randn(sizes.tokens, sizes.width, dtype=dtype) for _ in range(2))
        post_weight, weight = (torch.rand(sizes.width, dtype=dtype) for _ in range(2))
        size = x.numel() * x.element_size()
        for name, ours, theirs, inputs, moved in (
            ("rms_norm", ops.rms_norm, norm, (x, weight), (2, 3)),
            ("add_rms_norm", ops.add_rms_norm, add_norm, (x, residual, weight), (4, 4)),
            ("sandwich_norm", ops.sandwich_norm, sandwich, (x, residual, post_weight, weight), (4, 6)),
        ):
            with_eps = lambda *inputs, ours=ours: ours(*inputs, EPS)
            moved_bytes = (moved[0] * size, moved[1] * size)
            for peer, function in with_compiled(PEER, theirs, sizes, dtype):
                yield from both_directions(name, sizes.text, peer, with_eps, function, inputs, moved_bytes)
