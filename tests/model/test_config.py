"""Configurations that are refused by name, and the small one whose ids come from the tokenizer."""

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Glm4vConfig

from glm4v import gym
from glm4v.model import Glm4v, check_config, small_config


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(gym.TOKENIZER)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("text_config", "num_key_value_heads", 3, r"num_key_value_heads is 3, expected a divisor .*\(4\)"),
        ("text_config", "num_attention_heads", 5, r"text_config.hidden_size is 128, expected a multiple .*\(5\)"),
        ("text_config", "hidden_act", "gelu", "text_config.hidden_act is 'gelu', expected 'silu'"),
        ("text_config", "attention_dropout", 0.1, "text_config.attention_dropout is 0.1, expected 0"),
        ("text_config", "head_dim", 64, "text_config.head_dim is 64, expected 32"),
        ("text_config", "num_attention_heads", 32, "hidden_size / num_attention_heads is 4, expected a multiple of 8"),
        ("vision_config", "num_heads", 3, r"vision_config.hidden_size is 64, expected a multiple .*\(3\)"),
        ("vision_config", "num_heads", 16, "vision_config.hidden_size / num_heads is 4, expected a multiple of 8"),
        ("vision_config", "patch_size", 16, "vision_config.patch_size is 16, expected 14"),
        ("vision_config", "spatial_merge_size", 3, "vision_config.spatial_merge_size is 3, expected 2"),
        ("vision_config", "image_size", 100, "vision_config.image_size is 100, expected an integer, a multiple of 14"),
        ("vision_config", "out_hidden_size", 32, r"vision_config.out_hidden_size is 32, expected .*\(128\)"),
    ],
)
def test_a_config_that_cannot_run_is_refused_by_name(
    tools: Any, part: str, field: str, value: object, message: str
) -> None:
    config = tools.config()
    check_config(config)
    setattr(getattr(config, part), field, value)
    with pytest.raises(ValueError, match=message):
        Glm4v(config)


def test_sections_must_sum_to_half_the_rotary_width(tools: Any) -> None:
    config = tools.config()
    config.text_config.rope_parameters["mrope_section"] = [1, 1, 1]
    with pytest.raises(ValueError, match=r"mrope_section'\] is \[1, 1, 1\], expected three numbers that sum to 8"):
        check_config(config)


def test_transformers_default_config_lacks_the_partial_rotary_factor() -> None:
    with pytest.raises(ValueError, match=r"partial_rotary_factor, which is 0\.5 in GLM-4\.1V"):
        check_config(Glm4vConfig())


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_scaled_rotary_embeddings_are_refused(tools: Any, part: str) -> None:
    config = tools.config()
    getattr(config, part).rope_parameters["rope_type"] = "yarn"
    with pytest.raises(ValueError, match=rf"{part}.rope_parameters\['rope_type'\] is 'yarn'"):
        check_config(config)


def test_the_9b_configuration_has_its_10_293_billion_parameters() -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
    with torch.device("meta"):
        model = Glm4v(Glm4vConfig(text_config={"rope_parameters": rope}))
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e9, 3) == 10.293


def test_small_config_takes_special_tokens_from_the_tokenizer(tokenizer: Any) -> None:
    config = small_config(tokenizer)
    for field, token in (
        ("image_token_id", "<|image|>"),
        ("video_token_id", "<|video|>"),
        ("image_start_token_id", "<|begin_of_image|>"),
        ("image_end_token_id", "<|end_of_image|>"),
        ("video_start_token_id", "<|begin_of_video|>"),
        ("video_end_token_id", "<|end_of_video|>"),
    ):
        assert getattr(config, field) == tokenizer.convert_tokens_to_ids(token)
    assert config.text_config.vocab_size == len(tokenizer)
    assert tokenizer.convert_ids_to_tokens(config.text_config.eos_token_id) == [
        "<|endoftext|>",
        "<|user|>",
        "<|observation|>",
    ]
    assert 3e6 < sum(parameter.numel() for parameter in Glm4v(config).parameters()) < 4e6


@pytest.mark.parametrize("head_dim", [32, 40, 64, 96, 128])
def test_small_config_splits_the_frequencies_of_any_head(tokenizer: Any, head_dim: int) -> None:
    config = small_config(tokenizer, hidden=4 * head_dim, heads=4, kv_heads=1)
    sections = config.text_config.rope_parameters["mrope_section"]
    assert sum(sections) == head_dim // 4
    assert sections[1] == sections[2]
    assert head_dim != 128 or sections == [8, 12, 12]


def test_small_config_says_what_does_not_fit(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="num_key_value_heads is 4"):
        small_config(tokenizer, heads=6, kv_heads=4)
