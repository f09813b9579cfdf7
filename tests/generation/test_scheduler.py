"""Whatever is scheduled when, each prompt gets the tokens it gets alone, and every block comes back."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from glm4v.data import Sample, pack
from glm4v.generation import scheduler as scheduling
from glm4v.generation.scheduler import Scheduler
from glm4v.generation.settings import Completion, Settings
from glm4v.model import Glm4v
from glm4v.model.cache import BLOCK_SIZE


def settings(max_new_tokens: int, samples: int = 1) -> Settings:
    return Settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=0,
        temperature=1.0,
        top_p=1.0,
        repetition_penalty=1.0,
        samples_per_prompt=samples,
        seed=0,
        stop=tuple(range(60)),  # about one token in ten, so that lengths differ
        invalid=(),
        thinking=None,
    )


@torch.inference_mode()
def run(model: Glm4v, prompts: list[Sample], options: Settings) -> tuple[list[Completion], Scheduler]:
    lengths = [len(prompt) for prompt in prompts]
    scheduler = Scheduler(model, (pack([prompt]) for prompt in prompts), lengths, options)
    return scheduler.run(), scheduler


def many(prompts: list[Sample], count: int) -> list[Sample]:
    """`count` prompts that all differ."""
    return [prompts[i % 5].completed(torch.tensor([i % 97, i]), torch.tensor([-100, -100])) for i in range(count)]


def test_more_sequences_than_slots(model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    questions = many(prompts, 16)
    roomy, scheduler = run(model, questions, settings(20, samples=2))
    assert scheduler.cache.free == len(scheduler.cache._users)
    assert len({len(completion.tokens) for completion in roomy}) > 5
    assert [completion.prompt for completion in roomy] == [index // 2 for index in range(32)]
    monkeypatch.setitem(scheduling.SLOTS, "cpu", 5)
    narrow, scheduler = run(model, questions, settings(20, samples=2))
    assert scheduler.cache.free == len(scheduler.cache._users)
    assert narrow == roomy


def blocks_needed(questions: list[Sample], max_new_tokens: int) -> int:
    """The smallest cache that the scheduler accepts."""
    longest = max(map(len, questions))
    return scheduling.blocks_of(longest + max_new_tokens - 1) + scheduling.blocks_of(longest) + 2


@settings_of_hypothesis(max_examples=12, deadline=None)
@given(st.integers(0, 30), st.integers(1, 4), st.integers(2, 9), st.integers(17, 60))
def test_a_full_cache_makes_sequences_wait(
    model: Glm4v, prompts: list[Sample], more: int, samples: int, count: int, tokens: int
) -> None:
    """Whatever waits is computed again and goes on as if it had not: tokens and log-probabilities to the bit."""
    questions = many(prompts, count)
    roomy, _ = run(model, questions, settings(tokens, samples))
    least = blocks_needed(questions, tokens)
    budget = BLOCK_SIZE * (least + more)
    scarce, scheduler = run(model, questions, replace(settings(tokens, samples), cache_tokens=budget))
    assert len(scheduler.cache._users) == scheduler.cache.free <= least + more
    assert scarce == roomy


def test_sequences_did_wait(model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    questions = many(prompts, 10)
    waited = []
    pause = Scheduler._pause
    monkeypatch.setattr(Scheduler, "_pause", lambda self, slot: (waited.append(slot), pause(self, slot)))
    options = replace(settings(60, samples=3), stop=())
    run(model, questions, options)
    assert not waited
    run(model, questions, replace(options, cache_tokens=BLOCK_SIZE * blocks_needed(questions, 60)))
    assert len(waited) > 5


def test_a_cache_that_is_too_small_is_named(
    model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    least = blocks_needed(prompts, 20)
    with pytest.raises(MemoryError, match=f"needs {least} blocks of 16 tokens.*cache_tokens allows {least - 1}"):
        run(model, prompts, replace(settings(20), cache_tokens=BLOCK_SIZE * least - 1))
    monkeypatch.setattr(scheduling, "affordable_blocks", lambda *_: least - 1)
    with pytest.raises(MemoryError, match=f"memory is free for {least - 1}"):
        run(model, prompts, settings(20))


def test_samples_share_the_blocks_of_their_prompt(model: Glm4v, prompts: list[Sample]) -> None:
    long = prompts[-1]
    _, one = run(model, [long], settings(4))
    _, eight = run(model, [long], settings(4, samples=8))
    blocks = len(eight.cache._users) - len(one.cache._users)
    assert blocks < 8 * scheduling.blocks_of(len(long)) / 4


def test_logits_that_are_not_finite_raise(model: Glm4v, prompts: list[Sample]) -> None:
    weight = model.lm_head.weight
    saved = weight[7, 0].item()
    with torch.no_grad():
        weight[7, 0] = torch.nan
        try:
            with pytest.raises(FloatingPointError, match="logits for prompt 0 are not finite"):
                run(model, prompts[:1], settings(2))
        finally:
            weight[7, 0] = saved
