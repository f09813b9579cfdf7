"""Pretraining and SFT end to end: they learn, stop when asked, resume to the bit, and leave a model that works."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v.data import Processor
from glm4v.model import Glm4v
from glm4v.train import pretrain, sft
from glm4v.train.loop import due
from glm4v.train.recipe import PretrainRecipe, SftRecipe
from glm4v.train.run import Interrupted

TIMES = {"time", "tokens_per_second", "patches_per_second", "seconds/step", "seconds/data"}
SIGHT = {"sight/blanked", "sight/swapped", "sight/gain"}  # checked at the start of a resumed run too


def read(path: Path, without: set[str] = frozenset()) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [{key: value for key, value in json.loads(line).items() if key not in without} for line in lines]


def signal_after(steps: int, metrics: Path, number: int) -> threading.Thread:
    """Send this process a signal as soon as a run has logged so many steps."""

    def watch() -> None:
        while len(read(metrics)) < steps:
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(settings, tmp_path):
    settings |= {"steps": 40, "evaluate_every": 20, "checkpoint_every": 15}
    whole = sft.run(SftRecipe.model_validate(settings))

    stopped = tmp_path / "stopped"
    recipe = SftRecipe.model_validate(settings | {"out": str(stopped)})
    watcher = signal_after(3, stopped / "metrics.jsonl", signal.SIGTERM)
    with pytest.raises(Interrupted, match=rf"of 40; go on with: glm4v sft {stopped}/recipe\.yaml --resume"):
        sft.run(recipe)
    watcher.join()
    assert 3 <= len(read(stopped / "metrics.jsonl")) < 40
    assert not (stopped / "model").exists()

    assert sft.run(recipe.model_copy(update={"resume": True})) == stopped
    ignored = TIMES | SIGHT
    assert read(stopped / "metrics.jsonl", ignored) == read(whole / "metrics.jsonl", ignored)
    expected, got = (Glm4v.from_pretrained(out / "model").state_dict() for out in (whole, stopped))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    for samples in ("step_000001.jsonl", "step_000020.jsonl", "step_000040.jsonl"):
        assert read(stopped / "samples" / samples) == read(whole / "samples" / samples)


def test_a_run_learns_and_leaves_a_model_that_works(settings, conversations):
    settings |= {"steps": 30, "checkpoint_every": 10, "optim": {"learning_rate": 2e-2, "warmup_steps": 5}}
    out = pretrain.run(PretrainRecipe.model_validate(settings))
    lines = read(out / "metrics.jsonl")
    assert lines[-1]["evaluation_loss"] < 0.5 * lines[0]["loss"]
    assert lines[0]["sight/blanked"] > 0
    assert sorted(f.name for f in (out / "checkpoints").iterdir()) == ["step_000020", "step_000030"]

    first, last = (read(out / "samples" / f"step_{step:06d}.jsonl") for step in (1, 30))
    assert {record["kind"] for record in first} == {"training"}
    assert all("which colours?" in record["targets"] for record in first)  # pretraining learns all text
    answers = [json.loads(line)["messages"][1]["content"] for line in conversations.read_text().splitlines()]
    assert [record["expected"] for record in last] == answers[:2]

    processor = Processor.from_pretrained(out / "model")
    messages = json.loads(conversations.read_text().splitlines()[1])["messages"][:1]
    prompt = processor(messages, root=conversations.parent)
    [completion] = Glm4v.from_pretrained(out / "model").generate([prompt], max_new_tokens=2, temperature=0)
    assert 1 <= len(completion.tokens) <= 2


def test_sft_learns_assistant_turns_alone(settings):
    out = sft.run(SftRecipe.model_validate(settings | {"steps": 1}))
    for record in read(out / "samples" / "step_000001.jsonl")[:4]:
        assert "which colours?" in record.get("text", record.get("prompt"))
        assert "colours" not in record.get("targets", "")


def test_bfloat16_and_frozen_parts_train(settings):
    settings["model"] |= {"dtype": "bfloat16", "frozen": ["model.visual.*"], "gradient_checkpointing": True}
    out = sft.run(SftRecipe.model_validate(settings | {"steps": 3, "evaluate_every": 0}))
    assert Glm4v.from_pretrained(out / "model").dtype == torch.bfloat16
    with pytest.raises(FileExistsError, match="--resume"):
        sft.run(SftRecipe.model_validate(settings))
    sft.run(SftRecipe.model_validate(settings | {"steps": 4, "evaluate_every": 0, "resume": True}))
    assert [line["step"] for line in read(out / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_ends_the_run(settings):
    settings["optim"] |= {"learning_rate": 1e30, "warmup_steps": 0}
    with pytest.raises(FloatingPointError, match=r"step \d: loss .*lower optim\.learning_rate"):
        sft.run(SftRecipe.model_validate(settings))


def test_when_something_is_due():
    assert [step for step in range(1, 10) if due(step, 4)] == [4, 8]
    assert [step for step in range(1, 10) if due(step, 4, last=9)] == [4, 8, 9]
    assert not any(due(step, 0, last=9) for step in range(1, 10))
