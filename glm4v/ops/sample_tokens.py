"""The next token of every sequence, chosen over the whole batch in one call.

Random numbers are counter-based, a pure function of (seed, step): a sequence draws the same numbers whatever else is in
the batch and however it is scheduled.
"""

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import check_device, check_dtype, check_float, check_shape, define, native, native_for


def sample_tokens(
    logits: Tensor,
    temperature: float,
    top_p: float,
    repetition_penalty: float,
    seeds: Tensor,
    steps: Tensor,
    seen: Tensor | None = None,
    banned: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(tokens int64 [N], log_probs float32 [N]): the next token of each row, and how likely the model held it.

    logits [N, V]: float32, bfloat16 or float16. temperature 0 takes the largest; top_p samples from the smallest set of
    likeliest tokens with that probability. seeds, steps int64 [N]: a row's random stream and place in it. seen [N, V]
    bool: tokens that repetition_penalty makes less likely; banned [N, V] bool: tokens that never come.
    log_probs are over the whole vocabulary, before penalty, bans and top-p, at `temperature` (at 1 if that is 0): what
    `linear_cross_entropy` gives the trainer. Where a row's logits are not finite, so is its log-probability.
    Raises ValueError for other shapes, types or devices, and options out of range. Sources: arXiv 1904.09751 (top-p),
    1909.05858 (repetition penalty), both as transformers has them; SplitMix64 (Steele, Lea, Flood 2014).
    """
    check_float("logits", logits)
    check_shape("logits", logits, ("N", "V"))
    if not logits.shape[1]:
        raise ValueError("logits: has no columns; expected a vocabulary")
    for name, holds, value, expected in (
        ("temperature", temperature >= 0, temperature, "0 or more"),
        ("top_p", 0 < top_p <= 1, top_p, "more than 0 and at most 1"),
        ("repetition_penalty", repetition_penalty > 0, repetition_penalty, "a positive number"),
    ):
        if not holds:
            raise ValueError(f"{name}: is {value}; expected {expected}")
    for name, tensor in (("seeds", seeds), ("steps", steps)):
        check_shape(name, tensor, logits.shape[:1])
        check_dtype(name, tensor, torch.int64)
    for name, mask in (("seen", seen), ("banned", banned)):
        if mask is not None:
            check_shape(name, mask, logits.shape)
            check_dtype(name, mask, torch.bool)
    check_device("logits", logits, seeds=seeds, steps=steps, seen=seen, banned=banned)
    return _sample_tokens(logits, temperature, top_p, repetition_penalty, seeds, steps, seen, banned)


def as_bytes(mask: Tensor | None) -> Tensor | None:
    """A mask for the kernel, whose rows may be the same row again."""
    if mask is None:
        return None
    dense = mask if mask.stride(1) == 1 or mask.shape[1] == 1 else mask.contiguous()
    return dense.view(torch.uint8)


def run_sample_tokens(
    logits: Tensor,
    temperature: float,
    top_p: float,
    repetition_penalty: float,
    seeds: Tensor,
    steps: Tensor,
    seen: Tensor | None,
    banned: Tensor | None,
) -> tuple[Tensor, Tensor]:
    module = native_for(logits)
    if module is native and logits.dtype == torch.float16:
        logits = logits.float()
    tokens, log_probs = seeds.new_empty(len(seeds)), seeds.new_empty(len(seeds), dtype=torch.float32)
    module.sample_tokens(
        logits.contiguous(), temperature, top_p, repetition_penalty, seeds.contiguous(), steps.contiguous(),
        as_bytes(seen), as_bytes(banned), tokens, log_probs,
    )  # fmt: skip
    return tokens, log_probs


_sample_tokens = define(
    "sample_tokens(Tensor logits, float temperature, float top_p, float repetition_penalty, Tensor seeds, "
    "Tensor steps, Tensor? seen, Tensor? banned) -> (Tensor, Tensor)",
    run_sample_tokens,
    lambda logits, temperature, top_p, repetition_penalty, seeds, steps, seen, banned: (
        torch.empty_like(seeds),
        logits.new_empty(logits.shape[0], dtype=torch.float32),
    ),
    reference.sample_tokens,
    cuda=True,
)
