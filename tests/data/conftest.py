"""The gym's tokenizer and the chat template of real checkpoints; pictures made of noise, JSONL files that show them."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer

from glm4v.data import Processor
from glm4v.gym import TOKENIZER


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(TOKENIZER)


@pytest.fixture(scope="session")
def checkpoint_processor() -> Processor:
    """With a template that behaves as that of GLM-4.1V-9B-Thinking: users have parts, all else is printed whole."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
    tokenizer.chat_template = (
        "[gMASK]<sop>{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ '\\n' }}"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
        "{% if part.type == 'video' or 'video' in part %}<|begin_of_video|><|video|><|end_of_video|>"
        "{% elif part.type == 'image' or 'image' in part %}<|begin_of_image|><|image|><|end_of_image|>"
        "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
        "{% else %}<|{{ m.role }}|>{{ m.metadata }}{{ '\\n' }}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{{ '\\n' }}{% endif %}"
    )
    return Processor(tokenizer)


@pytest.fixture(scope="session")
def noise():
    """noise(height, width, channels, seed): uint8 [height, width, channels], smooth enough that resizing matters."""

    def make(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, channels), dtype=np.uint8)
        return np.ascontiguousarray(coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])

    return make


@pytest.fixture
def conversations(tmp_path, noise):
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
