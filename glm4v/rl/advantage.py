"""Group-normalised advantages (GRPO, arXiv 2402.03300, outcome reward): A = (r - mean) / (std + eps) in its group."""

import torch
from torch import Tensor

# Rewards of one group closer than this are equal: float32 sums of graded rewards (OCR, IoU) differ in the last bits.
SPREAD = 1e-6


def group_advantages(rewards: Tensor, eps: float = 1e-4) -> Tensor:
    """Advantage of each response over its group mates.

    rewards: float [groups, responses]. Returns the same shape and dtype: mean 0 in each group and, but for `eps`,
    (population) standard deviation 1; exactly 0 in a group whose rewards are all equal.
    Raises ValueError when rewards is not a matrix.
    """
    if rewards.ndim != 2:
        raise ValueError(f"rewards: shape {tuple(rewards.shape)}, expected [groups, responses]")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    scaled = centred / (rewards.std(dim=1, correction=0, keepdim=True) + eps)
    return torch.where(informative(rewards)[:, None], scaled, torch.zeros_like(scaled))


def informative(rewards: Tensor) -> Tensor:
    """Which groups teach something: bool [groups], false where all rewards of float [groups, responses] are equal."""
    return rewards.amax(dim=1) - rewards.amin(dim=1) > SPREAD
