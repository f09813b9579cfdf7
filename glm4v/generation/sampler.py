"""Beside `ops.sample_tokens`: a sequence's random stream, and log-probabilities of tokens that were not sampled."""

import hashlib

from torch import Tensor


def stream(seed: int, prompt: bytes, number: int) -> int:
    """The random stream, a signed 64-bit number, of sample `number` of the prompt with digest `prompt` under `seed`."""
    content = b"%d %d " % (seed, number) + prompt
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def log_probs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Of any `tokens` [N] what `ops.sample_tokens` gives for those that it chooses from `logits` [N, V]."""
    scaled = logits.float() / (temperature or 1.0)
    return scaled.gather(1, tokens[:, None])[:, 0] - scaled.logsumexp(dim=-1)
