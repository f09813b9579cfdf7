"""Decode steps on tensors that stay where they are, and without a read from the device, as CUDA graphs need them."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from glm4v.data import Sample, pack
from glm4v.generation import decoder as decoding
from glm4v.generation import scheduler as scheduling
from glm4v.generation.prefill import prefill, side_by_side
from glm4v.generation.scheduler import Capacity, Request, Scheduler
from glm4v.generation.settings import Completion, Settings, Thinking
from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE, PagedCache, blocks_of

SETTINGS = Settings(
    max_new_tokens=20,
    min_new_tokens=3,
    temperature=1.0,
    top_p=0.9,
    repetition_penalty=1.2,
    samples_per_prompt=9,
    seed=0,
    stop=tuple(range(60)),  # about one token in ten, so that lengths differ
    invalid=(),
    thinking=None,
)


class Again:
    """In the place of a CUDA graph: a replay runs the function again, with nothing but what it was recorded with."""

    recorded = 0

    def __init__(self, device: torch.device) -> None:
        type(self).recorded = 0

    def __call__(self, function: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        type(self).recorded += 1
        out = function()
        return lambda: out.copy_(function()), out


@torch.inference_mode()
def run(model: Glm4v, prompts: list[Sample], settings: Settings) -> list[Completion]:
    scheduler = Scheduler(model, Capacity.of(model, [len(prompt) for prompt in prompts], settings))
    return answers(scheduler, prompts, settings)


def answers(scheduler: Scheduler, prompts: list[Sample], settings: Settings) -> list[Completion]:
    requests = [Request(n, len(prompt), partial(pack, [prompt]), settings) for n, prompt in enumerate(prompts)]
    for request in requests:
        scheduler.submit(request)
    while scheduler.busy:
        scheduler.step()
    return [request.completions[n] for request in requests for n in range(settings.samples_per_prompt)]


@pytest.mark.parametrize("cache_tokens", [None, BLOCK_SIZE * 135])
def test_replayed_steps_give_the_same(
    model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch, cache_tokens: int | None
) -> None:
    """While sequences end, wait and begin anew in others' slots, to the bit."""
    monkeypatch.setitem(scheduling.SLOTS, "cpu", 40)
    settings = replace(SETTINGS, cache_tokens=cache_tokens)
    want = run(model, prompts, settings)
    monkeypatch.setattr(decoding, "Recorder", Again)
    monkeypatch.setattr(scheduling, "Decoder", lambda *parts: decoding.Decoder(*parts, graphs=True))
    assert run(model, prompts, settings) == want
    assert Again.recorded > 1  # numbers of rows


@torch.inference_mode()
def test_nothing_is_read_from_the_device(model: Glm4v, prompts: list[Sample]) -> None:
    """Prompts, which are on the CPU, are prefilled and go on for a step on the meta device, which has no values to read
    and takes no tensors of another device."""
    device, rows = torch.device("meta"), 8
    with device:
        there = Glm4v(model.config)
        ids = torch.zeros(rows, dtype=torch.int64)
    text: Any = model.config.text_config
    cache = PagedCache(text, 100, there.dtype, device)
    blocks = [cache.take(blocks_of(len(prompt))) for prompt in prompts]
    states = prefill(there, cache, [pack([prompt]) for prompt in prompts], blocks, (16, 64, 256), (64, 256))
    assert {(state.device.type, *state.shape) for state in states} == {("meta", text.hidden_size)}

    thinking = Thinking(budget=2, opens=1, closes=2, forced=(2, 3))
    settings = replace(SETTINGS, thinking=thinking)
    slots = Slots(5, 60, text.vocab_size, settings.max_new_tokens, device)
    for slot, (prompt, taken) in enumerate(zip(prompts, blocks, strict=True)):
        slots.start(slot, prompt.input_ids, len(prompt), 0, taken, settings)
    logits = decoding.Decoder(there, cache, slots)(ids)
    assert logits.shape == (rows, text.vocab_size)
    tokens, ended = slots.advance(ids[:5], logits)
    assert tokens.shape == ended.shape == (5,)


@torch.inference_mode()
def test_new_weights_are_recorded_anew(model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    other = Glm4v(model.config)
    other.load_state_dict({name: tensor.roll(1, -1) for name, tensor in model.state_dict().items()})
    want = run(other, prompts, SETTINGS)
    monkeypatch.setattr(decoding, "Recorder", Again)
    monkeypatch.setattr(scheduling, "Decoder", lambda *parts: decoding.Decoder(*parts, graphs=True))
    scheduler = Scheduler(model, Capacity.of(model, [len(prompt) for prompt in prompts], SETTINGS))
    assert answers(scheduler, prompts, SETTINGS) != want
    scheduler.take_weights(other)
    assert answers(scheduler, prompts, SETTINGS) == want


def test_a_decoder_goes_with_its_scheduler(
    model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the scheduler holds it, in no cycle that waits for the collector: so graphs free their memory."""
    decoders: list[weakref.ref[decoding.Decoder]] = []

    def decoder(*parts: Any) -> decoding.Decoder:
        made = decoding.Decoder(*parts, graphs=True)
        decoders.append(weakref.ref(made))
        return made

    # like a graph, and unlike Again, a replay does not hold the function
    monkeypatch.setattr(decoding, "Recorder", lambda device: lambda function: (int, function()))
    monkeypatch.setattr(scheduling, "Decoder", decoder)
    gc.disable()
    try:
        run(model, prompts, SETTINGS)
        assert [held() for held in decoders] == [None]
    finally:
        gc.enable()


def test_stills_of_prompts_on_a_device_share_a_call(prompts: list[Sample]) -> None:
    """Batches are made on the CPU, whatever device the prompts lie on."""
    moved = [pack([prompt]).to("meta") for prompt in prompts[1:3]]
    batch = side_by_side(moved, (64, 512))
    assert {batch.image_patches.device.type, batch.image_grid_thw.device.type} == {"meta"}
    assert len(batch.image_patches) in (64, 512)
