"""Clipped policy-gradient loss of GRPO with clip-higher (DAPO, arXiv 2503.14476), without a KL term.

With the ratio r = exp(log_prob - rollout log_prob) and advantage A of a sampled token:
loss = -sum over tokens of w * min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); w says how tokens are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Averaging = Literal["sample", "token", "constant"]


@dataclass(frozen=True)
class PolicyLoss:
    """What one micro-batch adds to the batch, as scalars that need no wait for the device."""

    loss: Tensor  # differentiable
    clipped_up: Tensor  # tokens, int64
    clipped_down: Tensor


def policy_loss(
    log_probs: Tensor,
    rollout_log_probs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> PolicyLoss:
    """Clipped loss of the tokens of one micro-batch.

    All four tensors are float [T]. log_probs: under the policy in training, with gradient; rollout_log_probs: as the
    sampler returned them, at the same temperature; weights: from `token_weights` over the whole batch, 0 for prompt
    and forced tokens, so that the losses of any split into micro-batches add up to the loss of the batch.
    A token is clipped up where A > 0 and its ratio exceeds 1 + clip_high, down where A < 0 and it is below
    1 - clip_low: it then has no gradient.
    """
    ratio = torch.exp(log_probs - rollout_log_probs)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -(weights * torch.minimum(ratio * advantages, clipped * advantages)).sum()
    counts = weights > 0
    up = counts & (advantages > 0) & (ratio > 1 + clip_high)
    down = counts & (advantages < 0) & (ratio < 1 - clip_low)
    return PolicyLoss(loss, up.sum(), down.sum())


def token_weights(lengths: Sequence[int], averaging: Averaging, max_length: int) -> list[float]:
    """Weight of each token of each response, from the sampled (not forced) lengths of all responses of a batch.

    "sample": every response counts the same, 1 / (responses * its length). "token": every token counts the same,
    1 / all tokens. "constant": 1 / (responses * max_length), which favours neither short nor long responses
    (Dr. GRPO, arXiv 2503.20783). Returns one float a response; 0 for a response without sampled tokens.
    """
    total = sum(lengths)
    if averaging == "sample":
        return [1 / (len(lengths) * length) if length else 0.0 for length in lengths]
    if averaging == "token":
        return [1 / total if length else 0.0 for length in lengths]
    return [1 / (len(lengths) * max_length) if length else 0.0 for length in lengths]
