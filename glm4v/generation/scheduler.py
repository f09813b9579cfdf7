"""Continuous batching: prompts are prefilled as slots fall free, and all live sequences decode together. Requests may
come at any time, each with settings of its own.

A sequence takes one more block of the cache when its last is full; when none is free the youngest sequence gives its
blocks up and waits, and what they held is computed again later. Decoder calls have one of a few numbers of rows at
which matrix products agree to the bit (see `rows`), prompts are cut at fixed places and random numbers depend on
nothing else: the same seed gives a prompt the same tokens in any company and under any schedule.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v.data import PackedBatch
from glm4v.generation import sampler
from glm4v.generation.prefill import prefill
from glm4v.generation.prompts import continued, digest
from glm4v.generation.rows import fitting, patch_counts, row_counts
from glm4v.generation.settings import Completion, Settings
from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE, PagedCache, affordable_blocks, blocks_of

SLOTS = {"cpu": 512, "cuda": 256}  # sequences alive at once
REFILL = 16  # idle slots that are waited for before prompts are prefilled for them: fuller calls
PREFILL_TOKENS = 16384  # prompts are loaded up to here before they are prefilled: their pixels are in memory together


@dataclass(eq=False)
class Request:
    """A prompt, what is asked of it, and its completions as they are finished.

    load: gives the prompt, one packed sequence of `length` tokens, when its turn comes; copies: equal prompts so far,
    shared by requests whose equal prompts shall be answered differently; on_token(sample, token) is called for every
    token, and True ends that sample.
    """

    number: int
    length: int
    load: Callable[[], PackedBatch]
    settings: Settings
    copies: Counter[bytes] = field(default_factory=Counter)
    on_token: Callable[[int, int], bool] | None = None
    completions: dict[int, Completion] = field(default_factory=dict)  # by sample

    @property
    def finished(self) -> bool:
        return len(self.completions) == self.settings.samples_per_prompt


@dataclass(frozen=True)
class Capacity:
    """What a scheduler holds at once."""

    slots: int  # sequences that are being written
    max_tokens: int  # of a sequence in the cache: prompt and new tokens but the last
    max_new_tokens: int
    blocks: int  # of the cache

    @classmethod
    def of(cls, model: Glm4v, lengths: Sequence[int], settings: Settings) -> "Capacity":
        """Enough for prompts of `lengths` tokens, with what memory there is.

        Raises MemoryError when the longest does not fit.
        """
        longest, samples = max(lengths), settings.samples_per_prompt
        slots = min(SLOTS[model.device.type], len(lengths) * samples)
        max_tokens = longest + settings.max_new_tokens - 1  # the last new token is never written
        whole = blocks_of(max_tokens)
        own = whole - longest // BLOCK_SIZE
        prompts = -(-slots // samples) + 1  # that have a sequence or are being handed out
        wanted = slots * (own + 1) + prompts * blocks_of(longest)
        least = whole + blocks_of(longest) + 2  # the oldest sequence to its end, beside a prompt that is handed out
        if settings.cache_tokens is None:
            budget = affordable_blocks(model.config.text_config, model.dtype, model.device)
            source = "memory is free for"
        else:
            budget, source = settings.cache_tokens // BLOCK_SIZE, "cache_tokens allows"
        if least > budget:
            raise MemoryError(
                f"a prompt of {longest} tokens with max_new_tokens {settings.max_new_tokens} needs {least} blocks "
                f"of {BLOCK_SIZE} tokens for keys and values, {source} {budget}"
            )
        return cls(slots, max_tokens, settings.max_new_tokens, min(wanted, budget))

    @classmethod
    def open(cls, model: Glm4v, max_tokens: int, slots: int | None = None) -> "Capacity":
        """For requests yet unknown, of at most `max_tokens` tokens, prompt and completion together.

        Raises MemoryError when there is no room for one of that length.
        """
        slots = slots or SLOTS[model.device.type]
        budget = affordable_blocks(model.config.text_config, model.dtype, model.device)
        whole = blocks_of(max_tokens)
        if (least := 2 * whole + 2) > budget:  # the longest to its end, beside a prompt that is handed out
            raise MemoryError(
                f"a request of {max_tokens} tokens needs {least} blocks of {BLOCK_SIZE} tokens for keys and values, "
                f"memory is free for {budget}"
            )
        return cls(slots, max_tokens, max_tokens - 1, min(max(slots * (whole + 1), least), budget))


@dataclass
class Prompt:
    """A prompt whose samples are being started."""

    request: Request
    batch: PackedBatch  # of this one sequence
    first_position: int  # of its samples' first token
    stream: bytes  # names its random numbers: the content, and how many like it came before
    blocks: list[int]
    started: int = 0  # samples
    state: Tensor = field(default_factory=lambda: torch.empty(0))  # [hidden] of its last token, after the prefill

    def __len__(self) -> int:
        return len(self.batch.input_ids)


@dataclass(frozen=True)
class Running:
    """A sequence in a slot. It may share its prompt's full blocks, the rest of `blocks` is its own."""

    prompt: Prompt
    sample: int
    blocks: list[int]


