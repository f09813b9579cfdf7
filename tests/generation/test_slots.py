"""Bookkeeping of live sequences on hand-made logits: limits, masks, forced tokens."""

from typing import Any

import pytest
import torch

from glm4v.generation.settings import Settings, Thinking
from glm4v.generation.slots import Slots

STOP, INVALID, OPENS, CLOSES, ANSWER, WORD = range(6)
ROWS, VOCABULARY = 4, 6
DEFAULTS: dict[str, Any] = {
    "max_new_tokens": 8,
    "min_new_tokens": 0,
    "temperature": 0.0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "samples_per_prompt": 1,
    "seed": 0,
    "stop": (STOP,),
    "invalid": (INVALID,),
    "thinking": None,
}


def run(wishes: list[int], prompt: tuple[int, ...] = (WORD,), second: float = 0.0, **options: Any) -> Slots:
    """A sequence in slot 1 whose model wants the tokens `wishes`, and the token after each with logit `second`."""
    settings = Settings(**DEFAULTS | options)
    slots = Slots(2, 1, VOCABULARY, settings.max_new_tokens, torch.device("cpu"))
    slots.start(1, torch.tensor(prompt), len(prompt), 0, [0], settings)
    for wish in wishes:
        logits = torch.full((ROWS, VOCABULARY), -5.0)
        logits[0, wish], logits[0, (wish + 1) % VOCABULARY] = 1.0, second
        _, ended = slots.advance(torch.tensor([1]), logits)
        if ended.item():
            break
    return slots


def test_a_stop_token_or_the_limit_ends_a_sequence() -> None:
    tokens, log_probs, forced = run([WORD, STOP, WORD]).take(1)
    assert tokens == (WORD, STOP)
    assert len(log_probs) == 2
    assert forced == (False, False)
    assert run([WORD] * 9).take(1)[0] == (WORD,) * 8


def test_no_stop_token_before_the_minimum() -> None:
    assert run([STOP] * 4, second=-9.0, min_new_tokens=2).take(1)[0] == (OPENS, OPENS, STOP)


def test_invalid_tokens_never_come() -> None:
    assert run([INVALID, WORD, INVALID]).take(1)[0] == (OPENS, WORD, OPENS)


def test_repetition_is_penalised_in_prompt_and_completion() -> None:
    free = run([OPENS, OPENS], second=0.9).take(1)[0]
    penalised = run([OPENS, OPENS], second=0.9, repetition_penalty=1.5).take(1)[0]
    assert free == (OPENS, OPENS)
    assert penalised == (OPENS, CLOSES)
    assert run([OPENS], (OPENS,), second=0.9, repetition_penalty=1.5).take(1)[0] == (CLOSES,)


THINKING = Thinking(budget=2, opens=OPENS, closes=CLOSES, forced=(CLOSES, ANSWER))


def test_an_open_thought_is_closed_at_the_budget() -> None:
    tokens, _, forced = run([OPENS, WORD, WORD, WORD, WORD, STOP], thinking=THINKING).take(1)
    assert tokens == (OPENS, WORD, CLOSES, ANSWER, WORD, STOP)
    assert forced == (False, False, True, True, False, False)


def test_a_thought_that_the_prompt_opened_is_closed() -> None:
    tokens, _, forced = run([WORD] * 5 + [STOP], (WORD, OPENS), thinking=THINKING).take(1)
    assert tokens == (WORD, WORD, CLOSES, ANSWER, WORD, STOP)
    assert sum(forced) == 2


@pytest.mark.parametrize("wishes", [[OPENS, CLOSES, WORD, WORD, STOP], [WORD, WORD, WORD, WORD, STOP], [OPENS, STOP]])
def test_nothing_is_forced_without_an_open_thought(wishes: list[int]) -> None:
    tokens, _, forced = run(wishes, thinking=THINKING).take(1)
    assert list(tokens) == wishes
    assert not any(forced)


def test_thinking_is_closed_once() -> None:
    tokens, _, forced = run([OPENS, WORD, WORD, WORD, OPENS, WORD, WORD, STOP], thinking=THINKING).take(1)
    assert tokens == (OPENS, WORD, CLOSES, ANSWER, OPENS, WORD, WORD, STOP)
    assert sum(forced) == 2


def test_a_slot_forgets_its_last_sequence() -> None:
    options = {"thinking": THINKING, "repetition_penalty": 1.5}
    slots = run([OPENS, WORD, WORD, WORD], **options)
    slots.start(1, torch.tensor([WORD]), 1, 0, [0], Settings(**DEFAULTS | options))
    logits = torch.full((ROWS, VOCABULARY), -5.0)
    logits[0, ANSWER], logits[0, CLOSES] = 1.0, 0.9
    slots.advance(torch.tensor([1]), logits)
    assert slots.take(1)[0] == (ANSWER,)
    assert slots.take(1)[2] == (False,)


def test_log_probs_are_of_the_forced_token_and_before_masks() -> None:
    slots = run([OPENS, WORD, INVALID], thinking=THINKING)
    log_softmax = torch.tensor([-5.0, 1.0, 0.0, -5.0, -5.0, -5.0]).log_softmax(0)
    assert slots.take(1)[1][2] == pytest.approx(log_softmax[CLOSES].item())


def test_kinds_of_sampling_do_not_touch_one_another() -> None:
    """The first may close its thought and does; the second may not until its budget, whatever the first would do."""
    free = Settings(**DEFAULTS | {"thinking": THINKING})
    bound = Settings(**DEFAULTS | {"thinking": THINKING, "invalid": (INVALID, CLOSES)})
    slots = Slots(2, 1, VOCABULARY, 8, torch.device("cpu"))
    for slot, settings in enumerate((free, bound)):
        slots.start(slot, torch.tensor([OPENS]), 1, 0, [0], settings)
    for wish in (CLOSES, CLOSES, CLOSES, CLOSES, STOP):
        logits = torch.full((ROWS, VOCABULARY), -5.0)
        logits[:, wish], logits[:, WORD] = 1.0, 0.5
        slots.advance(torch.tensor([0, 1]), logits)
    assert slots.take(0)[0] == (CLOSES, CLOSES, CLOSES, CLOSES, STOP)
    assert slots.take(1)[0] == (WORD, WORD, CLOSES, ANSWER, STOP)
    assert slots.take(1)[2] == (False, False, True, True, False)
    assert not any(slots.take(0)[2])
