"""Decode steps on tensors that stay where they are, and without a read from the device, as CUDA graphs need them."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from glm4v.data import Sample, pack
from glm4v.generation import decoder as decoding
from glm4v.generation import scheduler as scheduling
from glm4v.generation.prefill import side_by_side
from glm4v.generation.scheduler import Scheduler
from glm4v.generation.settings import Completion, Settings, Thinking
from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE, PagedCache

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
    lengths = [len(prompt) for prompt in prompts]
    return Scheduler(model, (pack([prompt]) for prompt in prompts), lengths, settings).run()


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
def test_a_step_reads_nothing_from_the_device(model: Glm4v) -> None:
    """Tensors on the meta device have no values to read."""
    device, rows = torch.device("meta"), 8
    with device:
        there = Glm4v(model.config)
        ids = torch.zeros(rows, dtype=torch.int64)
    text: Any = model.config.text_config
    thinking = Thinking(budget=2, opens=1, closes=2, forced=(2, 3))
    slots = Slots(5, 4, text.vocab_size, replace(SETTINGS, thinking=thinking), device)
    logits = decoding.Decoder(there, PagedCache(text, 20, there.dtype, device), slots)(ids)
    assert logits.shape == (rows, text.vocab_size)
    tokens, ended = slots.advance(ids[:5], logits)
    assert tokens.shape == ended.shape == (5,)


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
