"""sample_tokens: random numbers by a published vector and their statistics; choices against the twin and transformers'
own processors; log-probabilities against the trainer's."""

import math

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from glm4v import ops
from glm4v.generation import sampler
from glm4v.ops import reference
from glm4v.ops.library import native
from tests.ops.conftest import DTYPES, PLACES, running_in


@pytest.fixture(params=[name for name in PLACES if name != "cuda emulator"])
def fast_place(request):
    """For tests that draw too often for the emulator."""
    with running_in(request.param):
        yield request.param


def few(place, rows):
    """As many rows as the emulator, where every row is 512 threads, goes through in a second."""
    return min(rows, 12) if place == "cuda emulator" else rows


def sample(logits, temperature=1.0, top_p=1.0, penalty=1.0, seen=None, banned=None, step=0):
    rows = len(logits)
    return ops.sample_tokens(
        logits, temperature, top_p, penalty, torch.arange(rows), torch.full((rows,), step), seen, banned
    )


def test_uniform_is_splitmix64():
    first = 0xE220A8397B1DCDAF  # of the published generator, seeded with 0
    assert reference.uniform(torch.tensor([0]), torch.tensor([0])).item() == (first >> 12) * 2.0**-52


def test_uniform_numbers_are_uniform_and_independent_of_company():
    streams = torch.tensor([sampler.stream(3, b"prompt", number) for number in range(100)])
    steps = torch.arange(200)
    numbers = reference.uniform(streams.repeat_interleave(200), steps.repeat(100)).view(100, 200)
    assert torch.equal(numbers[7, 5:6], reference.uniform(streams[7:8], steps[5:6]))
    counts = (numbers * 20).long().flatten().bincount(minlength=20).double()
    assert len(counts) == 20
    assert ((counts - 1000).square() / 1000).sum() < 43.8  # chi-squared, 19 degrees of freedom, p = 0.001
    for a, b in ((numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:])):  # of neighbours
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.03


def test_streams_differ_by_seed_prompt_and_number():
    streams = {sampler.stream(seed, prompt, number) for seed in (0, 1) for prompt in (b"", b"a") for number in (0, 1)}
    assert len(streams) == 8


@pytest.mark.parametrize("vocabulary", [1, 17, 900])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"temperature": 0.3, "top_p": 0.95}, {"temperature": 0.0}])
def test_agrees_with_the_twin(place, vocabulary, dtype, options):
    torch.manual_seed(0)
    rows = few(place, 100)
    logits = (2 * torch.randn(rows, vocabulary)).to(dtype)
    seen, banned = (torch.rand(rows, vocabulary) < 0.2 for _ in range(2))
    banned[:, 0] = False  # a row in which something is left
    settings = {"temperature": 1.0, "top_p": 1.0} | options
    arguments = (*settings.values(), 1.3, torch.arange(rows), torch.arange(rows), seen, banned)
    tokens, log_probs = ops.sample_tokens(logits, *arguments)
    expected, expected_log_probs = reference.sample_tokens(logits.double(), *arguments)
    same = tokens == expected
    assert same.double().mean() > 0.98  # a number that falls on the edge of two tokens may be rounded to either
    assert not banned.gather(1, tokens[:, None]).any()
    torch.testing.assert_close(log_probs[same], expected_log_probs[same], atol=2e-5, rtol=0)


def test_choice_follows_the_probabilities(fast_place):
    logits = torch.tensor([0.0, 1.0, -torch.inf, 2.0, -1.0])
    tokens, _ = sample(logits.expand(100_000, -1).contiguous(), temperature=0.7)
    shares = tokens.bincount(minlength=5) / 100_000
    torch.testing.assert_close(shares, (logits / 0.7).softmax(0), atol=5e-3, rtol=0)


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
def test_nucleus_agrees_with_transformers(fast_place, top_p):
    torch.manual_seed(1)
    logits = torch.randn(16, 97) * 2
    kept = TopPLogitsWarper(top_p)(None, logits).isfinite()
    probabilities = logits.softmax(1)
    assert torch.equal(reference.nucleus(probabilities, top_p), probabilities * kept)
    for row in range(16):
        tokens, _ = sample(logits[row].expand(5000, -1).contiguous(), top_p=top_p)
        assert kept[row, tokens].all()
        likely = probabilities[row] * kept[row] / (probabilities[row] * kept[row]).sum() > 5e-3
        assert set(likely.nonzero()[:, 0].tolist()) <= set(tokens.tolist())


def test_of_equal_weights_the_first_stay(place):
    tokens, _ = sample(torch.zeros(100, 40), top_p=0.25)
    assert set(tokens.tolist()) == set(range(10))
    logits = torch.zeros(40, 801)
    logits[:, 700] = 1.0  # a larger one takes its share first
    tokens, _ = sample(logits, top_p=(3.5 + math.e) / (800 + math.e))
    assert set(tokens.tolist()) == {0, 1, 2, 3, 700}


