"""Whatever is scheduled when, each prompt gets the tokens it gets alone, and every block comes back."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from glm4v.data import Sample, pack
from glm4v.generation import scheduler as scheduling
from glm4v.generation.scheduler import Capacity, Request, Scheduler
from glm4v.generation.settings import Completion, Settings, Thinking
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
    scheduler = Scheduler(model, Capacity.of(model, [len(prompt) for prompt in prompts], options))
    requests = [Request(number, len(prompt), partial(pack, [prompt]), options) for number, prompt in enumerate(prompts)]
    for request in requests:
        scheduler.submit(request)
    while scheduler.busy:
        scheduler.step()
    return [request.completions[n] for request in requests for n in range(options.samples_per_prompt)], scheduler


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


def request(number: int, prompt: Sample, options: Settings, **more: Any) -> Request:
    return Request(number, len(prompt), partial(pack, [prompt]), options, **more)


@torch.inference_mode()
def test_requests_that_come_later_with_other_settings_change_nothing(model: Glm4v, prompts: list[Sample]) -> None:
    """Each gets the tokens and the bits that it gets alone, whoever it shares a batch with."""
    thinking = Thinking(budget=3, opens=70, closes=71, forced=(71, 72))
    several = [
        settings(30, samples=2),
        replace(settings(12, samples=3), temperature=0.7, top_p=0.9, seed=3),
        replace(settings(20), temperature=0.0, min_new_tokens=9),
        replace(settings(25, samples=2), repetition_penalty=1.3, stop=(100, 101)),
        replace(settings(16, samples=2), thinking=thinking, temperature=0.7, top_p=0.9),
        replace(settings(16, samples=3), thinking=replace(thinking, budget=6), stop=()),
    ]
    count = len(several)
    opened = [prompt.completed(torch.tensor([70]), torch.tensor([-100])) for prompt in prompts]
    alone = [[run(model, [opened[n]], options)[0] for n in range(5)] for options in several]
    scheduler = Scheduler(model, Capacity.of(model, [max(map(len, opened))] * 4, replace(several[0], stop=())))
    wanted = [(n, kind) for n in range(5) for kind in range(count)]
    requests = [request(i, opened[n], several[kind]) for i, (n, kind) in enumerate(wanted)]
    waiting, finished = list(requests), []
    while waiting or scheduler.busy:
        for _ in range(min(len(waiting), 2)):  # two more before each step
            scheduler.submit(waiting.pop(0))
        finished += scheduler.step()
    assert sorted(finished, key=lambda request: request.number) == requests
    for request_, (n, kind) in zip(requests, wanted, strict=True):
        expected = [replace(completion, prompt=request_.number) for completion in alone[kind][n]]
        assert [request_.completions[sample] for sample in range(len(expected))] == expected
    assert all(any(sum(one.forced) for completions in alone[kind] for one in completions) for kind in (4, 5))
    assert scheduler.cache.free == len(scheduler.cache._users)


@pytest.mark.parametrize("after", [0, 1, 5, 40])
@torch.inference_mode()
def test_a_cancelled_request_leaves_nothing_behind(model: Glm4v, prompts: list[Sample], after: int) -> None:
    """Waiting, half started, running or, where the cache is scarce, paused."""
    options = replace(settings(40, samples=4), stop=())
    budget = BLOCK_SIZE * (blocks_needed(prompts[:4], 40) + 4)
    scarce = replace(options, cache_tokens=budget)
    scheduler = Scheduler(model, Capacity.of(model, [len(prompt) for prompt in prompts[:4]], scarce))
    requests = [request(number, prompt, options) for number, prompt in enumerate(prompts[:4])]
    for one in requests:
        scheduler.submit(one)
    for _ in range(after):
        scheduler.step()
    for one in (requests[1], requests[3]):
        scheduler.cancel(one)
    while scheduler.busy:
        scheduler.step()
    assert [len(one.completions) for one in requests] == [4, 0, 4, 0]
    alone, _ = run(model, [prompts[2]], options)
    assert [requests[2].completions[n] for n in range(4)] == [replace(completion, prompt=2) for completion in alone]
    assert scheduler.cache.free == len(scheduler.cache._users)


@torch.inference_mode()
def test_a_listener_ends_a_sample(model: Glm4v, prompts: list[Sample]) -> None:
    options = replace(settings(20, samples=2), stop=())
    scheduler = Scheduler(model, Capacity.of(model, [len(prompts[0])], options))
    heard: list[int] = []

    def listen(sample: int, token: int) -> bool:
        heard.append(sample)
        return sample == 1 and heard.count(1) == 5

    one = request(0, prompts[0], options, on_token=listen)
    scheduler.submit(one)
    while scheduler.busy:
        scheduler.step()
    free, _ = run(model, [prompts[0]], options)
    assert one.completions[0] == free[0]
    assert one.completions[1].tokens == free[1].tokens[:5]
    assert [one.completions[n].finish_reason for n in range(2)] == ["length", "stop"]
