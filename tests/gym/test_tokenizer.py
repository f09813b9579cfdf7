"""The committed tokenizer folder: round trips, one token a digit, GLM's special tokens and turns."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, Glm4vImageProcessorPil

from glm4v.gym import TOKENIZER
from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.tokenizer import ANSWER_TOKENS, CONTROL_TOKENS, train

tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_round_trips(text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.parametrize("domain", DOMAINS)
def test_problems_are_short_and_round_trip(domain: str) -> None:
    for tier in TIERS:
        problem = DOMAINS[domain].make(np.random.default_rng(tier), tier, "heldout")
        for text, longest in ((problem.question, 16), (problem.response, 60), (problem.caption, 90)):
            ids = tokenizer(text).input_ids
            assert tokenizer.decode(ids) == text
            assert len(ids) <= longest


def test_a_digit_is_one_token_whatever_stands_around_it() -> None:
    digits = set(tokenizer("0123456789").input_ids)
    assert len(digits) == 10
    for text in ("[250,300,975,1000]", "sum 42", "3+7=10", "a1b2"):
        tokens = tokenizer(text).input_ids
        assert sum(token in digits for token in tokens) == sum(letter.isdigit() for letter in text)


def test_capitals_of_a_transcription_are_one_token_each() -> None:
    assert len(tokenizer("KOBAZU").input_ids) == 6


def test_special_tokens_are_single_and_the_end_is_known() -> None:
    for token in (*CONTROL_TOKENS, *ANSWER_TOKENS):
        assert len(tokenizer(token).input_ids) == 1
    assert tokenizer.eos_token == tokenizer.pad_token == "<|endoftext|>"
    assert 512 <= len(tokenizer) <= 1024
    assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


def test_chat_template_writes_turns_and_media() -> None:
    user = {
        "role": "user",
        "content": [{"type": "image", "image": "a.png"}, {"type": "video", "video": []}, {"type": "text", "text": "Q"}],
    }
    media = "<|begin_of_image|><|image|><|end_of_image|><|begin_of_video|><|video|><|end_of_video|>"
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    assert prompt == f"[gMASK]<sop><|user|>\n{media}Q<|assistant|>\n"
    turns = [
        {"role": "system", "content": "S"},
        user,
        {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
    ]
    dialogue = tokenizer.apply_chat_template(turns, tokenize=False)
    assert dialogue == f"[gMASK]<sop><|system|>\nS<|user|>\n{media}Q<|assistant|>\nA"


def test_image_settings_keep_the_gym_pictures_at_their_size() -> None:
    processor = Glm4vImageProcessorPil.from_pretrained(TOKENIZER)
    grid = processor(np.zeros((28, 56, 3), np.uint8), return_tensors="np")["image_grid_thw"]
    assert grid.tolist() == [[1, 2, 4]]
    assert json.loads((TOKENIZER / "preprocessor_config.json").read_text())["patch_size"] == 14


def test_training_writes_a_folder_that_loads(tmp_path: Path) -> None:
    trained = train(["red circle, red square 12"] * 20, tmp_path, vocabulary=300)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("red circle 12").input_ids == trained("red circle 12").input_ids
    assert len(loaded) <= 300
