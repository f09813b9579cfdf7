"""Configurations are transformers' own (`Glm4vConfig`); this file refuses those the model cannot run, by name, and
makes small ones for the demo and the tests.
"""

from dataclasses import dataclass
from typing import Any

from transformers import Glm4vConfig, PreTrainedTokenizerBase

from glm4v.ops.packed_attention import HEAD_DIMS

SECTIONS = (8, 12, 12)  # transformers' default for a rotary part of 64
EOS_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")


@dataclass(frozen=True)
class Rotary:
    """The settings of the text decoder's 3D rotary embedding, as `ops.rope_3d` takes them."""

    sections: tuple[int, int, int]  # frequencies for the temporal, height and width axis
    rotary_dim: int  # leading channels of a head that rotate
    theta: float


def text_rotary(config: Any) -> Rotary:
    """The rotary settings of a `Glm4vTextConfig`."""
    rope = config.rope_parameters
    head_dim = config.hidden_size // config.num_attention_heads
    return Rotary(
        sections=tuple(rope.get("mrope_section") or SECTIONS),
        rotary_dim=int(head_dim * rope.get("partial_rotary_factor", 1.0)),
        theta=rope["rope_theta"],
    )


def check_config(config: Glm4vConfig) -> None:
    """Raises ValueError that names the field when the model cannot run `config` exactly as transformers would."""
    text: Any = config.text_config
    vision: Any = config.vision_config

    def require(holds: bool, field: str, value: object, expected: str) -> None:
        if not holds:
            raise ValueError(f"config.{field} is {value!r}, expected {expected}")

    for name, part, heads in (("text_config", text, "num_attention_heads"), ("vision_config", vision, "num_heads")):
        count = getattr(part, heads)
        divides = f"a multiple of {name}.{heads} ({count})"
        require(part.hidden_size % count == 0, f"{name}.hidden_size", part.hidden_size, divides)
        require(part.hidden_act == "silu", f"{name}.hidden_act", part.hidden_act, "'silu'")
        require(part.attention_dropout == 0, f"{name}.attention_dropout", part.attention_dropout, "0")
        head_dim = part.hidden_size // count
        stated = getattr(part, "head_dim", None)
        expected = f"{head_dim}, the hidden size over the heads (or no such field)"
        require(stated in (None, head_dim), f"{name}.head_dim", stated, expected)
        field = f"{name}.hidden_size / {heads}"
        expected = (
            f"a multiple of {HEAD_DIMS.step} from {HEAD_DIMS[0]} to {HEAD_DIMS[-1]}, which attention is built for"
        )
        require(head_dim in HEAD_DIMS, field, head_dim, expected)

    groups = f"a divisor of text_config.num_attention_heads ({text.num_attention_heads})"
    kv_heads = text.num_key_value_heads
    require(text.num_attention_heads % kv_heads == 0, "text_config.num_key_value_heads", kv_heads, groups)
    rope_type = text.rope_parameters["rope_type"]
    require(rope_type == "default", "text_config.rope_parameters['rope_type']", rope_type, "'default'")
    rotary = text_rotary(text)
    frequencies = (
        f"three numbers that sum to {rotary.rotary_dim / 2:g}, half the rotary width of a head "
        f"({rotary.rotary_dim} = head width x partial_rotary_factor, which is 0.5 in GLM-4.1V)"
    )
    fits = len(rotary.sections) == 3 and 2 * sum(rotary.sections) == rotary.rotary_dim
    require(fits, "text_config.rope_parameters['mrope_section']", list(rotary.sections), frequencies)

    rope_type = vision.rope_parameters["rope_type"]
    require(rope_type == "axial", "vision_config.rope_parameters['rope_type']", rope_type, "'axial'")
    for field, only in (("patch_size", 14), ("temporal_patch_size", 2), ("in_channels", 3), ("spatial_merge_size", 2)):
        value = getattr(vision, field)
        require(value == only, f"vision_config.{field}", value, f"{only}, the one size the operators are built for")
    image_size = vision.image_size
    whole = isinstance(image_size, int) and image_size % vision.patch_size == 0
    require(whole, "vision_config.image_size", image_size, f"an integer, a multiple of {vision.patch_size}")
    width = vision.out_hidden_size
    expected = f"text_config.hidden_size ({text.hidden_size})"
    require(width == text.hidden_size, "vision_config.out_hidden_size", width, expected)


def small_config(
    tokenizer: PreTrainedTokenizerBase,
    *,
    hidden: int = 192,
    layers: int = 6,
    heads: int = 6,
    kv_heads: int = 2,
    intermediate: int = 512,
    vision_hidden: int = 128,
    vision_layers: int = 4,
    vision_heads: int = 4,
    merger_intermediate: int = 384,
    image_size: int = 336,
    tie_word_embeddings: bool = True,
    initializer_range: float = 0.02,
) -> Glm4vConfig:
    """A small GLM-4.1V for `tokenizer`, from whose vocabulary every special token is taken.

    `intermediate` is the width of the text decoder's SwiGLU and `merger_intermediate` that of the merger's; the vision
    blocks' is `hidden`, as in the 9B model. `image_size` (pixels) sets the position table, not the images' size. Half
    of each head rotates, its frequencies split as in the 9B model (a quarter, then three eighths twice).

    Raises ValueError when the tokenizer lacks a special token or sizes do not fit together.
    """

    def token(name: str) -> int:
        index = tokenizer.get_vocab().get(name)
        if index is None:
            raise ValueError(f"tokenizer has no token {name!r}, expected GLM-4.1V's special tokens in its vocabulary")
        return index

    frequencies = hidden // heads // 4
    height = frequencies * 3 // 8
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [frequencies - 2 * height, height, height],
    }
    config = Glm4vConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "rope_parameters": rope,
            "initializer_range": initializer_range,
            "eos_token_id": [token(name) for name in EOS_TOKENS],
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": vision_hidden,
            "num_heads": vision_heads,
            "out_hidden_size": hidden,
            "intermediate_size": merger_intermediate,
            "image_size": image_size,
            "initializer_range": initializer_range,
        },
        image_token_id=token("<|image|>"),
        video_token_id=token("<|video|>"),
        image_start_token_id=token("<|begin_of_image|>"),
        image_end_token_id=token("<|end_of_image|>"),
        video_start_token_id=token("<|begin_of_video|>"),
        video_end_token_id=token("<|end_of_video|>"),
        tie_word_embeddings=tie_word_embeddings,
    )
    check_config(config)
    return config
