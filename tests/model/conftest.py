"""A small transformers model with lively random weights, ours with the same weights, and inputs for both."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

from glm4v.model import Glm4v

VOCABULARY = 120
BEGIN_IMAGE, END_IMAGE, BEGIN_VIDEO, END_VIDEO, IMAGE, VIDEO = range(114, 120)
Medium = tuple[str, tuple[int, int, int]]  # "image" or "video" and its grid in patches


def tiny_config(
    *, heads: int = 4, kv_heads: int = 2, head_dim: int = 32, partial_rotary: float = 0.5, tied: bool = False
) -> Glm4vConfig:
    frequencies = int(head_dim * partial_rotary) // 2
    sections = [frequencies // 4, frequencies * 3 // 8, frequencies - frequencies // 4 - frequencies * 3 // 8]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    hidden = heads * head_dim
    return Glm4vConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "intermediate_size": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "rope_parameters": rope | {"partial_rotary_factor": partial_rotary},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "intermediate_size": 72,
            "image_size": 84,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        image_start_token_id=BEGIN_IMAGE,
        image_end_token_id=END_IMAGE,
        video_start_token_id=BEGIN_VIDEO,
        video_end_token_id=END_VIDEO,
        tie_word_embeddings=tied,
    )


def enliven(model: torch.nn.Module) -> None:
    """Weights large enough that every part of the model moves the logits: sharp attention, norms and biases at work."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel() if "embed" not in name else 1
            torch.nn.init.normal_(parameter, std=1.5 * fan_in**-0.5)
        else:
            torch.nn.init.normal_(parameter, mean=0.0 if name.endswith("bias") else 1.0, std=0.3)


def make_pair(config: Glm4vConfig, seed: int = 0) -> tuple[Glm4v, Glm4vForConditionalGeneration]:
    """Ours and theirs with the same weights."""
    torch.manual_seed(seed)
    theirs = Glm4vForConditionalGeneration(config)
    enliven(theirs)
    ours = Glm4v(config)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def make_inputs(rows: Sequence[Sequence[int | Medium]], seed: int = 0, padding: str = "left") -> dict[str, Any]:
    """A batch as transformers' processor returns it. A row is a list of numbers (of random text tokens) and media."""
    generator = torch.Generator().manual_seed(seed)
    pixels: dict[str, list[Tensor]] = {"image": [], "video": []}
    grids: dict[str, list[tuple[int, int, int]]] = {"image": [], "video": []}

    def text(count: int) -> list[tuple[int, int]]:
        return [(token, 0) for token in torch.randint(0, BEGIN_IMAGE, (count,), generator=generator).tolist()]

    def tokens(part: int | Medium) -> list[tuple[int, int]]:
        """Token ids with their kinds (0 text, 1 image, 2 video)."""
        if isinstance(part, int):
            return text(part)
        kind, (t, h, w) = part
        span = 1 if kind == "image" else 2  # a still image is two equal frames
        patches = torch.randn(t * h * w, 3, span, 196, generator=generator)
        pixels[kind].append(patches.expand(-1, -1, 2, -1).reshape(-1, 1176))
        grids[kind].append((t, h, w))
        frame = [(BEGIN_IMAGE, 0), *[(IMAGE, span)] * (h * w // 4), (END_IMAGE, 0)]
        if kind == "image":
            return frame
        timed = [token for _ in range(t) for token in (*frame, *text(1))]
        return [(BEGIN_VIDEO, 0), *timed, (END_VIDEO, 0)]

    sequences = [[token for part in row for token in tokens(part)] for row in rows]
    length = max(len(sequence) for sequence in sequences)
    padded = torch.zeros(3, len(rows), length, dtype=torch.int64)  # token ids, kinds, mask
    for row, sequence in enumerate(sequences):
        start = length - len(sequence) if padding == "left" else 0
        padded[:2, row, start : start + len(sequence)] = torch.tensor(sequence).T
        padded[2, row, start : start + len(sequence)] = 1
    inputs = dict(zip(("input_ids", "mm_token_type_ids", "attention_mask"), padded, strict=True))

    scored = (torch.rand(inputs["input_ids"].shape, generator=generator) < 0.7) & (inputs["mm_token_type_ids"] == 0)
    # not a sequence's first token either: behind left padding, transformers predicts it from the padding
    scored &= inputs["attention_mask"].cumsum(dim=1) > 1
    inputs["labels"] = inputs["input_ids"].where(scored & inputs["attention_mask"].bool(), -100)
    for kind, name in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        if pixels[kind]:
            inputs[name] = torch.cat(pixels[kind])
            inputs[f"{kind}_grid_thw"] = torch.tensor(grids[kind])
    return inputs


def difference(actual: Tensor, expected: Tensor) -> float:
    """Largest deviation relative to the largest value; where nothing is expected, the largest value itself."""
    scale = expected.abs().max().item()
    return (actual - expected).abs().max().item() / (scale if scale > 1e-6 else 1.0)


@pytest.fixture(scope="session")
def tools() -> Any:
    """The functions above, for test files, which cannot import each other."""
    return SimpleNamespace(
        config=tiny_config, pair=make_pair, inputs=make_inputs, difference=difference, vocabulary=VOCABULARY
    )
