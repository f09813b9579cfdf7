"""Special tokens are looked up by their text, never taken from constants."""

from types import SimpleNamespace

import pytest

from glm4v.data import SpecialTokens

NAMES = [
    *("endoftext", "system", "user", "assistant", "observation"),
    *("image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video"),
]


def tokenizer(names):
    return SimpleNamespace(get_vocab=lambda: {f"<|{name}|>": 100 + number for number, name in enumerate(names)})


def test_ids_come_from_the_vocabulary():
    tokens = SpecialTokens.of(tokenizer(NAMES))
    assert (tokens.endoftext, tokens.end_of_video) == (100, 110)
    assert tokens.stop == (100, 102, 104)
    assert tokens.media == (105, 106, 107, 108, 109, 110)


def test_missing_tokens_are_named():
    with pytest.raises(ValueError, match=r"lacks <\|image\|>, <\|end_of_video\|>;"):
        SpecialTokens.of(tokenizer([name for name in NAMES if name not in ("image", "end_of_video")]))
