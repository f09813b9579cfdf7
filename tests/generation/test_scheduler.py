"""Whatever is scheduled when, each prompt gets the tokens it gets alone, and every block comes back."""

import pytest
import torch

from glm4v.data import Sample, pack
from glm4v.generation import scheduler as scheduling
from glm4v.generation.scheduler import Scheduler
from glm4v.generation.settings import Completion, Settings
from glm4v.model import Glm4v


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


def test_fewer_blocks_than_wanted(model: Glm4v, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    questions = many(prompts, 10)
    roomy, scheduler = run(model, questions, settings(20, samples=3))
    least = scheduling.blocks_of(max(map(len, questions)) + 19) + 1
    monkeypatch.setattr(scheduling, "affordable_blocks", lambda *_: least)
    scarce, scheduler = run(model, questions, settings(20, samples=3))
    assert len(scheduler.cache._users) == scheduler.cache.free == least
    assert scarce == roomy
    monkeypatch.setattr(scheduling, "affordable_blocks", lambda *_: least - 1)
    with pytest.raises(MemoryError, match=f"needs {least} blocks of keys and values, memory is free for {least - 1}"):
        run(model, questions, settings(20))


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
