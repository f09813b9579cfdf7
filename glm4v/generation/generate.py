"""`generate`: prompts in, completions out. Greedy decoding in float32 agrees with transformers token for token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from glm4v.data import PackedBatch, Processor, Sample
from glm4v.data.images import CLIP_MEAN, CLIP_STD
from glm4v.generation.prompts import lengths, one_by_one
from glm4v.generation.scheduler import Capacity, Request, Scheduler
from glm4v.generation.settings import Completion, Settings, Thinking
from glm4v.model import Glm4v

MEDIA_TOKENS = (
    "image_token_id",
    "video_token_id",
    "image_start_token_id",
    "image_end_token_id",
    "video_start_token_id",
    "video_end_token_id",
)


@torch.inference_mode()
def generate(
    model: Glm4v,
    samples: Sequence[Sample] | PackedBatch,
    *,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    samples_per_prompt: int = 1,
    thinking_budget: int | None = None,
    processor: Processor | None = None,
    seed: int | None = None,
    stop: Sequence[int] = (),
    cache_tokens: int | None = None,
    on_token: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """Completions of each prompt, prompt by prompt: `samples_per_prompt` of prompt 0, then of prompt 1, and so on.

    Args:
        samples: prompts; of a packed batch each sequence is one.
        max_new_tokens: tokens of a completion at most, forced ones and the stop token included.
        min_new_tokens: no stop token is sampled before that many.
        temperature: 0 takes the likeliest token.
        top_p: sample from the smallest set of likeliest tokens with that probability.
        repetition_penalty: above 1, tokens of the prompt and of the completion so far become less likely.
        thinking_budget: sampled tokens after which an open `<think>` is closed by `</think><answer>`, written and not
            sampled; the answer follows. Needs `processor`.
        processor: decodes text, gives `thinking_budget` its tokens, images their mean and deviation, and more stop ids.
        seed: None draws one from torch's generator. The same seed gives a prompt the same completions whatever else is
            in the batch (bit for bit in float32), and equal prompts in a batch different ones.
        stop: ids that end a completion besides the end-of-sequence ids of the model's config and the processor.
        cache_tokens: how many tokens' keys and values are kept at once; by default what half of the free memory holds.
            When they are used up the youngest completions wait, and what they had is computed again.
        on_token: called as on_token(index of the completion, token) for each token, in the order of writing.

    Raises ValueError that names a wrong option, MemoryError when the longest completion does not fit into the cache,
    FloatingPointError when the model's logits are not finite. Image, video and their begin and end tokens are never
    sampled.
    """
    settings = Settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        samples_per_prompt=samples_per_prompt,
        seed=int(torch.randint(2**63 - 1, ())) if seed is None else seed,
        stop=stop_ids(model.config, processor, stop),
        invalid=media_ids(model.config, processor),
        thinking=None if thinking_budget is None else thinking(thinking_budget, processor),
        cache_tokens=cache_tokens,
    )
    counts = lengths(samples)
    if not counts:
        return []
    mean, std = (CLIP_MEAN, CLIP_STD) if processor is None else (processor.image_mean, processor.image_std)
    prompts = one_by_one(samples, mean, std)
    copies: Counter[bytes] = Counter()
    scheduler = Scheduler(model, Capacity.of(model, counts, settings))
    requests = [
        Request(number, length, prompts.__next__, settings, copies, _listener(on_token, number * samples_per_prompt))
        for number, length in enumerate(counts)
    ]
    for request in requests:
        scheduler.submit(request)
    while scheduler.busy:
        scheduler.step()
    completions = [request.completions[sample] for request in requests for sample in range(samples_per_prompt)]
    if processor is None:
        return completions
    return [replace(completion, text=processor.decode(completion.tokens)) for completion in completions]


def _listener(on_token: Callable[[int, int], None] | None, first: int) -> Callable[[int, int], bool] | None:
    """`on_token` for the samples of a prompt, whose first completion has the index `first`."""
    if on_token is None:
        return None

    def listen(sample: int, token: int) -> bool:
        on_token(first + sample, token)
        return False

    return listen


def stop_ids(config: Any, processor: Processor | None, stop: Sequence[int]) -> tuple[int, ...]:
    """Ids that end a completion: `stop`, the config's end-of-sequence ids and the processor's."""
    ids = set(stop)
    for eos in (getattr(part, "eos_token_id", None) for part in (config, config.text_config)):
        ids.update([eos] if isinstance(eos, int) else eos or ())
    if processor is not None:
        ids.update(processor.special.stop)
    vocabulary = config.text_config.vocab_size
    if outside := [index for index in ids if not 0 <= index < vocabulary]:
        raise ValueError(f"stop holds {outside[0]}; expected ids from 0 to {vocabulary - 1}")
    return tuple(sorted(ids))


def media_ids(config: Any, processor: Processor | None) -> tuple[int, ...]:
    """Ids that stand for media or their bounds: what they need, pixels, is nothing a model can write."""
    ids = {getattr(config, name) for name in MEDIA_TOKENS}
    if processor is not None:
        ids.update(processor.special.media)
    return tuple(sorted(index for index in ids if index < config.text_config.vocab_size))


def thinking(budget: int, processor: Processor | None) -> Thinking:
    """Force answering after `budget` tokens, in the tokens of the processor's tokenizer."""
    if budget < 0:
        raise ValueError(f"thinking_budget is {budget}; expected 0 or more")
    if processor is None:
        raise ValueError("thinking_budget needs the tokens of <think>; give `processor`, too")

    def ids(text: str) -> list[int]:
        return processor.tokenizer.encode(text, add_special_tokens=False)

    opens, closes = ids("<think>"), ids("</think>")
    if len(opens) != 1 or len(closes) != 1:
        raise ValueError(f"the tokenizer writes <think>, </think> as {opens}, {closes}; expected a token each")
    return Thinking(budget, opens[0], closes[0], tuple(ids("</think><answer>")))
