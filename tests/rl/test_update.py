"""Policy updates on real rollouts: ratios of 1 at first, clipping from the second update, micro-batches alike."""

import dataclasses
from typing import Any

import pytest
import torch

from glm4v.model import Glm4v
from glm4v.rl.advantage import group_advantages
from glm4v.rl.batching import Batch, micro_batch, plan
from glm4v.rl.pool import Pool
from glm4v.rl.recipe import RlcsRecipe
from glm4v.rl.rollout import Group, OwnEngine, roll_out
from glm4v.rl.update import PolicyUpdate
from glm4v.train.distributed import Engine


class World:
    """An engine, the pool, and one round of rollouts of the bandit."""

    def __init__(self, settings: dict[str, Any], processor: Any, **rollout: Any):
        settings["rollout"] |= rollout
        self.recipe = RlcsRecipe.model_validate(settings)
        model = Glm4v.from_pretrained(self.recipe.model.path)
        self.engine = Engine.create(model, self.recipe.optim, "cpu")
        self.processor = processor
        self.pool = Pool(self.recipe.data.train, processor)
        self.groups = self.roll_out()
        self.update = PolicyUpdate(self.engine, processor, self.pool.prompt, self.recipe)

    def roll_out(self) -> list[Group]:
        numbers = list(range(16))
        problems = [self.pool[number] for number in numbers]
        prompts = [self.pool.prompt(number) for number in numbers]
        backend, rollout = OwnEngine.of(self.engine.model, self.processor), self.recipe.rollout
        return roll_out(backend, self.processor, problems, prompts, numbers, rollout, None, seed=1).groups

    def log_prob_gap(self) -> float:
        """Largest difference of trainer and rollout log-probs over sampled tokens; forced ones must be 0 in both."""
        batch = Batch.of(self.groups, torch.ones(16, 8), "token", 12)
        largest = 0.0
        for members in plan(self.groups, 256, ranks=1).packs[0]:
            micro = micro_batch(members, batch, self.pool.prompt, self.processor.image_mean, self.processor.image_std)
            with torch.no_grad():
                output = self.engine(micro.batch, temperature=self.recipe.rollout.temperature)
            assert (output.log_probs[micro.weights == 0] == 0).all()
            largest = max(largest, (output.log_probs - micro.rollout_log_probs).abs().max().item())
        return largest


@pytest.mark.parametrize("rollout", [{}, {"temperature": 0.7}, {"top_p": 0.9}, {"thinking_budget": 1}])
def test_ratios_are_one_at_learning_rate_0(settings, processor, rollout):
    settings["optim"]["learning_rate"] = 0.0
    world = World(settings, processor, **rollout)
    assert world.log_prob_gap() < 1e-5
    figures = world.update(world.groups, step=1)
    assert figures["gradient_norm"] > 0
    assert figures["log_prob_gap"] < 1e-5
    assert world.log_prob_gap() < 1e-5
    assert figures["trained_tokens"] == sum(r.sampled for group in world.groups for r in group.responses)


def test_forced_tokens_are_among_the_rollouts(settings, processor):
    world = World(settings, processor, thinking_budget=1)
    forced = [response for group in world.groups for response in group.responses if any(response.forced)]
    assert forced
    assert all(response.sampled < len(response.tokens) for response in forced)


@pytest.mark.parametrize(("updates", "fires"), [(1, False), (2, True)])
def test_clipping_fires_from_the_second_update(settings, processor, updates, fires):
    settings["optim"]["learning_rate"] = 2e-3  # a much larger step moves all ratios one way
    settings["policy"] = {"updates_per_rollout": updates}
    world = World(settings, processor)
    figures = world.update(world.groups, step=1)
    assert figures["updates"] == updates
    assert (figures["clip_up"] > 0) == fires
    assert (figures["clip_down"] > 0) == fires


@pytest.mark.parametrize("averaging", ["sample", "token", "constant"])
def test_micro_batches_do_not_change_the_gradient(settings, processor, averaging):
    settings["policy"] = {"averaging": averaging}

    def gradients(max_tokens: int) -> dict[str, torch.Tensor]:
        settings["data"]["max_tokens"] = max_tokens
        world = World(settings, processor)
        _, dropped = world.update._accumulate(world.groups)
        assert dropped == 0
        return {n: p.grad for n, p in world.engine.model.named_parameters() if p.grad is not None}

    whole, split = gradients(10_000), gradients(120)
    assert max(gradient.abs().max() for gradient in whole.values()) > 1e-3
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-6)


def test_an_update_makes_good_responses_likelier(settings, processor):
    world = World(settings, processor)
    advantages = group_advantages(torch.tensor([group.rewards for group in world.groups]))
    batch = Batch.of(world.groups, advantages, "sample", 12)
    members = [(group, response) for group in range(16) for response in range(8)]
    micro = micro_batch(members, batch, world.pool.prompt, processor.image_mean, processor.image_std)

    def objective() -> float:
        with torch.no_grad():
            return float((world.engine(micro.batch).log_probs * micro.weights * micro.advantages).sum())

    before = objective()
    world.update(world.groups, step=1)
    assert objective() > before


def test_an_entropy_bonus_raises_entropy(settings, processor):
    settings["optim"]["learning_rate"] = 1e-3

    def entropy_after(coefficient: float) -> float:
        settings["policy"] = {"entropy": coefficient}
        world = World(settings, processor)
        world.update(world.groups, step=1)
        return world.update(world.groups, step=2)["entropy"]

    assert entropy_after(1.0) > entropy_after(0.0)


def test_the_gap_is_of_fresh_groups_alone(settings, processor):
    settings["optim"]["learning_rate"] = 1e-2
    world = World(settings, processor)
    world.update(world.groups, step=1)
    old = [dataclasses.replace(group, age=1) for group in world.groups]
    fresh = world.roll_out()
    figures = world.update([*fresh[:8], *old[8:]], step=2)
    assert figures["log_prob_gap"] < 1e-5  # the old ones, sampled by another policy, are not in it
    assert figures["clip_up"] + figures["clip_down"] > 0  # but their ratios are against their own policy


def test_no_groups_no_update(settings, processor):
    world = World(settings, processor)
    assert world.update([], step=1) == {"learning_rate": 1.5e-3, "updates": 0}
