"""The thread that owns the engine: too many requests, requests that are given up, and its end."""

import time
from concurrent.futures import CancelledError
from queue import Full
from typing import Any

import pytest

from glm4v.data import Processor, Sample
from glm4v.generation import engine as module
from glm4v.generation.engine import EngineThread
from glm4v.generation.scheduler import Capacity
from glm4v.generation.settings import Settings
from glm4v.model import Glm4v


def settings(max_new_tokens: int, samples: int) -> Settings:
    return Settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=0,
        temperature=1.0,
        top_p=1.0,
        repetition_penalty=1.0,
        samples_per_prompt=samples,
        seed=0,
        stop=(),
        invalid=(),
        thinking=None,
    )


@pytest.fixture
def engine(model: Glm4v, processor: Processor) -> Any:
    engine = EngineThread(model, processor, Capacity.open(model, 2000, 8))
    yield engine
    engine.close()
    assert not engine.alive


def test_a_cancelled_request_is_written_no_further(engine: EngineThread, prompts: list[Sample]) -> None:
    heard: list[int] = []
    long = engine.submit(prompts[0], settings(1900, 8), lambda sample, token: bool(heard.append(token)))
    short = settings(2, 1)
    engine.submit(prompts[1], short)  # waits for a slot
    while len(heard) < 80 and not long.done():
        time.sleep(0.001)
    assert long.cancel(), long.result()
    assert len(engine.submit(prompts[1], short).result(60).completions[0].tokens) == 2
    count = len(heard)
    assert count < 8 * 1900
    engine.submit(prompts[1], short).result(60)
    assert len(heard) == count


def test_too_many_wait(engine: EngineThread, prompts: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    first = engine.submit(prompts[0], settings(200, 6))
    with pytest.raises(Full, match="6 samples wait, 10 may"):
        engine.submit(prompts[0], settings(3, 5))
    first.result(60)
    engine.submit(prompts[0], settings(3, 5)).result(60)


def test_its_end_cancels_what_is_unfinished(model: Glm4v, processor: Processor, prompts: list[Sample]) -> None:
    engine = EngineThread(model, processor, Capacity.open(model, 2000, 2))
    futures = [engine.submit(prompts[0], settings(1900, 1)) for _ in range(4)]
    engine.close()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(0)
