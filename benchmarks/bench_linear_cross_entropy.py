"""linear_cross_entropy against all logits, their log_softmax and the sums over it; and, forward and backward together,
against nothing but its four matrix products. On a GPU that runs them, the fused kernels against these and against ours.

Going back, ours computes the logits again instead of keeping them: four matrix products in all, the peer three.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Case, both_directions
from glm4v.benchmarks.shapes import DTYPES
from glm4v.ops.library import fused, has_fused

TOGETHER = "forward and backward"
# name, tokens, width, vocabulary
SHAPES = (
    ("9B, a quarter of its width: 256 tokens", 256, 1024, 151552),
    ("demo: 2048 tokens", 2048, 192, 768),
)
# Against the four products alone. Beside the gradients and an accumulator of that of x in float32 (of the second: 90 MB
# in float32, 90 in bfloat16) memory has to stay the same however many tokens there are.
PRODUCTS = (("9B: 256 tokens", 256, 4096, 151552), ("a sixteenth of 9B's width: 8192 tokens", 8192, 256, 151552))
ON_GPU = (("9B: 8192 tokens", 8192, 4096, 151552),)


def all_logits(x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    log_p = F.linear(x, weight).float().log_softmax(dim=-1)
    return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(dim=-1)


def forward_and_backward(x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    log_probs = ops.linear_cross_entropy(x, weight, targets)[1]
    return torch.autograd.grad(log_probs.sum(), (x, weight))


def run_fused(wanted: bool, work: Callable[..., Any], *arguments: Any) -> Any:
    with fused(wanted):
        return work(*arguments)


def fused_cases() -> Iterator[Case]:
    """What GLM4V_FUSED should be."""
    name, *shape = ON_GPU[0]
    x, weight, targets = inputs_of(*shape, torch.bfloat16)
    size, flops = counted(x, weight)
    leaves = (x.detach().requires_grad_(), weight.detach().requires_grad_())
    ours = lambda: run_fused(True, forward_and_backward, *leaves, targets)
    for peer, theirs in (
        ("its four matrix products", lambda: bare_products(x, weight)),
        ("products and epilogues apart", lambda: run_fused(False, forward_and_backward, *leaves, targets)),
    ):
        yield Case("linear_cross_entropy", TOGETHER, x.dtype, f"{name}, fused", peer, ours, theirs, 3 * size, 4 * flops)
    yield Case(
        "linear_cross_entropy", "forward", x.dtype, f"{name}, fused", "products and epilogues apart",
        lambda: run_fused(True, ops.linear_cross_entropy, x, weight, targets),
        lambda: run_fused(False, ops.linear_cross_entropy, x, weight, targets), size, flops,
    )  # fmt: skip


def bare_products(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The logits twice, and with logits as gradients those of `x` and `weight`."""
    x @ weight.T
    logits = x @ weight.T
    return logits @ weight, logits.T @ x


def inputs_of(tokens: int, width: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    weight = (torch.randn(vocabulary, width) * width**-0.5).to(dtype)
    return torch.randn(tokens, width, dtype=dtype), weight, torch.randint(0, vocabulary, (tokens,))


def counted(x: Tensor, weight: Tensor) -> tuple[float, float]:
    """Bytes of the inputs, FLOPs of one product."""
    return (x.numel() + weight.numel()) * x.element_size(), 2.0 * x.shape[0] * weight.numel()


def cases() -> Iterator[Case]:
    for name, *shape in () if harness.on_gpu() else SHAPES:
        for dtype in DTYPES:
            x, weight, targets = inputs_of(*shape, dtype)
            size, flops = counted(x, weight)
            yield from both_directions(
                "linear_cross_entropy", name, "all logits, log_softmax",
                lambda x, weight, targets=targets: ops.linear_cross_entropy(x, weight, targets)[1:],
                lambda x, weight, targets=targets: all_logits(x, weight, targets),
                (x, weight), (size, 2 * size), (flops, 3 * flops),
            )  # fmt: skip
    for name, *shape in ON_GPU if harness.on_gpu() else PRODUCTS:
        for dtype in DTYPES[1:] if harness.on_gpu() else DTYPES:
            x, weight, targets = inputs_of(*shape, dtype)
            size, flops = counted(x, weight)
            leaves = (x.detach().requires_grad_(), weight.detach().requires_grad_())
            yield Case(
                "linear_cross_entropy", TOGETHER, dtype, name, "its four matrix products",
                lambda leaves=leaves, targets=targets: forward_and_backward(*leaves, targets),
                lambda x=x, weight=weight: bare_products(x, weight),
                3 * size, 4 * flops,
            )  # fmt: skip
    if harness.on_gpu() and has_fused(torch.get_default_device()):
        yield from fused_cases()
