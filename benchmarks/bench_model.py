"""A 19 M parameter model against transformers', same weights, images and texts: a training step, the vision encoder,
generation; and the peak memory of the step.

Eight images from 112 x 112 to 1008 x 336 pixels with 32 to 400 text tokens each; ours packs them, transformers pads
them and takes its fastest attention on the CPU. Run as a program it tells the peak memory of one step.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from transformers import Glm4vConfig, Glm4vForConditionalGeneration, PreTrainedTokenizerFast

from glm4v import Glm4v, PackedBatch, gym
from glm4v.benchmarks import harness
from glm4v.benchmarks.harness import Case, name_of
from glm4v.benchmarks.shapes import DTYPES
from glm4v.model.config import small_config

GRIDS = ((8, 8), (16, 16), (24, 24), (24, 32), (32, 24), (16, 48), (24, 48), (24, 72))  # height, width in patches
TEXTS = (32, 64, 96, 128, 192, 256, 320, 400)  # tokens
SHAPE = "8 images, 19 M parameters"
SIDES = ("ours", "transformers")
NEW_TOKENS = 64

Grid = tuple[int, int]


def config() -> Glm4vConfig:
    return small_config(
        PreTrainedTokenizerFast.from_pretrained(gym.TOKENIZER),
        hidden=384,
        layers=8,
        intermediate=1024,
        vision_hidden=256,
        vision_layers=8,
        merger_intermediate=768,
    )


def inputs_of(
    config: Any, dtype: torch.dtype, grids: Sequence[Grid] = GRIDS, texts: Sequence[int] = TEXTS, left: bool = False
) -> dict[str, Any]:
    """A batch as transformers' processor returns it, padded on the right, for generation on the left.

    grids: height and width of each image in patches; texts: tokens after each image.
    """
    torch.manual_seed(0)
    length = max(h * w // 4 + text for (h, w), text in zip(grids, texts, strict=True)) + 2
    ids = torch.zeros(len(grids), length, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, ((h, w), text) in enumerate(zip(grids, texts, strict=True)):
        image = [config.image_start_token_id, *[config.image_token_id] * (h * w // 4), config.image_end_token_id]
        tokens = torch.cat([torch.tensor(image), torch.randint(0, 256, (text,))])
        place = slice(length - len(tokens), None) if left else slice(len(tokens))
        ids[row, place], mask[row, place] = tokens, 1
    kinds = (ids == config.image_token_id).long()
    patches = sum(h * w for h, w in grids)
    still = torch.randn(patches, 3, 1, 196).expand(-1, -1, 2, -1).reshape(patches, 1176)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": kinds,
        "labels": ids.where((mask == 1) & (kinds == 0), -100),
        "pixel_values": still.to(dtype),
        "image_grid_thw": torch.tensor([(1, h, w) for h, w in grids]),
    }


def model_of(side: str, dtype: torch.dtype) -> Any:
    """One side's model; both have the same weights."""
    settings = config()
    torch.manual_seed(1)
    model: Any = Glm4v(settings).to(dtype)
    if side == "transformers":
        weights = model.state_dict()
        model = Glm4vForConditionalGeneration._from_config(settings, attn_implementation="sdpa", dtype=dtype)
        model.load_state_dict(weights)
    return model


def step_of(side: str, dtype: torch.dtype) -> harness.Work:
    """Forward, backward and AdamW of one side, as a function."""
    model = model_of(side, dtype)
    inputs = inputs_of(model.config, dtype)
    if side == "transformers":
        loss = lambda: model(**inputs).loss
    else:
        batch = PackedBatch.from_transformers(inputs, model.config).to(dtype=dtype)
        loss = lambda: model(batch).loss
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value.item()

    return step


def vision_of(side: str, dtype: torch.dtype) -> harness.Work:
    """The images of a training step to features."""
    model = model_of(side, dtype)
    inputs = inputs_of(model.config, dtype)
    batch = PackedBatch.from_transformers(inputs, model.config).to(dtype=dtype)
    pixels, grids = inputs["pixel_values"], inputs["image_grid_thw"]
    encode = (lambda: model.encode_images(batch)) if side == "ours" else (lambda: model.model.visual(pixels, grids))
    return torch.no_grad()(encode)


def generation_of(side: str, dtype: torch.dtype, prompts: int, samples: int) -> harness.Work:
    """NEW_TOKENS of `samples` completions each of `prompts` prompts with an image: the likeliest, or sampled ones."""
    model = model_of(side, dtype).eval()
    texts = [16 + 32 * number // prompts for number in range(prompts)]
    inputs = inputs_of(model.config, dtype, [(16, 16)] * prompts, texts, left=True)
    del inputs["labels"]
    count = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
    if side == "ours":
        batch = PackedBatch.from_transformers(inputs, model.config).to(dtype=dtype)
        temperature = 0.0 if samples == 1 else 1.0
        return lambda: model.generate(batch, **count, temperature=temperature, samples_per_prompt=samples, seed=0)
    sampled = {"do_sample": samples > 1, "num_return_sequences": samples}
    return lambda: model.generate(**inputs, **count, **sampled)


def cases() -> Iterator[Case]:
    works = {
        "training step": (SHAPE, step_of),
        "vision encoder": ("the images of a step", vision_of),
        "generation, 32 x 1": ("32 prompts with an image, 64 tokens", partial(generation_of, prompts=32, samples=1)),
        "generation, 4 x 8": ("4 prompts with an image, 8 x 64 tokens", partial(generation_of, prompts=4, samples=8)),
    }
    for dtype in DTYPES:
        for direction, (shape, work_of) in works.items():
            sides = [work_of(side, dtype) for side in SIDES]
            yield Case("model", direction, dtype, shape, "transformers, padded, sdpa", *sides, bytes=0)


# memory -------------------------------------------------------------------------------------------------------------


def peak_bytes(side: str, dtype: torch.dtype) -> int:
    """Of weights, batch and one training step in this process, without the libraries."""
    before = harness.resident("VmRSS")
    step = step_of(side, dtype)
    harness.start_peak()  # after what loading took
    step()
    return harness.resident("VmHWM") - before


def memory() -> list[dict[str, Any]]:
    """Peak memory of a training step on both sides, each in a process of its own."""
    rows = []
    for dtype in DTYPES:
        name = name_of(dtype)
        ours, theirs = (
            int(
                subprocess.run(
                    [sys.executable, __file__, side, name], capture_output=True, text=True, check=True
                ).stdout
            )
            for side in SIDES
        )
        rows.append({"shape": SHAPE, "dtype": name, "bytes": ours, "peer_bytes": theirs, "ratio": ours / theirs})
        harness.console.print(
            f"peak memory of a training step, {name}: {ours / 1e9:.2f} GB, transformers {theirs / 1e9:.2f} GB "
            f"({ours / theirs:.2f}x)"
        )
    return rows


if __name__ == "__main__":
    print(json.dumps(peak_bytes(sys.argv[1], getattr(torch, sys.argv[2]))))
