"""State of the live sequences as tensors, a row ("slot") each, so that a step costs the same few operations for one
sequence as for all. One more row stands for padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.generation import sampler
from glm4v.generation.settings import Sampling, Settings


@dataclass
class Kind:
    """Sequences that are sampled in one call."""

    number: int
    sampling: Sampling
    stop: Tensor  # [stop ids] int64
    is_stop: Tensor  # [V] bool
    invalid: Tensor  # [V] bool
    live: int = 0  # sequences


class Slots:
    """The sequences that are being written. With S slots and N = max_new_tokens, the most of any sequence:

    prompt_length, first_position, stream, step, limit: [S + 1] int64: tokens of the prompt, position of the first new
        token, random stream, new tokens so far, and at most.
    table: [S + 1, max_blocks] int32, the blocks of the cache.
    tokens, log_probs, forced: [S + 1, N] int64, float32, bool.
    """

    def __init__(self, count: int, max_blocks: int, vocabulary: int, max_new_tokens: int, device: torch.device) -> None:
        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(count + 1, *shape, dtype=dtype, device=device)

        self.device = device
        self.vocabulary = vocabulary
        self.padding = count
        self.prompt_length, self.first_position, self.stream = zeros(), zeros(), zeros()
        self.step, self.limit = zeros(), zeros()
        self.step[count] = 1  # padding has a last token, too
        self.table = zeros(max_blocks, dtype=torch.int32)
        self.tokens = zeros(max_new_tokens)
        self.log_probs = zeros(max_new_tokens, dtype=torch.float32)
        self.forced = zeros(max_new_tokens, dtype=torch.bool)
        self._thinks = zeros(dtype=torch.bool)  # inside of an open <think>
        self._force = zeros()  # how many of the forced tokens are written
        self._seen: Tensor | None = None  # [S + 1, V] bool, once a sequence has a penalty
        self._kinds: dict[Sampling, Kind] = {}  # of the live sequences
        self._kind = zeros()  # its number
        self._next_kind = 0

    def start(
        self, slot: int, prompt: Tensor, first_position: int, stream: int, blocks: Sequence[int], settings: Settings
    ) -> None:
        """Puts a sequence that has no new token yet into `slot`. prompt: [L] int64; blocks: those of the prompt."""
        self.prompt_length[slot] = len(prompt)
        self.first_position[slot] = first_position
        self.stream[slot] = stream
        self.step[slot] = 0
        self.limit[slot] = settings.max_new_tokens
        self.table[slot, : len(blocks)] = torch.tensor(blocks, dtype=torch.int32)
        self.forced[slot] = False
        self._force[slot] = 0
        kind = self._kind_of(settings.sampling)
        kind.live += 1
        self._kind[slot] = kind.number
        if settings.repetition_penalty != 1:
            if self._seen is None:
                shape = len(self.step), self.vocabulary
                self._seen = torch.zeros(shape, dtype=torch.bool, device=self.device)
            self._seen[slot] = False
            self._seen[slot, prompt] = True
        if (thinking := settings.thinking) is not None:
            tags = prompt[(prompt == thinking.opens) | (prompt == thinking.closes)].tolist()
            self._thinks[slot] = tags[-1:] == [thinking.opens]

    def end(self, sampling: Sampling) -> None:
        """A sequence that was sampled so has left its slot."""
        kind = self._kinds[sampling]
        kind.live -= 1
        if not kind.live:
            del self._kinds[sampling]

    def _kind_of(self, sampling: Sampling) -> Kind:
        if sampling not in self._kinds:
            stop, invalid = (
                torch.tensor(ids, dtype=torch.int64, device=self.device) for ids in (sampling.stop, sampling.invalid)
            )
            nothing = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
            masks = nothing.index_fill(0, stop, True), nothing.index_fill(0, invalid, True)
            self._kinds[sampling] = Kind(self._next_kind, sampling, stop, *masks)
            self._next_kind += 1
        return self._kinds[sampling]

    def padded(self, slots: Tensor, rows: int) -> Tensor:
        """`slots` [n] followed by the padding row up to `rows`."""
        return F.pad(slots, (0, rows - len(slots)), value=self.padding)

    def advance(self, slots: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Appends a token to each of `slots` [n]: the tokens [n] int64 and which sequences have ended [n] bool.

        logits: [rows, V]; rows beyond n are padding, computed along so that every call has the same shapes. For the
        same reason each kind of sampling is computed for all rows, whichever rows are of that kind.
        """
        rows = self.padded(slots, len(logits))
        step = self.step[rows]
        first, *others = self._kinds.values()
        tokens, log_probs, forced, stopped = self._choose(first, rows, step, logits)
        for kind in others:
            own = self._kind[rows] == kind.number
            chosen = zip((tokens, log_probs, forced, stopped), self._choose(kind, rows, step, logits), strict=True)
            tokens, log_probs, forced, stopped = (torch.where(own, of_kind, so_far) for so_far, of_kind in chosen)
        tokens, step = tokens[: len(slots)], step[: len(slots)]
        self.tokens[slots, step] = tokens
        self.log_probs[slots, step] = log_probs[: len(slots)]
        self.forced[slots, step] = forced[: len(slots)]
        self.step[slots] = step + 1
        if self._seen is not None:
            self._seen[slots, tokens] = True
        return tokens, stopped[: len(slots)] | (step + 1 == self.limit[slots])

    def _choose(self, kind: Kind, rows: Tensor, step: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens [rows] as `kind` chooses them, their log-probabilities, which are forced and which end a sequence."""
        sampling = kind.sampling
        tokens, log_probs = self._sample(kind, rows, step, logits)
        forced = torch.zeros_like(tokens, dtype=torch.bool)
        if sampling.thinking is not None:
            tokens, forced = self._close(kind, rows, step, tokens)
            log_probs = sampler.log_probs(logits, tokens, sampling.temperature)
        return tokens, log_probs, forced, torch.isin(tokens, kind.stop)

    def _sample(self, kind: Kind, rows: Tensor, step: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        sampling = kind.sampling
        banned = kind.invalid.expand(logits.shape)
        if sampling.min_new_tokens > 0:
            banned = banned | (kind.is_stop & (step < sampling.min_new_tokens)[:, None])
        seen = None if self._seen is None or sampling.repetition_penalty == 1 else self._seen[rows]
        return ops.sample_tokens(
            logits,
            sampling.temperature,
            sampling.top_p,
            sampling.repetition_penalty,
            self.stream[rows],
            step,
            seen,
            banned,
        )

    def _close(self, kind: Kind, rows: Tensor, step: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Puts forced tokens in the place of sampled ones where thinking has used up its budget, once a sequence."""
        thinking = kind.sampling.thinking
        assert thinking is not None
        own = self._kind[rows] == kind.number
        written, thinks = self._force[rows], self._thinks[rows]
        starts = (written == 0) & thinks & (step >= thinking.budget)
        forced = own & (starts | ((written > 0) & (written < len(thinking.forced))))
        script = torch.tensor(thinking.forced, device=self.device)
        tokens = torch.where(forced, script[written.clamp(max=len(script) - 1)], tokens)
        self._force[rows] = written + forced
        now = (thinks | (tokens == thinking.opens)) & (tokens != thinking.closes)
        self._thinks[rows] = torch.where(own, now, thinks)
        return tokens, forced

    def take(self, slot: int) -> tuple[tuple[int, ...], tuple[float, ...], tuple[bool, ...]]:
        """What was written in `slot`: tokens, their log-probabilities, and which of them were forced."""
        count = int(self.step[slot])
        columns = (self.tokens, self.log_probs, self.forced)
        tokens, log_probs, forced = (tuple(column[slot, :count].tolist()) for column in columns)
        return tokens, log_probs, forced
