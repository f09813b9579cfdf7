"""Greedy decoding against transformers; equal bits in any company; log-probabilities, options and callbacks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Glm4vForConditionalGeneration

from glm4v.data import Processor, Sample, pack
from glm4v.generation import Completion
from glm4v.generation.generate import media_ids, stop_ids
from glm4v.model import Glm4v


def written(completions: list[Completion]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    return [(completion.tokens, completion.log_probs) for completion in completions]


@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_is_transformers(
    model: Glm4v,
    theirs: Glm4vForConditionalGeneration,
    prompts: list[Sample],
    to_transformers: Callable[..., dict[str, Any]],
    penalty: float,
) -> None:
    completions = model.generate(
        prompts, max_new_tokens=24, min_new_tokens=10, temperature=0, repetition_penalty=penalty
    )
    for prompt, completion in zip(prompts, completions, strict=True):
        output = theirs.generate(
            **to_transformers(pack([prompt]), model.config),
            max_new_tokens=24,
            min_new_tokens=10,
            do_sample=False,
            repetition_penalty=penalty,
            suppress_tokens=list(media_ids(model.config, None)),
            eos_token_id=model.config.text_config.eos_token_id,
        )
        assert completion.tokens == tuple(output[0, len(prompt) :].tolist())
    assert len({completion.tokens for completion in completions}) == len(prompts)


def test_the_same_tokens_and_bits_in_any_company(model: Glm4v, prompts: list[Sample]) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "samples_per_prompt": 2, "seed": 5, "top_p": 0.95}
    alone = [written(model.generate([prompt], **options)) for prompt in prompts]
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        together = written(model.generate([prompts[index] for index in order], **options))
        assert together == [sample for index in order for sample in alone[index]]
    crowd = [prompts[index % 3].completed(torch.tensor([index]), torch.tensor([-100])) for index in range(40)]
    everyone = written(model.generate(pack([*crowd, *prompts]), **options))
    assert everyone[80:] == [sample for samples in alone for sample in samples]


def test_more_samples_begin_with_the_same(model: Glm4v, prompts: list[Sample]) -> None:
    few = model.generate(prompts[:1], max_new_tokens=8, samples_per_prompt=2, seed=1)
    many = model.generate(prompts[:1], max_new_tokens=8, samples_per_prompt=200, seed=1)
    assert written(many[:2]) == written(few)
    assert len({completion.tokens for completion in many}) > 150


def test_equal_prompts_and_seeds(model: Glm4v, prompts: list[Sample]) -> None:
    first, second = model.generate([prompts[0]] * 2, max_new_tokens=12, seed=1)
    assert first.tokens != second.tokens
    assert model.generate(prompts[:1], max_new_tokens=12, seed=2)[0].tokens != first.tokens
    torch.manual_seed(3)
    drawn = [model.generate(prompts[:1], max_new_tokens=12)[0].tokens for _ in range(2)]
    assert drawn[0] != drawn[1]
    torch.manual_seed(3)
    assert model.generate(prompts[:1], max_new_tokens=12)[0].tokens == drawn[0]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_log_probs_are_those_of_a_training_forward(model: Glm4v, prompts: list[Sample], temperature: float) -> None:
    options: dict[str, Any] = {"max_new_tokens": 30, "temperature": temperature, "seed": 0, "top_p": 0.9}
    completions = model.generate(prompts, **options, repetition_penalty=1.2)
    responses = [torch.tensor(completion.tokens) for completion in completions]
    batch = pack([prompt.completed(tokens, tokens) for prompt, tokens in zip(prompts, responses, strict=True)])
    with torch.no_grad():
        log_probs = model(batch, temperature=temperature or 1.0).log_probs.split(list(batch.seqlens))
    for prompt, expected, completion in zip(prompts, log_probs, completions, strict=True):
        torch.testing.assert_close(torch.tensor(completion.log_probs), expected[len(prompt) :], atol=1e-5, rtol=1e-5)


def test_samples_follow_the_model(model: Glm4v, prompts: list[Sample]) -> None:
    batch = pack(prompts[1:2])
    with torch.no_grad():
        logits = model(batch, logits=True).logits[-1]
    logits[list(media_ids(model.config, None))] = -torch.inf
    completions = model.generate(prompts[1:2], max_new_tokens=1, samples_per_prompt=4000, seed=0, temperature=0.8)
    counts = torch.tensor([completion.tokens[0] for completion in completions]).bincount(minlength=len(logits))
    likely = (logits / 0.8).softmax(0).topk(5)
    deviation = (likely.values * (1 - likely.values) / 4000).sqrt()
    assert ((counts[likely.indices] / 4000 - likely.values).abs() < 4 * deviation).all()


def test_media_tokens_are_never_sampled(model: Glm4v, prompts: list[Sample], processor: Processor) -> None:
    media = set(media_ids(model.config, processor))
    assert media == set(processor.special.media)
    completions = model.generate(prompts, max_new_tokens=30, temperature=5.0, samples_per_prompt=10, seed=0)
    tokens = [token for completion in completions for token in completion.tokens]
    assert len(set(tokens)) > 500  # at this temperature all others come
    assert not media & set(tokens)


def test_stop_ids_and_text(model: Glm4v, prompts: list[Sample], processor: Processor) -> None:
    free = model.generate(prompts, max_new_tokens=20, min_new_tokens=20, temperature=0, processor=processor)
    assert all(completion.finish_reason == "length" for completion in free)
    last = free[1].tokens[9]
    stopped = model.generate(prompts, max_new_tokens=20, min_new_tokens=2, temperature=0, stop=[last])[1]
    assert stopped.finish_reason == "stop"
    assert stopped.tokens == free[1].tokens[: free[1].tokens.index(last, 2) + 1]
    assert stopped.text is None
    assert free[1].text == processor.decode(free[1].tokens)
    assert stop_ids(model.config, None, ()) == tuple(sorted(processor.special.stop))


def test_on_token_hears_every_token(model: Glm4v, prompts: list[Sample]) -> None:
    heard: dict[int, list[int]] = {}
    completions = model.generate(
        prompts,
        max_new_tokens=9,
        samples_per_prompt=2,
        seed=0,
        on_token=lambda index, token: heard.setdefault(index, []).append(token),
    )
    assert heard == {index: list(completion.tokens) for index, completion in enumerate(completions)}


def test_thinking_budget(model: Glm4v, prompts: list[Sample], processor: Processor) -> None:
    opens = processor.tokenizer.encode("<think>", add_special_tokens=False)
    thinks = [prompt.completed(torch.tensor(opens), torch.tensor([-100])) for prompt in prompts]
    options: dict[str, Any] = {"max_new_tokens": 20, "min_new_tokens": 12, "seed": 0, "processor": processor}
    completions = model.generate(thinks, thinking_budget=6, **options)
    free = model.generate(thinks, **options)
    closing = tuple(processor.tokenizer.encode("</think><answer>", add_special_tokens=False))
    for completion, unforced in zip(completions, free, strict=True):
        assert completion.tokens[:6] == unforced.tokens[:6]
        assert completion.tokens[6:8] == closing
        assert completion.forced == (False,) * 6 + (True,) * 2 + (False,) * (len(completion.tokens) - 8)
    with pytest.raises(ValueError, match="thinking_budget needs"):
        model.generate(prompts, max_new_tokens=4, thinking_budget=2)
    with pytest.raises(ValueError, match="thinking_budget is -1"):
        model.generate(prompts, max_new_tokens=4, thinking_budget=-1, processor=processor)


def test_bfloat16_runs(model: Glm4v, prompts: list[Sample]) -> None:
    half = Glm4v(model.config)
    half.load_state_dict(model.state_dict())
    completions = half.bfloat16().generate(prompts, max_new_tokens=5, min_new_tokens=5, seed=0)
    assert [len(completion.tokens) for completion in completions] == [5] * len(prompts)


def test_wrong_arguments_are_named(model: Glm4v, prompts: list[Sample]) -> None:
    assert model.generate([], max_new_tokens=4) == []
    with pytest.raises(ValueError, match="stop holds 100000"):
        model.generate(prompts, max_new_tokens=4, stop=[100_000])
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        model.generate(prompts, max_new_tokens=0)
