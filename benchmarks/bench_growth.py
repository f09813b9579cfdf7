"""How the time of each operator, forward and backward, grows with tokens, sequences and pixels.

Packed attention has to follow the sum of the squares of the lengths, everything else its tokens or patches: a point is
the time divided by that work, and a curve's deviation how far any point is from their median.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Work, as_tuple
from glm4v.data import CLIP_MEAN, CLIP_STD
from glm4v.data.packing import cumulative

DTYPE = torch.float32
TOKENS = (2048, 4096, 8192, 16384)
PATCHES = (8836, 15376, 24336)  # of a square image
LENGTHS = (1024, 2048, 4096)
COUNTS = (16, 32, 64)  # of sequences of 128 tokens
WIDTH, HEADS, HEAD_DIM = 1024, 8, 128
LINEAR = 0.15  # how far from its median a point may be


@dataclass(frozen=True)
class Curve:
    """Seconds of one operator at several sizes; work: what they should be proportional to."""

    operator: str
    axis: str
    sizes: list[int]
    work: list[float]
    seconds: list[float]

    @property
    def deviation(self) -> float:
        rates = [s / w for s, w in zip(self.seconds, self.work, strict=True)]
        return max(abs(rate / median(rates) - 1) for rate in rates)


def both(operator: Callable[..., Any], *inputs: Tensor) -> Work:
    """Forward and backward of a function of differentiable `inputs`."""
    leaves = [x.requires_grad_() for x in inputs]
    grads = [torch.ones_like(out) for out in as_tuple(operator(*leaves))]
    return lambda: torch.autograd.grad(as_tuple(operator(*leaves)), leaves, grads)


def of_tokens(tokens: int) -> Iterator[tuple[str, Work]]:
    x, residual, wide = (torch.randn(tokens, n, dtype=DTYPE) for n in (WIDTH, WIDTH, 4 * WIDTH))
    weight, post_weight = (torch.rand(WIDTH, dtype=DTYPE) for _ in range(2))
    q, k = (torch.randn(tokens, heads, HEAD_DIM, dtype=DTYPE) for heads in (HEADS, 1))
    positions = torch.arange(tokens).expand(3, -1).contiguous()
    vocabulary, targets = torch.randn(4096, WIDTH, dtype=DTYPE), torch.randint(0, 4096, (tokens,))
    yield "rms_norm", both(partial(ops.rms_norm, eps=1e-5), x, weight)
    yield "add_rms_norm", both(partial(ops.add_rms_norm, eps=1e-5), x, residual, weight)
    yield "sandwich_norm", both(partial(ops.sandwich_norm, eps=1e-5), x, residual, post_weight, weight)
    yield "swiglu", both(ops.swiglu, wide)
    yield "rope_3d", both(lambda q, k: ops.rope_3d(q, k, positions, (8, 12, 12), 64, 1e4), q, k)
    yield "linear_cross_entropy", both(lambda x, w: ops.linear_cross_entropy(x, w, targets)[0], x, vocabulary)


def of_patches(count: int) -> Iterator[tuple[str, Work]]:
    side = math.isqrt(count)
    grid_thw = torch.tensor([[1, side, side]])
    q, k = (torch.randn(count, HEADS, 64, dtype=DTYPE) for _ in range(2))
    x, table = torch.randn(count, 512, dtype=DTYPE), torch.randn(24 * 24, 512, dtype=DTYPE)
    patches = torch.randn(count, 588, dtype=DTYPE)
    weight, bias = torch.randn(256, 3, 2, 14, 14, dtype=DTYPE), torch.randn(256, dtype=DTYPE)
    images = [torch.randint(0, 256, (14 * side, 14 * side, 3), dtype=torch.uint8)]
    larger = [torch.randint(0, 256, (21 * side, 21 * side, 3), dtype=torch.uint8)]
    yield "rope_2d", both(lambda q, k: ops.rope_2d(q, k, grid_thw, 1e4), q, k)
    yield "add_position_embedding", both(lambda x, t: ops.add_position_embedding(x, t, grid_thw), x, table)
    yield "patch_embed", both(ops.patch_embed, patches, weight, bias)
    yield "patchify", lambda: ops.patchify(images, CLIP_MEAN, CLIP_STD, None, DTYPE)
    to = [(14 * side, 14 * side)]
    yield "resize + patchify", lambda: ops.patchify(larger, CLIP_MEAN, CLIP_STD, to, DTYPE)


def attention(lengths: tuple[int, ...]) -> Work:
    q, k, v = (torch.randn(sum(lengths), heads, HEAD_DIM, dtype=DTYPE) for heads in (2, 1, 1))
    cu_seqlens = cumulative(lengths)
    return both(lambda q, k, v: ops.packed_attention(q, k, v, cu_seqlens, causal=False), q, k, v)


def curves() -> Iterator[Curve]:
    """All curves, an operator after the other."""
    for axis, sizes, works in (("tokens", TOKENS, of_tokens), ("patches", PATCHES, of_patches)):
        times: dict[str, list[float]] = {}
        for size in sizes:
            for operator, work in works(size):
                times.setdefault(operator, []).append(seconds(work))
        for operator, measured in times.items():
            yield Curve(operator, axis, list(sizes), [float(size) for size in sizes], measured)
    by_length = [seconds(attention((length,))) for length in LENGTHS]
    yield Curve("packed_attention", "tokens of a sequence", list(LENGTHS), [float(n**2) for n in LENGTHS], by_length)
    by_count = [seconds(attention((128,) * count)) for count in COUNTS]
    yield Curve("packed_attention", "sequences of 128", list(COUNTS), [float(n) for n in COUNTS], by_count)


def seconds(work: Work, rounds: int = 7) -> float:
    """The shortest of several timings: what the work costs undisturbed."""
    work()
    calls = harness.calls_for(harness.timed(work, 1))
    return min(harness.timed(work, calls) for _ in range(rounds))


def as_json(measured: list[Curve]) -> list[dict[str, Any]]:
    return harness.rounded([{**asdict(curve), "deviation": curve.deviation} for curve in measured])


def table(measured: list[Curve]) -> Table:
    caption = f"in ms; deviation: of time per unit of work from its median, red above {LINEAR:.0%}"
    grid = Table(title="growth", title_justify="left", caption=caption, caption_justify="left")
    for name in ("operator", "with", "sizes", "times", "deviation"):
        grid.add_column(name)
    for curve in measured:
        colour = "red" if curve.deviation > LINEAR else "green"
        grid.add_row(
            curve.operator, curve.axis, " / ".join(f"{size:,}" for size in curve.sizes),
            " / ".join(f"{1e3 * s:.3g}" for s in curve.seconds), f"[{colour}]{curve.deviation:.0%}[/]",
        )  # fmt: skip
    return grid
