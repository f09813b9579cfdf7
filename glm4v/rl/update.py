"""The policy updates of one round of rollouts: advantages, micro-batches, clipped loss, optimizer steps, figures."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glm4v.data import Processor, Sample
from glm4v.model import Output
from glm4v.rl.advantage import group_advantages
from glm4v.rl.batching import Batch, Member, MicroBatch, micro_batch, plan
from glm4v.rl.loss import policy_loss
from glm4v.rl.recipe import RlcsRecipe
from glm4v.rl.rollout import Group
from glm4v.train.distributed import Engine
from glm4v.train.optimisation import learning_rate
from glm4v.train.sight import SightReport, sight_check


class PolicyUpdate:
    """Trains an engine's model on groups; every rank is given the same groups.

    prompt_of: the prompt of a problem number, the same object (with the same image tensors) for a whole step.
    """

    def __init__(self, engine: Engine, processor: Processor, prompt_of: Callable[[int], Sample], recipe: RlcsRecipe):
        self.engine, self.processor, self.prompt_of, self.recipe = engine, processor, prompt_of, recipe

    def __call__(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """`updates_per_rollout` optimizer steps, each on its share of the groups, at the learning rate of `step`.

        From the second on the policy is no longer the one that sampled, and the clip can fire. Returns figures, means
        over sampled tokens. Raises FloatingPointError when a gradient is not finite.
        """
        rate = learning_rate(self.recipe.optim, step - 1, self.recipe.steps)
        updates = min(self.recipe.policy.updates_per_rollout, len(groups))
        if not updates:
            return {"learning_rate": rate, "updates": 0}
        totals: list[Tensor] = []
        norms, dropped = [], 0
        for number in range(updates):
            # groups come in the random order of the draw, so no share differs from the whole
            sums, too_long = self._accumulate(groups[number::updates])
            norms.append(self.engine.step(rate))
            if not math.isfinite(norms[-1]):
                raise FloatingPointError(f"step {step}: gradient norm {norms[-1]}; lower optim.learning_rate")
            totals.append(sums)
            dropped += too_long
        # rollout against trainer before any update: nothing but rounding, else the two compute different things
        *_, gap, fresh = self.engine.sum(totals[0]).tolist()
        tokens, entropy, up, down, *_ = self.engine.sum(torch.stack(totals).sum(0)).tolist()
        return {
            "learning_rate": rate,
            "updates": updates,
            "gradient_norm": sum(norms) / updates,
            "dropped": dropped,
            "trained_tokens": tokens,
            "entropy": entropy / max(tokens, 1),
            "clip_up": up / max(tokens, 1),
            "clip_down": down / max(tokens, 1),
            "log_prob_gap": gap / max(fresh, 1),
        }

    def sight(self, groups: Sequence[Group]) -> SightReport:
        """A sight check on this rank's first micro-batch of the groups, of which there is at least one."""
        packs = plan(groups, self.recipe.data.max_tokens, self.engine.world_size).packs[self.engine.rank]
        return sight_check(self.engine, self._build(packs[0], self._batch(groups)).batch, self.engine.sum)

    def _accumulate(self, groups: Sequence[Group]) -> tuple[Tensor, int]:
        """Adds up the gradient of one optimizer step; returns `_sums` and the responses too long for a micro-batch."""
        settings, temperature = self.recipe.policy, self.recipe.rollout.temperature
        planned = plan(groups, self.recipe.data.max_tokens, self.engine.world_size)
        packs, batch = planned.packs[self.engine.rank], self._batch(groups)
        total = torch.zeros(6, dtype=torch.float64, device=self.engine.device)
        for number, members in enumerate(packs, 1):
            micro = self._build(members, batch)
            output = self.engine(micro.batch, temperature=temperature)
            result = policy_loss(
                output.log_probs,
                micro.rollout_log_probs,
                micro.advantages,
                micro.weights,
                clip_low=settings.clip_low,
                clip_high=settings.clip_high,
            )
            loss = result.loss
            if settings.entropy:
                loss = loss - settings.entropy * (micro.weights * output.entropy).sum()
            self.engine.backward(loss, last=number == len(packs))
            total += _sums(output, micro, result.clipped_up, result.clipped_down)
        return total, planned.dropped

    def _batch(self, groups: Sequence[Group]) -> Batch:
        advantages = group_advantages(torch.tensor([group.rewards for group in groups]))
        rollout = self.recipe.rollout
        masked = rollout.over_long == "masked"
        return Batch.of(groups, advantages, self.recipe.policy.averaging, rollout.max_new_tokens, masked)

    def _build(self, members: Sequence[Member], batch: Batch) -> MicroBatch:
        mean, std = self.processor.image_mean, self.processor.image_std
        return micro_batch(members, batch, self.prompt_of, mean, std).to(self.engine.device, self.engine.model.dtype)


@torch.no_grad()
def _sums(output: Output, micro: MicroBatch, clipped_up: Tensor, clipped_down: Tensor) -> Tensor:
    """Over tokens with a loss: [6] float64 of tokens, entropy, clipped up, clipped down; over those of this step's own
    rollouts: |trainer - rollout log-prob|, tokens."""
    counts = micro.weights > 0
    fresh = counts & (micro.fresh > 0)
    gap = (output.log_probs - micro.rollout_log_probs).abs()
    return torch.stack(
        [
            counts.sum().double(),
            (output.entropy * counts).sum().double(),
            clipped_up.double(),
            clipped_down.double(),
            (gap * fresh).sum().double(),
            fresh.sum().double(),
        ]
    )
