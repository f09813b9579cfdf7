"""What counts as written by the assistant, text alone."""

import pytest
from transformers import AutoTokenizer

from glm4v.data.template import ChatTemplate
from glm4v.gym import TOKENIZER


@pytest.fixture
def tokenizer():
    return AutoTokenizer.from_pretrained(TOKENIZER, local_files_only=True)


def pieces(tokenizer, text):
    """The pieces of a text, what the assistant writes in brackets; together they are the text."""
    cut = list(ChatTemplate(tokenizer).pieces(text))
    assert "".join(piece for piece, _ in cut) == text
    return "".join(f"[{piece}]" if written else piece for piece, written in cut)


@pytest.mark.parametrize(
    "expected",
    [
        "<sop><|user|>\nHi",
        "<|assistant|>\n[]",
        "<|user|>\nHi<|assistant|>\n[Yes.]",
        "<|user|>\nHi<|assistant|>\n[Yes.<|user|>]\nAnd?<|assistant|>\n[No.<|endoftext|>]",
        "<|assistant|>\n[Look.<|observation|>]\n21<|assistant|>\n[It is.]",
        "<|assistant|>\n[One.]<|system|>\nBe brief.<|assistant|>\n[Two.]",
        "<|assistant|>\n[One.]<|assistant|>\n[Two.]",
        "<|assistant|>\n[\n\nThree lines down.]",
    ],
)
def test_turns_end_with_the_token_that_ends_them(tokenizer, expected):
    assert pieces(tokenizer, expected.replace("[", "").replace("]", "")) == expected


def test_a_thought_that_the_template_opens_is_not_the_assistants(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace("<|assistant|>\\n", "<|assistant|>\\n<think>")
    assert pieces(tokenizer, "<|assistant|>\n<think>so</think>4") == "<|assistant|>\n<think>[so</think>4]"
    assert pieces(tokenizer, "<|assistant|>\n<answer>4</answer>") == "<|assistant|>\n[<answer>4</answer>]"


def test_a_tokenizer_without_template_is_refused(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        ChatTemplate(tokenizer)
