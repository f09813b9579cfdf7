"""A small model with lively random weights, transformers' with the same weights, and prompts of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Glm4vForConditionalGeneration

from glm4v.data import PackedBatch, Processor, Sample
from glm4v.gym import TOKENIZER
from glm4v.model import Glm4v, small_config


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(TOKENIZER, min_pixels=28 * 28, max_pixels=112 * 112)


@pytest.fixture(scope="session")
def model(processor: Processor) -> Glm4v:
    torch.manual_seed(0)
    sizes = {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate": 96}
    vision = {"vision_hidden": 64, "vision_layers": 2, "vision_heads": 2, "merger_intermediate": 48}
    model = Glm4v(small_config(processor.tokenizer, **sizes, **vision, image_size=112, tie_word_embeddings=False))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:  # large enough that every token and pixel moves the logits
            torch.nn.init.normal_(parameter, std=1.0 if "embed" in name else 1.5 * parameter[0].numel() ** -0.5)
    return model


@pytest.fixture(scope="session")
def theirs(model: Glm4v) -> Glm4vForConditionalGeneration:
    theirs = Glm4vForConditionalGeneration(model.config).eval()
    theirs.load_state_dict(model.state_dict())
    return theirs


def image(seed: int, height: int = 56, width: int = 84) -> Any:
    return torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed)).byte().numpy()


@pytest.fixture(scope="session")
def prompts(processor: Processor) -> list[Sample]:
    """Text, an image, two images, a video, and a text longer than a decoder call."""

    def ask(*content: dict[str, Any]) -> Sample:
        return processor([{"role": "user", "content": list(content)}])

    def text(words: str) -> dict[str, Any]:
        return {"type": "text", "text": words}

    def picture(seed: int, *size: int) -> dict[str, Any]:
        return {"type": "image", "image": image(seed, *size)}

    return [
        ask(text("Hello")),
        ask(picture(0), text("What is the number shown?")),
        ask(picture(1, 28, 112), text("and"), picture(2, 84, 56), text("Which is the larger?")),
        ask({"type": "video", "video": [image(seed) for seed in range(3, 7)], "frame_rate": 2}, text("When?")),
        ask(text("Sum all of these: " + " ".join(str(number) for number in range(200)))),
    ]


@pytest.fixture(scope="session")
def to_transformers() -> Callable[[PackedBatch, Any], dict[str, Any]]:
    """The inputs of transformers' model for a batch of one sequence."""

    def convert(batch: PackedBatch, config: Any) -> dict[str, Any]:
        images = sum(t * h * w for t, h, w in batch.image_grids) // 4
        index = batch.vision_index
        inputs = {
            "input_ids": batch.input_ids[None],
            "attention_mask": torch.ones_like(batch.input_ids)[None],
            "mm_token_type_ids": torch.where(index < 0, 0, torch.where(index < images, 1, 2))[None],
        }
        if batch.image_grids:  # a still image is two equal frames
            frames = batch.image_patches.view(-1, 3, 1, 196).expand(-1, -1, 2, -1)
            inputs |= {"pixel_values": frames.reshape(-1, 1176), "image_grid_thw": batch.image_grid_thw}
        if batch.video_grids:
            inputs |= {"pixel_values_videos": batch.video_patches, "video_grid_thw": batch.video_grid_thw}
        return inputs

    return convert
