"""Continuous batching: prompts are prefilled as slots fall free, and all live sequences decode together.

A sequence takes one more block of the cache when its last is full; when none is free the youngest sequence gives its
blocks up and waits, and what they held is computed again later. Decoder calls have one of a few numbers of rows at
which matrix products agree to the bit (see `rows`), prompts are cut at fixed places and random numbers depend on
nothing else: the same seed gives a prompt the same tokens in any company and under any schedule.
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
from glm4v.generation.decoder import Decoder
from glm4v.generation.prefill import prefill
from glm4v.generation.prompts import continued, digest
from glm4v.generation.rows import fitting, patch_counts, row_counts
from glm4v.generation.settings import Completion, Settings
from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE, PagedCache, affordable_blocks, blocks_of
from glm4v.ops.paged_attention import KEYS_PER_SPLIT

SLOTS = {"cpu": 512, "cuda": 256}  # sequences alive at once
REFILL = 16  # idle slots that are waited for before prompts are prefilled for them: fuller calls
PREFILL_TOKENS = 16384  # prompts are loaded up to here before they are prefilled: their pixels are in memory together


@dataclass
class Prompt:
    """A prompt whose samples are being started."""

    number: int
    batch: PackedBatch  # of this one sequence
    first_position: int  # of its samples' first token
    stream: bytes  # names its random numbers: the content, and how many like it came before
    blocks: list[int]
    started: int = 0  # samples
    state: Tensor = field(default_factory=lambda: torch.empty(0))  # [hidden] of its last token, after the prefill

    def __len__(self) -> int:
        return len(self.batch.input_ids)


@dataclass
class Running:
    """A sequence in a slot. It may share its prompt's full blocks, the rest of `blocks` is its own."""

    prompt: Prompt
    sample: int
    blocks: list[int]
    step: int = 0  # new tokens so far, as in the slot: the host knows without asking the device

    @property
    def written(self) -> int:
        """Tokens in the cache: all but the last new one."""
        return len(self.prompt) + self.step - 1


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
        self.row_counts, self.patch_counts = row_counts(model), patch_counts(model)
        self.most_rows = self.row_counts[-1]
        self._prompts, self._lengths = enumerate(prompts), deque(lengths)
        self._copies: Counter[bytes] = Counter()
        self._current: Prompt | None = None
        self._running: dict[int, Running] = {}  # by slot
        self._paused: dict[int, Running] = {}  # by slot: no blocks, and what was written stands in the slot
        self._completions: dict[int, Completion] = {}
        self._total = len(lengths) * settings.samples_per_prompt

        count = min(SLOTS[model.device.type], self._total)
        self._idle = list(range(count))[::-1]
        text: Any = model.config.text_config
        # by a multiple of them CUDA kernels split keys alike, whatever the longest prompt is
        parts = -(-(max(lengths) + settings.max_new_tokens - 1) // KEYS_PER_SPLIT)
        width = parts * blocks_of(KEYS_PER_SPLIT)
        self.slots = Slots(count, width, text.vocab_size, settings, model.device)
        self.cache = PagedCache(text, self._cache_blocks(count, max(lengths)), model.dtype, model.device)
        self.slots.table[self.slots.padding] = self.cache.scratch
        self.decoder = Decoder(model, self.cache, self.slots)
        self._live: list[int] = []  # the slots of the last step
        self._groups: tuple[Tensor, ...] = ()  # the same, at most `most_rows` each

    def run(self) -> list[Completion]:
        """All completions, prompt by prompt."""
        while len(self._completions) < self._total:
            self._resume()
            self._admit()
            self._grow()
            if (live := sorted(self._running)) != self._live:
                self._live, self._groups = live, self._tensor(live).split(self.most_rows)
            for group in self._groups:
                rows = self.slots.padded(group, fitting(self.row_counts, len(group)))
                self._advance(group, self.decoder(rows))
        return [self._completions[index] for index in range(self._total)]

    # starting sequences ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Starts what slots and blocks have room for, up to the first token of each; paused ones come first."""
        waiting = self._total - len(self._completions) - len(self._running)
        if self._paused or (self._running and len(self._idle) < min(waiting, REFILL)):
            return
        fresh: list[Prompt] = []
        slots: list[int] = []
        while self._idle and sum(map(len, fresh)) < PREFILL_TOKENS:
            if self._current is None:
                self._current = self._load()
                if self._current is None:
                    break
                fresh.append(self._current)
            prompt = self._current
            if not self._has_room(1):
                break
            slots.append(self._idle.pop())
            self._running[slots[-1]] = self._start(prompt)
            if prompt.started == self.settings.samples_per_prompt:
                self._current = None
        if not slots:
            return
        batches, blocks = [prompt.batch for prompt in fresh], [prompt.blocks for prompt in fresh]
        states = self._prefill(batches, blocks)
        for prompt, state in zip(fresh, states, strict=True):
            prompt.state = state
        self._first_tokens(slots)

    def _prefill(self, batches: list[PackedBatch], blocks: list[list[int]]) -> list[Tensor]:
        return prefill(self.model, self.cache, batches, blocks, self.row_counts, self.patch_counts)

    def _has_room(self, blocks: int) -> bool:
        """Whether `blocks` are free, and one more for each sequence that then runs to go on."""
        return self.cache.free >= blocks + len(self._running) + 1

    def _load(self) -> Prompt | None:
        """The next prompt, with its blocks, if there is one and it fits."""
        if not self._lengths or not self._has_room(blocks_of(self._lengths[0]) + 1):
            return None
        length = self._lengths.popleft()
        number, batch = next(self._prompts)
        content = digest(batch)
        self._copies[content] += 1
        return Prompt(
            number=number,
            batch=batch,
            first_position=int(batch.position_ids.max()) + 1,
            stream=b"%d " % self._copies[content] + content,
            blocks=self.cache.take(blocks_of(length)),
        )

    def _start(self, prompt: Prompt) -> Running:
        """The next sample of `prompt`: it shares the full blocks, and has a copy of the last one to write on."""
        shared = prompt.blocks[: len(prompt) // BLOCK_SIZE]
        self.cache.share(shared)
        running = Running(prompt, prompt.started, shared + self.cache.take(len(prompt.blocks) - len(shared)))
        prompt.started += 1
        return running

    def _first_tokens(self, slots: list[int]) -> None:
        """Fills `slots` with their sequences, whose prompts are in the cache, and samples the first token of each."""
        partial: list[tuple[int, int]] = []
        states = []
        for slot in slots:
            running, prompt = self._running[slot], self._running[slot].prompt
            full = len(prompt) // BLOCK_SIZE
            if full < len(prompt.blocks):
                partial.append((prompt.blocks[full], running.blocks[full]))
            stream = sampler.stream(self.settings.seed, prompt.stream, running.sample)
            self.slots.start(slot, prompt.batch.input_ids, prompt.first_position, stream, running.blocks)
            states.append(prompt.state)
        if partial:
            self.cache.copy(*zip(*partial, strict=True))
        for prompt in {id(self._running[slot].prompt): self._running[slot].prompt for slot in slots}.values():
            if prompt.started == self.settings.samples_per_prompt:
                self.cache.release(prompt.blocks)
        groups = self._tensor(slots).split(self.most_rows)
        for group, hidden in zip(groups, torch.stack(states).split(self.most_rows), strict=True):
            rows = fitting(self.row_counts, len(group))
            self._advance(group, self.model.head(F.pad(hidden, (0, 0, 0, rows - len(group)))))

    def _cache_blocks(self, slots: int, longest: int) -> int:
        """Blocks for `slots` sequences of the longest prompt, or as many as the budget has."""
        whole = blocks_of(longest + self.settings.max_new_tokens - 1)  # the last new token is never written
        own = whole - longest // BLOCK_SIZE
        prompts = -(-slots // self.settings.samples_per_prompt) + 1  # that have a sequence or are being handed out
        wanted = slots * (own + 1) + prompts * blocks_of(longest)
        least = whole + blocks_of(longest) + 2  # the oldest sequence to its end, beside a prompt that is handed out
        if self.settings.cache_tokens is None:
            budget = affordable_blocks(self.model.config.text_config, self.model.dtype, self.model.device)
            source = "memory is free for"
        else:
            budget, source = self.settings.cache_tokens // BLOCK_SIZE, "cache_tokens allows"
        if least > budget:
            raise MemoryError(
                f"a prompt of {longest} tokens with max_new_tokens {self.settings.max_new_tokens} needs {least} blocks "
                f"of {BLOCK_SIZE} tokens for keys and values, {source} {budget}"
            )
        return min(wanted, budget)

    # when blocks run out --------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """A block for each sequence whose next token begins one; for want of one the youngest waits."""
        full = [slot for slot, running in self._running.items() if running.written % BLOCK_SIZE == 0]
        grown: list[tuple[int, int, int]] = []  # slot, place in its table, block
        for slot in sorted(full, key=self._age):
            while slot in self._running and not self.cache.free:
                self._pause(max(self._running, key=self._age))
            if slot in self._running:
                blocks = self._running[slot].blocks
                blocks += self.cache.take(1)
                grown.append((slot, len(blocks) - 1, blocks[-1]))
        if grown:
            slots, places, new = (self._tensor(column) for column in zip(*grown, strict=True))
            self.slots.table[slots, places] = new.int()

    def _pause(self, slot: int) -> None:
        running = self._running.pop(slot)
        self.cache.release(running.blocks)
        running.blocks.clear()
        self._paused[slot] = running

    def _resume(self) -> None:
        """Computes again, for paused sequences that there is room for, the oldest first, what their blocks held."""
        batches: list[PackedBatch] = []
        blocks: list[list[int]] = []
        while self._paused and sum(len(batch.input_ids) for batch in batches) < PREFILL_TOKENS:
            slot = min(self._paused, key=self._age)
            running = self._paused[slot]
            needed = blocks_of(running.written)
            if not self._has_room(needed):
                break
            running.blocks.extend(self.cache.take(needed))
            self.slots.table[slot, :needed] = torch.tensor(running.blocks, dtype=torch.int32)
            batches.append(continued(running.prompt.batch, self.slots.tokens[slot, : running.step - 1]))
            blocks.append(running.blocks)
            self._running[slot] = self._paused.pop(slot)
        if batches:
            self._prefill(batches, blocks)

    def _age(self, slot: int) -> int:
        """Orders sequences by when they started, the oldest first."""
        return self._index(self._running.get(slot) or self._paused[slot])

    # a token for every sequence -------------------------------------------------------------------------------------

    def _advance(self, group: Tensor, logits: Tensor) -> None:
        """Samples from logits [rows, V] of the slots `group` and retires what has ended."""
        result = torch.stack([group, *self.slots.advance(group, logits)], dim=1)
        written = result.tolist()  # the one time that the host waits for the device
        for slot, token, _ in written:
            self._running[slot].step += 1
            if self.on_token is not None:
                self.on_token(self._index(self._running[slot]), token)
        for slot, _, ended in written:
            if ended:
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

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        tensor = torch.tensor(numbers, dtype=torch.int64)
        if self.model.device.type == "cuda":  # from pinned memory: the host does not wait
            return tensor.pin_memory().to(self.model.device, non_blocking=True)
        return tensor