def test_penalty_agrees_with_transformers(place):
    rows = few(place, 64)
    logits, written = torch.randn(rows, 20), torch.randint(0, 20, (rows, 6))
    seen = torch.zeros(rows, 20, dtype=torch.bool).scatter_(1, written, True)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(written, logits)
    tokens, log_probs = sample(logits, temperature=0.0, penalty=1.3, seen=seen)
    assert torch.equal(tokens, expected.argmax(1))
    assert (log_probs > -torch.inf).all()


def test_greedy_takes_the_first_of_the_largest(place):
    logits = torch.zeros(3, 50)
    logits[1, [7, 30]] = 1.0
    assert sample(logits, temperature=0.0)[0].tolist() == [0, 7, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_log_probs_are_the_trainers(place, temperature):
    x, weight = torch.randn(9, 16), torch.randn(50, 16)
    tokens, log_probs = sample(
        x @ weight.T, temperature=temperature, banned=torch.zeros(50, dtype=torch.bool).expand(9, -1)
    )
    _, expected, _ = ops.linear_cross_entropy(x, weight, tokens, temperature or 1.0)
    torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sampler.log_probs(x @ weight.T, tokens, temperature), expected, atol=1e-5, rtol=0)


def test_a_row_does_not_depend_on_its_company_or_the_threads(place):
    logits = torch.randn(few(place, 64), 3000)
    tokens, log_probs = sample(logits, top_p=0.9)
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        alone = ops.sample_tokens(logits[5:6], 1.0, 0.9, 1.0, torch.tensor([5]), torch.tensor([0]))
        assert (alone[0].item(), alone[1].item()) == (tokens[5].item(), log_probs[5].item())
    torch.set_num_threads(before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("options", [{}, {"top_p": 0.5}, {"temperature": 0.0}])
def test_logits_that_are_not_finite_show_in_the_log_probability(place, value, options):
    logits = torch.randn(2, 40)
    logits[1, 3] = value
    tokens, log_probs = sample(logits, **options)
    assert ((tokens >= 0) & (tokens < 40)).all()
    assert log_probs.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_the_whole_vocabulary_of_the_model(place, top_p):
    """All 151,552 words, in vectors and one by one, flat and peaked: the same tokens as the twin's."""
    torch.manual_seed(2)
    logits = torch.randn(2, 151_553) * torch.tensor([[0.5], [4.0]])
    for columns in (151_552, 151_553):
        part = logits[:, :columns].contiguous()
        tokens, log_probs = sample(part, top_p=top_p, step=7)
        want = reference.sample_tokens(part.double(), 1.0, top_p, 1.0, torch.arange(2), torch.full((2,), 7))
        assert torch.equal(tokens, want[0])
        torch.testing.assert_close(log_probs, want[1], atol=2e-5, rtol=0)


def test_masks_of_any_alignment(place):
    torch.manual_seed(0)
    logits = torch.randn(4, 64)
    banned = torch.rand(4, 65) < 0.7
    arguments = (0.0, 1.0, 1.0, torch.arange(4), torch.arange(4), None)
    got = ops.sample_tokens(logits, *arguments, banned[:, 1:])
    want = ops.sample_tokens(logits, *arguments, banned[:, 1:].contiguous())
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_operator_is_well_formed():
    arguments = (1.0, 0.9, 1.0, torch.arange(4), torch.zeros(4, dtype=torch.int64), None, None)
    torch.library.opcheck(torch.ops.glm4v.sample_tokens.default, (torch.randn(4, 32), *arguments))


def test_bad_input_is_named():
    logits, seeds = torch.randn(2, 5), torch.arange(2)
    for arguments, message in (
        ((logits.long(), 1.0, 1.0, 1.0, seeds, seeds), "logits: is torch.int64"),
        ((logits[:, :0], 1.0, 1.0, 1.0, seeds, seeds), "logits: has no columns"),
        ((logits, -1.0, 1.0, 1.0, seeds, seeds), "temperature: is -1.0; expected 0 or more"),
        ((logits, 1.0, 0.0, 1.0, seeds, seeds), "top_p: is 0.0"),
        ((logits, 1.0, 1.0, 0.0, seeds, seeds), "repetition_penalty: is 0.0"),
        ((logits, 1.0, 1.0, 1.0, seeds[:1], seeds), r"seeds: has shape \[1\]; expected \[2\]"),
        ((logits, 1.0, 1.0, 1.0, seeds, seeds.int()), "steps: is torch.int32"),
        ((logits, 1.0, 1.0, 1.0, seeds, seeds, torch.zeros(2, 4, dtype=torch.bool)), "seen: has shape"),
        ((logits, 1.0, 1.0, 1.0, seeds, seeds, None, torch.zeros(2, 5)), "banned: is torch.float32"),
    ):
        with pytest.raises(ValueError, match=message):
            ops.sample_tokens(*arguments)
    with pytest.raises(ValueError, match=r"seen: has shape \[2, 4\]; expected \[2, 5\]"):
        native.sample_tokens(
            logits,
            1.0,
            1.0,
            1.0,
            seeds,
            seeds,
            torch.zeros(2, 4, dtype=torch.uint8),
            None,
            seeds.clone(),
            torch.empty(2),
        )
