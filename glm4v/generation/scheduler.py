"""Continuous batching: prompts are prefilled as slots fall free, and all live sequences decode together.

Decoder calls have one of a few numbers of rows at which matrix products agree to the bit (see `rows`), prompts are cut
at fixed places and random numbers depend on nothing else: the same seed gives a prompt the same tokens in any company.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v.data import PackedBatch
from glm4v.generation import sampler
from glm4v.generation.prefill import prefill
from glm4v.generation.prompts import digest
from glm4v.generation.rows import fitting, row_counts
from glm4v.generation.settings import Completion, Settings
from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE, PagedCache, affordable_blocks, blocks_of

SLOTS = {"cpu": 128, "cuda": 256}  # sequences alive at once
PREFILL_TOKENS = 16384  # prompts are loaded up to here before they are prefilled: their pixels are in memory together


@dataclass
class Prompt:
    """A prompt whose samples are being started."""

    number: int
    input_ids: Tensor  # [L]
    first_position: int  # of its samples' first token
    stream: bytes  # names its random numbers: the content, and how many like it came before
    blocks: list[int]
    started: int = 0  # samples
    state: Tensor = field(default_factory=lambda: torch.empty(0))  # [hidden] of its last token, after the prefill

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Running:
    """A sequence in a slot. It shares its prompt's full blocks, the rest of `blocks` is its own."""

    prompt: Prompt
    sample: int
    blocks: list[int]


