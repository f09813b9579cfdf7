"""A small world for the trainers: a model of a few thousand parameters and a file of coloured pictures to name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glm4v.data import Processor
from glm4v.gym import TOKENIZER

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "white": (240, 240, 240)}
SIZES: dict[str, Any] = {
    "hidden": 32,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "intermediate": 48,
    "vision_hidden": 16,
    "vision_layers": 1,
    "vision_heads": 2,
    "merger_intermediate": 32,
    "image_size": 56,
}


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(TOKENIZER, min_pixels=28 * 28)


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conversations(tmp_path_factory.mktemp("conversations"))


def write_conversations(folder: Path) -> Path:
    """A JSONL of 48 conversations: text alone, one picture, and two pictures in turn."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(48):
        names = [str(name) for name in rng.choice(list(COLOURS), size=number % 3)]
        parts: list[dict[str, str]] = []
        for place, name in enumerate(names):
            pixels = np.clip(np.array(COLOURS[name]) + rng.normal(0, 10, (28, 56, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}_{place}.png")
            parts.append({"type": "image", "image": f"{number}_{place}.png"})
        parts.append({"type": "text", "text": "which colours?"})
        answer = " ".join(names) or "none"
        messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"id": str(number), "messages": messages, "domain": "colour", "tier": "1"}))
    path = folder / "train.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def settings(conversations: Path, tmp_path: Path) -> dict[str, Any]:
    return quick_settings(conversations, tmp_path / "run")


def quick_settings(conversations: Path, out: Path) -> dict[str, Any]:
    """A recipe of 8 quick steps with everything in it, as the nested dictionary of a YAML file."""
    return {
        "out": str(out),
        "steps": 8,
        "evaluate_every": 4,
        "evaluation_batches": 2,
        "answers": 2,
        "answer_tokens": 4,
        "sight_every": 4,
        "checkpoint_every": 3,
        "model": {"config": SIZES, "min_pixels": 28 * 28, "device": "cpu"},
        "optim": {"learning_rate": 3e-3, "warmup_steps": 2},
        "data": {
            "train": str(conversations),
            "evaluation": str(conversations),
            "max_tokens": 128,
            "accumulation": 2,
        },
    }