class Scheduler:
    """Writes the completions of requests, in steps of a token for each live sequence; the oldest requests go first."""

    def __init__(self, model: Glm4v, capacity: Capacity) -> None:
        self.model, self.capacity = model, capacity
        self.row_counts, self.patch_counts = row_counts(model), patch_counts(model)
        self.most_rows = self.row_counts[-1]
        self._waiting: deque[Request] = deque()
        self._unstarted = 0  # samples
        self._current: Prompt | None = None
        self._running: dict[int, Running] = {}  # by slot
        self._paused: dict[int, Running] = {}  # by slot: no blocks, and what was written stands in the slot
        self._finished: list[Request] = []

        self._idle = list(range(capacity.slots))[::-1]
        text: Any = model.config.text_config
        width = blocks_of(capacity.max_tokens)
        self.slots = Slots(capacity.slots, width, text.vocab_size, capacity.max_new_tokens, model.device)
        self.cache = PagedCache(text, capacity.blocks, model.dtype, model.device)
        self._no_vision = torch.full((self.most_rows,), -1, device=model.device)
        self._no_features = torch.empty(0, 0, dtype=model.dtype, device=model.device)

    @property
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._unstarted or self._running or self._paused)

    def submit(self, request: Request) -> None:
        """Takes a request that fits the capacity; numbers ascend."""
        self._waiting.append(request)
        self._unstarted += request.settings.samples_per_prompt

    def step(self) -> list[Request]:
        """One more token for every live sequence; the requests that are finished by it."""
        self._resume()
        self._admit()
        if self._running:
            self._grow()
            for group in self._tensor(sorted(self._running)).split(self.most_rows):
                self._decode(group)
        finished, self._finished = self._finished, []
        return finished

    def cancel(self, request: Request) -> None:
        """Forgets a request that was submitted, at whatever stage it is."""
        if request in self._waiting:
            self._waiting.remove(request)
            self._unstarted -= request.settings.samples_per_prompt
        if self._current is not None and self._current.request is request:
            self._unstarted -= request.settings.samples_per_prompt - self._current.started
            self.cache.release(self._current.blocks)
            self._current = None
        for sequences in (self._running, self._paused):
            for slot in [slot for slot, running in sequences.items() if running.prompt.request is request]:
                self._leave(slot, sequences.pop(slot))

    # starting sequences ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Starts what slots and blocks have room for, up to the first token of each; paused ones come first."""
        if self._paused or (self._running and len(self._idle) < min(self._unstarted, REFILL)):
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
            if prompt.started == prompt.request.settings.samples_per_prompt:
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
        if not self._waiting or not self._has_room(blocks_of(self._waiting[0].length) + 1):
            return None
        request = self._waiting.popleft()
        batch = request.load()
        content = digest(batch)
        request.copies[content] += 1
        return Prompt(
            request=request,
            batch=batch,
            first_position=int(batch.position_ids.max()) + 1,
            stream=b"%d " % request.copies[content] + content,
            blocks=self.cache.take(blocks_of(request.length)),
        )

    def _start(self, prompt: Prompt) -> Running:
        """The next sample of `prompt`: it shares the full blocks, and has a copy of the last one to write on."""
        shared = prompt.blocks[: len(prompt) // BLOCK_SIZE]
        self.cache.share(shared)
        running = Running(prompt, prompt.started, shared + self.cache.take(len(prompt.blocks) - len(shared)))
        prompt.started += 1
        self._unstarted -= 1
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
            settings = prompt.request.settings
            stream = sampler.stream(settings.seed, prompt.stream, running.sample)
            self.slots.start(slot, prompt.batch.input_ids, prompt.first_position, stream, running.blocks, settings)
            states.append(prompt.state)
        if partial:
            self.cache.copy(*zip(*partial, strict=True))
        for prompt in {id(self._running[slot].prompt): self._running[slot].prompt for slot in slots}.values():
            if prompt.started == prompt.request.settings.samples_per_prompt:
                self.cache.release(prompt.blocks)
        groups = self._tensor(slots).split(self.most_rows)
        for group, hidden in zip(groups, torch.stack(states).split(self.most_rows), strict=True):
            rows = fitting(self.row_counts, len(group))
            self._advance(group, F.pad(hidden, (0, 0, 0, rows - len(group))))

    # when blocks run out --------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """A block for each sequence whose next token begins one; for want of one the youngest waits."""
        slots = self._tensor(list(self._running))
        written = self.slots.prompt_length[slots] + self.slots.step[slots] - 1
        for slot in sorted(slots[written % BLOCK_SIZE == 0].tolist(), key=self._age):
            while slot in self._running and not self.cache.free:
                self._pause(max(self._running, key=self._age))
            if slot in self._running:
                blocks = self._running[slot].blocks
                blocks += self.cache.take(1)
                self.slots.table[slot, len(blocks) - 1] = blocks[-1]

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
            running, step = self._paused[slot], int(self.slots.step[slot])
            needed = blocks_of(len(running.prompt) + step - 1)  # the last token is not written yet
            if not self._has_room(needed):
                break
            running.blocks.extend(self.cache.take(needed))
            self.slots.table[slot, :needed] = torch.tensor(running.blocks, dtype=torch.int32)
            batches.append(continued(running.prompt.batch, self.slots.tokens[slot, : step - 1]))
            blocks.append(running.blocks)
            self._running[slot] = self._paused.pop(slot)
        if batches:
            self._prefill(batches, blocks)

    def _age(self, slot: int) -> tuple[int, int]:
        """Orders sequences by when they started, the oldest first."""
        running = self._running.get(slot) or self._paused[slot]
        return running.prompt.request.number, running.sample

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
        done = dict.fromkeys(group[ended].tolist(), False)  # by slot: whether a listener ended it
        if any(self._running[slot].prompt.request.on_token for slot in group.tolist()):
            for slot, token in zip(group.tolist(), tokens.tolist(), strict=True):
                running = self._running[slot]
                listener = running.prompt.request.on_token
                if listener is not None and listener(running.sample, token):
                    done[slot] = True
        for slot, asked in done.items():
            self._finish(slot, asked)

    def _finish(self, slot: int, asked: bool) -> None:
        running = self._running.pop(slot)
        request = running.prompt.request
        tokens, log_probs, forced = self.slots.take(slot)
        self._leave(slot, running)
        if not math.isfinite(sum(log_probs)):
            raise FloatingPointError(f"the model's logits for prompt {request.number} are not finite")
        request.completions[running.sample] = Completion(
            prompt=request.number,
            tokens=tokens,
            text=None,
            log_probs=log_probs,
            forced=forced,
            finish_reason="stop" if asked or tokens[-1] in request.settings.stop else "length",
        )
        if request.finished:
            self._finished.append(request)

    def _leave(self, slot: int, running: Running) -> None:
        self.cache.release(running.blocks)
        self.slots.end(running.prompt.request.settings.sampling)
        self._idle.append(slot)

    def _tensor(self, slots: list[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.model.device)