class Scheduler:
    """Runs prompts to their completions.

    prompts: batches of one sequence each, taken as there is room; lengths: their tokens; on_token(index, token) is
    called for every token, `index` being that of its completion.
    """

    def __init__(
        self,
        model: Glm4v,
        prompts: Iterator[PackedBatch],
        lengths: Sequence[int],
        settings: Settings,
        on_token: Callable[[int, int], None] | None = None,
    ) -> None:
        self.model, self.settings, self.on_token = model, settings, on_token
        self.row_counts = row_counts(model)
        self.most_rows = self.row_counts[-1]
        self._prompts, self._lengths = enumerate(prompts), deque(lengths)
        self._copies: Counter[bytes] = Counter()
        self._current: Prompt | None = None
        self._running: dict[int, Running] = {}  # by slot
        self._completions: dict[int, Completion] = {}
        self._total = len(lengths) * settings.samples_per_prompt

        count = min(SLOTS[model.device.type], self._total)
        self._idle = list(range(count))[::-1]
        text: Any = model.config.text_config
        width = blocks_of(max(lengths) + settings.max_new_tokens - 1)
        self.slots = Slots(count, width, text.vocab_size, settings, model.device)
        self.cache = PagedCache(text, self._cache_blocks(count, max(lengths)), model.dtype, model.device)
        self._no_vision = torch.full((self.most_rows,), -1, device=model.device)
        self._no_features = torch.empty(0, 0, dtype=model.dtype, device=model.device)

    def run(self) -> list[Completion]:
        """All completions, prompt by prompt."""
        while len(self._completions) < self._total:
            self._admit()
            for group in self._tensor(sorted(self._running)).split(self.most_rows):
                self._decode(group)
        return [self._completions[index] for index in range(self._total)]

    # starting sequences ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Starts what slots and blocks have room for, up to the first token of each sequence."""
        waiting = self._total - len(self._completions) - len(self._running)
        if self._running and len(self._idle) < min(waiting, self.most_rows // 8):
            return  # a few more idle slots make fuller calls
        fresh: list[tuple[Prompt, PackedBatch]] = []
        slots: list[int] = []
        while self._idle and sum(len(prompt) for prompt, _ in fresh) < PREFILL_TOKENS:
            if self._current is None:
                loaded = self._load()
                if loaded is None:
                    break
                fresh.append(loaded)
                self._current = loaded[0]
            prompt = self._current
            if self._own_blocks(len(prompt)) > self.cache.free:
                break
            slots.append(self._idle.pop())
            self._running[slots[-1]] = self._start(prompt)
            if prompt.started == self.settings.samples_per_prompt:
                self._current = None
        if not slots:
            return
        batches, blocks = [batch for _, batch in fresh], [prompt.blocks for prompt, _ in fresh]
        states = prefill(self.model, self.cache, batches, blocks, self.row_counts)
        for (prompt, _), state in zip(fresh, states, strict=True):
            prompt.state = state
        self._first_tokens(slots)

    def _load(self) -> tuple[Prompt, PackedBatch] | None:
        """The next prompt, with its blocks, if there is one and it fits."""
        if not self._lengths:
            return None
        length = self._lengths[0]
        if blocks_of(length) + self._own_blocks(length) > self.cache.free:
            return None
        self._lengths.popleft()
        number, batch = next(self._prompts)
        content = digest(batch)
        self._copies[content] += 1
        prompt = Prompt(
            number=number,
            input_ids=batch.input_ids,
            first_position=int(batch.position_ids.max()) + 1,
            stream=b"%d " % self._copies[content] + content,
            blocks=self.cache.take(blocks_of(length)),
        )
        return prompt, batch

    def _start(self, prompt: Prompt) -> Running:
        """The next sample of `prompt`, with all blocks it may ever need: a sequence that runs never waits."""
        shared = prompt.blocks[: len(prompt) // BLOCK_SIZE]
        self.cache.share(shared)
        running = Running(prompt, prompt.started, shared + self.cache.take(self._own_blocks(len(prompt))))
        prompt.started += 1
        return running

    def _first_tokens(self, slots: list[int]) -> None:
        """Fills `slots` with their sequences, whose prompts are in the cache, and samples the first token of each."""
        partial: list[tuple[int, int]] = []
        states = []
        for slot in slots:
            running, prompt = self._running[slot], self._running[slot].prompt
            full = len(prompt) // BLOCK_SIZE
            if len(prompt) % BLOCK_SIZE and len(running.blocks) > full:
                partial.append((prompt.blocks[full], running.blocks[full]))
            stream = sampler.stream(self.settings.seed, prompt.stream, running.sample)
            self.slots.start(slot, prompt.input_ids, prompt.first_position, stream, running.blocks)
            states.append(prompt.state)
        if partial:
            self.cache.copy(*zip(*partial, strict=True))
        for prompt in {id(self._running[slot].prompt): self._running[slot].prompt for slot in slots}.values():
            if prompt.started == self.settings.samples_per_prompt:
                self.cache.release(prompt.blocks)
        groups = self._tensor(slots).split(self.most_rows)
        for group, hidden in zip(groups, torch.stack(states).split(self.most_rows), strict=True):
            rows = fitting(self.row_counts, len(group))
            self._advance(group, F.pad(hidden, (0, 0, 0, rows - len(group))))

    def _own_blocks(self, prompt_length: int) -> int:
        """Blocks a sequence does not share with others of its prompt; the last new token is never written."""
        return blocks_of(prompt_length + self.settings.max_new_tokens - 1) - prompt_length // BLOCK_SIZE

    def _cache_blocks(self, slots: int, longest: int) -> int:
        """Blocks for `slots` sequences of the longest prompt, or as many as there is memory for."""
        samples = self.settings.samples_per_prompt
        prompts = -(-slots // samples) + 1  # that have a sequence or are being handed out
        wanted = slots * self._own_blocks(longest) + prompts * blocks_of(longest)
        affordable = affordable_blocks(self.model.config.text_config, self.model.dtype, self.model.device)
        least = blocks_of(longest) + self._own_blocks(longest)
        if least > affordable:
            raise MemoryError(
                f"a prompt of {longest} tokens with max_new_tokens {self.settings.max_new_tokens} needs {least} blocks "
                f"of keys and values, memory is free for {affordable}; expected fewer tokens or a smaller dtype"
            )
        return min(wanted, affordable)

    # a token for every sequence -------------------------------------------------------------------------------------

    def _decode(self, group: Tensor) -> None:
        """One more token for each slot of `group`, at most `most_rows`."""
        slots = self.slots
        rows = slots.padded(group, fitting(self.row_counts, len(group)))
        step = slots.step[rows]
        x = self.model.embed(slots.tokens[rows, step - 1], self._no_vision[: len(rows)], self._no_features)
        positions = (slots.first_position[rows] + step - 1).expand(3, -1)
        attend = self.cache.decode(slots.table[group], slots.prompt_length[group] + slots.step[group])
        self._advance(group, self.model.text(x, positions, attend))

    def _advance(self, group: Tensor, hidden: Tensor) -> None:
        """Samples from hidden states [rows, hidden] of the slots `group` and retires what has ended."""
        tokens, ended = self.slots.advance(group, self.model.head(hidden))
        if self.on_token is not None:
            for slot, token in zip(group.tolist(), tokens.tolist(), strict=True):
                self.on_token(self._index(self._running[slot]), token)
        for slot in group[ended].tolist():
            self._finish(slot)

    def _finish(self, slot: int) -> None:
        running = self._running.pop(slot)
        tokens, log_probs, forced = self.slots.take(slot)
        if not math.isfinite(sum(log_probs)):
            raise FloatingPointError(f"the model's logits for prompt {running.prompt.number} are not finite")
        self._completions[self._index(running)] = Completion(
            prompt=running.prompt.number,
            tokens=tokens,
            text=None,
            log_probs=log_probs,
            forced=forced,
            finish_reason="stop" if tokens[-1] in self.settings.stop else "length",
        )
        self.cache.release(running.blocks)
        self._idle.append(slot)

    def _index(self, running: Running) -> int:
        return running.prompt.number * self.settings.samples_per_prompt + running.sample

    def _tensor(self, slots: list[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.model.device)
