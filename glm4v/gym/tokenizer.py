"""Trains the gym's byte-level BPE tokenizer on the gym's own texts: `python -m glm4v.gym.tokenizer`.

Any text round-trips (all 256 bytes are in the vocabulary). Digits, capitals and punctuation marks are always one token
each, so that numbers, boxes and transcriptions are read sign by sign; small words become one token, space included.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from glm4v.gym import TOKENIZER
from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.write import DESCRIBE

CONTROL_TOKENS = (  # GLM-4.1V's own names, in the order of its checkpoint's ids
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>"),
)
ANSWER_TOKENS = ("<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>")
PIECES = Regex(r"\p{N}| ?\p{Lu}?\p{Ll}+|\p{Lu}|[^\s\p{L}\p{N}]|\s")
VOCABULARY = 768


def train(texts: Iterable[str], folder: Path = TOKENIZER, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Trains on texts and writes tokenizer.json and tokenizer_config.json; at most `vocabulary` tokens in all."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    own = len(CONTROL_TOKENS) + len(ANSWER_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - own, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ANSWER_TOKENS])
    loadable = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    loadable.save_pretrained(folder)
    return loadable


def gym_texts(problems: int = 100) -> Iterator[str]:
    """Questions, worked examples and captions of `problems` problems of each domain and tier."""
    for domain in DOMAINS.values():
        for tier in TIERS:
            for number in range(problems):
                problem = domain.make(np.random.default_rng([tier, number]), tier, "train")
                yield from (problem.question, problem.thought, problem.answer, problem.caption)
    yield from DESCRIBE * problems
    yield load_digits().DESCR  # a page of plain English, so that a user's own question is not spelled letter by letter


if __name__ == "__main__":
    print(f"{len(train(gym_texts()))} tokens in {TOKENIZER}")
