"""A small world for RL: a model of a few thousand parameters that SFT taught the answer format, and text problems."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v.data import Processor, pack
from glm4v.gym import TOKENIZER
from glm4v.model import Glm4v, small_config

ANSWERS = "123456"
SIZES: dict[str, Any] = {
    "hidden": 64,
    "layers": 1,
    "heads": 2,
    "kv_heads": 1,
    "intermediate": 64,
    "vision_hidden": 32,
    "vision_layers": 1,
    "vision_heads": 1,
    "merger_intermediate": 32,
    "image_size": 56,
}


def response(answer: str, thought: str = "") -> str:
    return f"<think>{thought}</think><answer><|begin_of_box|>{answer}<|end_of_box|></answer>"


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(TOKENIZER)


@pytest.fixture(scope="session")
def bandit(tmp_path_factory: pytest.TempPathFactory, processor: Processor) -> Path:
    return make_bandit(tmp_path_factory.mktemp("bandit"), processor)


def make_bandit(folder: Path, processor: Processor) -> Path:
    """A folder with model/, which answers every question with one of six digits about alike, and problems.jsonl.

    A bandit's problem wants the digit 1; a dead one wants a digit that the model never writes.
    """
    lines = [
        {
            "id": f"{domain}-{number}",
            "messages": [{"role": "user", "content": domain}],
            "truth": truth,
            "domain": domain,
            "verifier": "counting",
            "tier": "1",
        }
        for domain, truth in (("bandit", "1"), ("dead", "9"))
        for number in range(20)
    ]
    (folder / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")

    torch.manual_seed(0)
    model = Glm4v(small_config(processor.tokenizer, **SIZES))
    samples = [
        processor(
            [{"role": "user", "content": question}, {"role": "assistant", "content": response(answer, thought)}],
            train="assistant",
        )
        for question in ("bandit", "dead")
        for answer in ANSWERS
        for thought in ("", "hm")
    ]
    batch = pack(samples)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        loss = model(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder


@pytest.fixture
def settings(bandit: Path, tmp_path: Path) -> dict[str, Any]:
    return quick_settings(bandit, tmp_path / "run")


def quick_settings(bandit: Path, out: Path) -> dict[str, Any]:
    """A recipe of quick steps, as the nested dictionary of a YAML file."""
    return {
        "out": str(out),
        "steps": 6,
        "checkpoint_every": 0,
        "model": {"path": str(bandit / "model"), "device": "cpu"},
        "optim": {"learning_rate": 1.5e-3, "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0},
        "data": {"train": str(bandit / "problems.jsonl"), "max_tokens": 512},
        "rollout": {"groups": 8, "responses": 8, "max_new_tokens": 10},
    }
