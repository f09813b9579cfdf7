"""A slice of the 9B model at full width, two vision blocks and two text layers, on a GPU: a training step of about
8,192 packed tokens against transformers' (padded, its fused attention), and decoding 64 sequences at a context of 4,096
against a copy of as many bytes.
"""

from collections.abc import Iterator

import torch
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

from glm4v import Glm4v, PackedBatch
from glm4v.benchmarks import harness
from glm4v.benchmarks.bench_model import inputs_of
from glm4v.benchmarks.harness import Case
from glm4v.model.cache import BLOCK_SIZE, PagedCache, blocks_of

LAYERS = 2
GRIDS = ((72, 72), (48, 96), (24, 72), (48, 48))  # of images in patches: 3,456 tokens
TEXTS = (400, 900, 1500, 1900)  # tokens
SEQUENCES, CONTEXT = 64, 4096


def config(layers: int = LAYERS) -> Glm4vConfig:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
    text = {"num_hidden_layers": layers, "rope_parameters": rope}
    return Glm4vConfig(text_config=text, vision_config={"depth": layers})


def flops_of_step(model: Glm4v, batch: PackedBatch) -> float:
    """Forward and backward: six for each weight of a product and row, 14 for each pair in attention and channel."""
    text, vision = model.config.text_config, model.config.vision_config
    decoder = sum(p.numel() for p in model.model.language_model.layers.parameters() if p.ndim > 1)
    blocks = sum(p.numel() for p in model.model.visual.blocks.parameters() if p.ndim > 1)
    merger = sum(p.numel() for p in model.model.visual.merger.parameters() if p.ndim > 1)
    patches, tokens = len(batch.image_patches), len(batch.input_ids)
    pairs = sum(length**2 for length in batch.seqlens) / 2 * text.hidden_size * text.num_hidden_layers
    pairs += sum((h * w) ** 2 for _, h, w in batch.image_grids) * vision.hidden_size * vision.depth
    products = decoder * tokens + model.lm_head.weight.numel() * batch.num_targets
    products += (blocks + 588 * vision.hidden_size) * patches
    products += (merger + 4 * vision.hidden_size * vision.out_hidden_size) * patches // 4
    return 6.0 * products + 14.0 * pairs


def training_step() -> Case:
    torch.manual_seed(1)
    settings = config()
    ours = Glm4v(settings).bfloat16()
    with torch.device("cpu"):
        inputs = inputs_of(settings, torch.bfloat16, GRIDS, TEXTS)
        batch = PackedBatch.from_transformers(inputs, settings)
    flops = flops_of_step(ours, batch)
    batch = batch.to(ours.device, torch.bfloat16)
    inputs = {name: value.to(ours.device) for name, value in inputs.items()}
    theirs = Glm4vForConditionalGeneration._from_config(settings, attn_implementation="sdpa", dtype=torch.bfloat16)
    theirs.load_state_dict(ours.state_dict())
    losses = (lambda: ours(batch).loss, lambda: theirs(**inputs).loss)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) for model in (ours, theirs)]

    def step(side: int) -> None:
        losses[side]().backward()
        optimizers[side].step()
        optimizers[side].zero_grad()

    shape = f"{LAYERS} + {LAYERS} layers, {len(batch.input_ids)} tokens"
    return Case(
        "slice", "training step", torch.bfloat16, shape, "transformers, padded, sdpa",
        lambda: step(0), lambda: step(1), bytes=0, flops=flops,
    )  # fmt: skip


@torch.inference_mode()
def decoding() -> Case:
    model = Glm4v(config()).bfloat16()
    cache = PagedCache(model.config.text_config, SEQUENCES * blocks_of(CONTEXT), model.dtype, model.device)
    cache.keys.normal_(), cache.values.normal_()
    table = torch.arange(SEQUENCES * blocks_of(CONTEXT), dtype=torch.int32).view(SEQUENCES, -1)
    lengths = torch.full((SEQUENCES,), CONTEXT)
    attend = cache.decode(table, lengths)
    tokens, nowhere = torch.arange(SEQUENCES), torch.full((SEQUENCES,), -1)
    positions = (lengths - 1).expand(3, -1)
    empty = torch.empty(0, 0, dtype=model.dtype)

    @torch.inference_mode()
    def step() -> torch.Tensor:
        return model.head(model.text(model.embed(tokens, nowhere, empty), positions, attend))

    read = sum(p.numel() for p in (*model.model.language_model.layers.parameters(), model.lm_head.weight)) * 2
    read += 2 * cache.keys.numel() * 2
    source = torch.empty(read // 2, dtype=torch.uint8)
    target = torch.empty_like(source)
    shape = f"{LAYERS} layers, {SEQUENCES} sequences, {SEQUENCES * blocks_of(CONTEXT) * BLOCK_SIZE} tokens in the cache"
    return Case(
        "slice", "decoding", torch.bfloat16, shape, "a copy that moves as many bytes",
        step, lambda: target.copy_(source), bytes=read,
    )  # fmt: skip


def cases() -> Iterator[Case]:
    if not harness.on_gpu():
        raise ValueError("slice: the 9B model's layers are measured on a GPU; give --device cuda")
    yield training_step()
    yield decoding()
