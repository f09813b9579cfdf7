"""Random numbers by a published vector and their statistics; choices against transformers' own processors."""

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from glm4v import ops
from glm4v.generation import sampler

LARGEST = 1 - 2.0**-sampler.BITS


def test_uniform_is_splitmix64() -> None:
    first = 0xE220A8397B1DCDAF  # of the published generator, seeded with 0
    assert sampler.uniform(torch.tensor([0]), torch.tensor([0])).item() == (first >> 12) * 2.0**-52


def test_uniform_numbers_are_uniform_and_independent_of_company() -> None:
    streams = torch.tensor([sampler.stream(3, b"prompt", number) for number in range(100)])
    steps = torch.arange(200)
    numbers = sampler.uniform(streams.repeat_interleave(200), steps.repeat(100)).view(100, 200)
    assert torch.equal(numbers[7, 5:6], sampler.uniform(streams[7:8], steps[5:6]))
    counts = (numbers * 20).long().flatten().bincount(minlength=20).double()
    assert len(counts) == 20
    assert ((counts - 1000).square() / 1000).sum() < 43.8  # chi-squared, 19 degrees of freedom, p = 0.001
    for a, b in ((numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:])):  # of neighbours
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.03


def test_streams_differ_by_seed_prompt_and_number() -> None:
    streams = {sampler.stream(seed, prompt, number) for seed in (0, 1) for prompt in (b"", b"a") for number in (0, 1)}
    assert len(streams) == 8


def test_choice_follows_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, -torch.inf, 2.0, -1.0])
    uniforms = torch.arange(100_000).double() / 100_000
    tokens = sampler.choose(logits.expand(100_000, -1), 0.7, 1.0, uniforms)
    shares = tokens.bincount(minlength=5) / 100_000
    torch.testing.assert_close(shares, (logits / 0.7).softmax(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.5])
@pytest.mark.parametrize("number", [0.0, LARGEST])
def test_extreme_numbers_choose_possible_tokens(number: float, top_p: float) -> None:
    logits = torch.randn(200, 151, generator=torch.Generator().manual_seed(0))
    logits[:, [0, 1, 149, 150]] = -torch.inf
    tokens = sampler.choose(logits, 1.0, top_p, torch.full((200,), number, dtype=torch.float64))
    assert logits.gather(1, tokens[:, None]).isfinite().all()


def test_temperature_zero_takes_the_largest() -> None:
    logits = torch.randn(8, 30)
    assert torch.equal(sampler.choose(logits, 0.0, 1.0, torch.rand(8).double()), logits.argmax(1))


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
def test_nucleus_agrees_with_transformers(top_p: float) -> None:
    logits = torch.randn(16, 97, generator=torch.Generator().manual_seed(1)) * 2
    kept = TopPLogitsWarper(top_p)(None, logits).isfinite()
    probabilities = logits.softmax(1)
    assert torch.equal(sampler.nucleus(probabilities, top_p), probabilities * kept)


def test_penalty_agrees_with_transformers() -> None:
    logits, written = torch.randn(4, 20), torch.randint(0, 20, (4, 6))
    seen = torch.zeros(4, 20, dtype=torch.bool).scatter_(1, written, True)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(written, logits)
    assert torch.equal(sampler.penalise(logits, seen, 1.3), expected)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_log_probs_are_the_trainers(temperature: float) -> None:
    x, weight, targets = torch.randn(9, 16), torch.randn(50, 16), torch.randint(0, 50, (9,))
    _, expected, _ = ops.linear_cross_entropy(x, weight, targets, temperature or 1.0)
    torch.testing.assert_close(sampler.log_probs(x @ weight.T, targets, temperature), expected, atol=1e-5, rtol=0)
