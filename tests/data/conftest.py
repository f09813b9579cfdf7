"""The gym's tokenizer, pictures made of noise, and JSONL files that show them."""

import json

import numpy as np
import pytest
from PIL import Image

from glm4v.data import Processor
from glm4v.gym import TOKENIZER


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(TOKENIZER)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth enough that resizing matters, uint8 [height, width, channels]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, channels), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])


@pytest.fixture
def conversations(tmp_path):
    """write(name, count, side): a JSONL file of `count` conversations, each about a picture of another size."""

    def write(name: str, count: int, side: int = 40):
        folder = tmp_path / name
        folder.mkdir()
        with (folder / "train.jsonl").open("w") as file:
            for number in range(count):
                Image.fromarray(noise(side + number % 5 * 28, side, seed=number)).save(folder / f"{number}.png")
                question = [{"type": "image", "image": f"{number}.png"}, {"type": "text", "text": f"{name} {number}?"}]
                messages = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"<think>{'so ' * (number % 7)}</think><answer>{number}</answer>"},
                ]
                file.write(json.dumps({"id": f"{name}-{number}", "messages": messages}) + "\n")
        return folder / "train.jsonl"

    return write
