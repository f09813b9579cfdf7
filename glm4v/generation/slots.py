"""State of the live sequences as tensors, a row ("slot") each, so that a step costs the same few operations for one
sequence as for all. One more row stands for padding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.generation import sampler
from glm4v.generation.settings import Settings


class Slots:
    """The sequences that are being written. With S slots and N = max_new_tokens:

    prompt_length, first_position, stream, step: [S + 1] int64: tokens of the prompt, position of the first new token,
        random stream, new tokens so far.
    table: [S + 1, max_blocks] int32, the blocks of the cache.
    tokens, log_probs, forced: [S + 1, N] int64, float32, bool.
    """

    def __init__(self, count: int, max_blocks: int, vocabulary: int, settings: Settings, device: torch.device) -> None:
        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(count + 1, *shape, dtype=dtype, device=device)

        self.settings = settings
        self.device = device
        self.padding = count
        self.prompt_length, self.first_position, self.stream = zeros(), zeros(), zeros()
        self.step = zeros()
        self.step[count] = 1  # padding has a last token, too
        self.table = zeros(max_blocks, dtype=torch.int32)
        self.tokens = zeros(settings.max_new_tokens)
        self.log_probs = zeros(settings.max_new_tokens, dtype=torch.float32)
        self.forced = zeros(settings.max_new_tokens, dtype=torch.bool)
        self._thinks = zeros(dtype=torch.bool)  # inside of an open <think>
        self._force = zeros()  # how many of the forced tokens are written
        penalised = settings.repetition_penalty != 1
        self._seen = zeros(vocabulary, dtype=torch.bool) if penalised else None
        thinking = settings.thinking
        self._script = None if thinking is None else torch.tensor(thinking.forced, device=device)
        self._invalid, self._stops = (
            torch.zeros(vocabulary, dtype=torch.bool, device=device).index_fill_(0, ids, True)
            for ids in (
                torch.tensor(ids, dtype=torch.int64, device=device) for ids in (settings.invalid, settings.stop)
            )
        )

    def start(self, slot: int, prompt: Tensor, first_position: int, stream: int, blocks: Sequence[int]) -> None:
        """Puts a sequence that has no new token yet into `slot`. prompt: [L] int64; blocks: those of the prompt."""
        self.prompt_length[slot] = len(prompt)
        self.first_position[slot] = first_position
        self.stream[slot] = stream
        self.step[slot] = 0
        self.table[slot, : len(blocks)] = torch.tensor(blocks, dtype=torch.int32)
        self.forced[slot] = False
        self._force[slot] = 0
        if self._seen is not None:
            self._seen[slot] = False
            self._seen[slot, prompt] = True
        if (thinking := self.settings.thinking) is not None:
            tags = prompt[(prompt == thinking.opens) | (prompt == thinking.closes)].tolist()
            self._thinks[slot] = tags[-1:] == [thinking.opens]

    def padded(self, slots: Tensor, rows: int) -> Tensor:
        """`slots` [n] followed by the padding row up to `rows`."""
        return F.pad(slots, (0, rows - len(slots)), value=self.padding)

    def advance(self, slots: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Appends a token to each of `slots` [n]: the tokens [n] int64 and which sequences have ended [n] bool.

        logits: [rows, V]; rows beyond n are padding, computed along so that every call has the same shapes.
        """
        settings = self.settings
        rows = self.padded(slots, len(logits))
        step = self.step[rows]
        tokens, log_probs = self._sample(rows, step, logits)
        if settings.thinking is not None:
            tokens, forced = self._close(rows, step, tokens)
            self.forced[slots, step[: len(slots)]] = forced[: len(slots)]
            log_probs = sampler.log_probs(logits, tokens, settings.temperature)
        tokens, step = tokens[: len(slots)], step[: len(slots)]
        self.tokens[slots, step] = tokens
        self.log_probs[slots, step] = log_probs[: len(slots)]
        self.step[slots] = step + 1
        if self._seen is not None:
            self._seen[slots, tokens] = True
        return tokens, self._stops[tokens] | (step + 1 == settings.max_new_tokens)

    def _sample(self, rows: Tensor, step: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.settings
        banned = self._invalid.expand(logits.shape)
        if settings.min_new_tokens > 0:
            banned = banned | (self._stops & (step < settings.min_new_tokens)[:, None])
        return ops.sample_tokens(
            logits,
            settings.temperature,
            settings.top_p,
            settings.repetition_penalty,
            self.stream[rows],
            step,
            None if self._seen is None else self._seen[rows],
            banned,
        )

    def _close(self, rows: Tensor, step: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Puts forced tokens in the place of sampled ones where thinking has used up its budget, once a sequence."""
        thinking, script = self.settings.thinking, self._script
        assert thinking is not None
        assert script is not None
        written, thinks = self._force[rows], self._thinks[rows]
        starts = (written == 0) & thinks & (step >= thinking.budget)
        forced = starts | ((written > 0) & (written < len(thinking.forced)))
        tokens = torch.where(forced, script[written.clamp(max=len(script) - 1)], tokens)
        self._force[rows] = written + forced
        self._thinks[rows] = (thinks | (tokens == thinking.opens)) & (tokens != thinking.closes)
        return tokens, forced

    def take(self, slot: int) -> tuple[tuple[int, ...], tuple[float, ...], tuple[bool, ...]]:
        """What was written in `slot`: tokens, their log-probabilities, and which of them were forced."""
        count = int(self.step[slot])
        columns = (self.tokens, self.log_probs, self.forced)
        tokens, log_probs, forced = (tuple(column[slot, :count].tolist()) for column in columns)
        return tokens, log_probs, forced
