"""Groups of real responses: in order, scored, repeatable, closed by force at the budget."""

import dataclasses

import pytest

from glm4v.data import Processor
from glm4v.model import Glm4v
from glm4v.rl.pool import Pool
from glm4v.rl.recipe import RolloutSection
from glm4v.rl.rollout import OwnEngine, Rollouts, roll_out

NUMBERS = [39, 0, 20]  # of the pool; the first and the last want what the model never writes


@pytest.fixture
def ask(bandit, processor):
    """roll_out on three problems with changed settings."""
    model = Glm4v.from_pretrained(bandit / "model")
    pool = Pool([str(bandit / "problems.jsonl")], processor)

    def ask(
        seed: int = 0, verifier: str | None = None, processor: Processor = processor, **changes: object
    ) -> Rollouts:
        settings = RolloutSection(responses=6, max_new_tokens=10).model_copy(update=changes)
        problems, prompts = [pool[n] for n in NUMBERS], [pool.prompt(n) for n in NUMBERS]
        return roll_out(OwnEngine.of(model, processor), processor, problems, prompts, NUMBERS, settings, verifier, seed)

    return ask


def test_groups_are_in_order_and_scored(ask, processor):
    groups = ask().groups
    assert [group.problem for group in groups] == NUMBERS
    for group in groups:
        assert len(group.responses) == len(group.rewards) == 6
        for response, length in zip(group.responses, group.response_lengths, strict=True):
            assert length == len(response.tokens) == len(response.log_probs) == len(response.forced) == response.sampled
            assert response.text == processor.decode(response.tokens)
            right = response.answer == "1" and group.problem < 20
            assert response.reward == right
            assert response.reason
    assert any(response.answer for group in groups for response in group.responses)


def test_the_same_seed_gives_the_same_responses(ask):
    assert ask(seed=5).groups == ask(seed=5).groups
    assert ask(seed=5).groups != ask(seed=6).groups


def test_forced_answers_are_marked_and_rewarded(ask):
    groups = ask(thinking_budget=1).groups
    responses = [response for group in groups for response in group.responses]
    forced = [response for response in responses if any(response.forced)]
    assert len(forced) == len(responses)  # one sampled token is <think> itself
    assert all(response.text.startswith("<think></think><answer>") for response in forced)
    assert all(response.sampled == len(response.tokens) - 2 for response in forced)
    assert any(response.reward == 1 for response in forced)


def test_running_out_of_tokens_is_marked(ask):
    responses = [response for group in ask(max_new_tokens=3).groups for response in group.responses]
    assert all(response.truncated and response.reward == 0 and response.answer is None for response in responses)


def likes_all(prediction: str, truth: object, question: str | None = None) -> float:
    return 1.0


def test_what_an_over_long_response_earns(ask):
    """Enough tokens for the box, not for what follows it: a verifier that likes every answer gives it points."""
    verifier = {"verifier": f"{__name__}:likes_all"}
    scored, zero = (
        [response for group in ask(max_new_tokens=7, **changes).groups for response in group.responses]
        for changes in (verifier, verifier | {"over_long": "zero"})
    )
    assert [r.tokens for r in scored] == [r.tokens for r in zero]
    assert any(r.truncated and r.reward == 1 for r in scored)
    for before, after in zip(scored, zero, strict=True):
        assert after.reward == (0 if after.truncated else before.reward)
        assert after.reason.startswith("over-long; ") == after.truncated


def test_a_think_that_the_template_wrote_counts(ask, bandit, tmp_path):
    """Prompts that end in <think>: responses begin behind it, and are scored as if they had written it."""
    processor = Processor.from_pretrained(bandit / "model")
    template = processor.tokenizer.chat_template
    processor.tokenizer.chat_template = template.replace("<|assistant|>\\n'", "<|assistant|>\\n<think>'")
    pool = Pool([str(bandit / "problems.jsonl")], processor)
    prompt = pool.prompt(0)
    assert processor.decode(prompt.input_ids).endswith("<think>")
    model = Glm4v.from_pretrained(bandit / "model")
    settings = RolloutSection(responses=16, max_new_tokens=10)
    backend = OwnEngine.of(model, processor)
    responses = roll_out(backend, processor, [pool[0]], [prompt], [0], settings, None, 0).groups[0].responses
    assert all(response.text.startswith("<think>") for response in responses)
    assert all(response.text.count("<think>") == 1 for response in responses if response.answer)
    assert any(response.answer for response in responses)


def test_another_verifier_replaces_the_problems_own(ask):
    reasons = {r.reason for group in ask(verifier="choice").groups for r in group.responses if r.answer}
    assert reasons.isdisjoint({r.reason for group in ask().groups for r in group.responses if r.answer})
    with pytest.raises(dataclasses.FrozenInstanceError):
        ask().groups[0].responses[0].reward = 1.0
