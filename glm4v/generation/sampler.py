"""Choice of the next token. Random numbers are counter-based: a pure function of (seed, sequence, step), so that a
sequence draws the same numbers whatever else is in the batch and however it is scheduled. Mixing function: SplitMix64
(Steele, Lea, Flood 2014).
"""

import hashlib

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # increment of SplitMix64 and its two multipliers, as signed 64-bit numbers
MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
BITS = 52  # of a uniform number: u * total stays below total in float64, so the last token cannot be overrun


def stream(seed: int, prompt: bytes, number: int) -> int:
    """The random stream, a signed 64-bit number, of sample `number` of the prompt with digest `prompt` under `seed`."""
    content = b"%d %d " % (seed, number) + prompt
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def uniform(streams: Tensor, steps: Tensor) -> Tensor:
    """One number in [0, 1) for each pair of `streams` [N] int64 and `steps` [N] int64: [N] float64."""
    z = streams + (steps + 1) * GOLDEN  # int64 wraps around
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        z = (z ^ _shift_right(z, shift)) * multiplier
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 64 - BITS).double() * 2.0**-BITS


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own fills with the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Repetition penalty (CTRL, arXiv 1909.05858) as transformers does it. logits [N, V]; seen [N, V] bool."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def choose(logits: Tensor, temperature: float, top_p: float, uniforms: Tensor) -> Tensor:
    """The next token of each row: [N] int64.

    logits: [N, V] float32, -inf where a token must not come. temperature 0 takes the largest; else the inverse of the
    cumulative distribution at `uniforms` [N] float64, restricted to the smallest set of likeliest tokens that holds
    probability `top_p`.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    weights = (logits / temperature).softmax(dim=-1)
    if top_p < 1:
        weights = nucleus(weights, top_p)
    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)
    tokens = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return tokens.clamp(max=logits.shape[1] - 1)  # only where logits are NaN; their log-probability tells


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """`probabilities` [N, V] with 0 outside of the smallest set of likeliest tokens that holds `top_p` (1904.09751)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
    kept = ordered.masked_fill(before >= top_p, 0)
    kept[:, 0] = ordered[:, 0]
    return torch.zeros_like(kept).scatter_(1, order, kept)


def log_probs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probability of `tokens` [N] under `logits` [N, V] float32 at `temperature`: [N] float32.

    Over the whole vocabulary, before the penalty, masks and top-p: what `ops.linear_cross_entropy` gives the trainer at
    that temperature. Greedy tokens (temperature 0) are measured at temperature 1.
    """
    scaled = logits / (temperature or 1.0)
    return scaled.gather(1, tokens[:, None])[:, 0] - scaled.logsumexp(dim=-1)
