"""RLCS: reinforcement learning with curriculum sampling (GLM-4.1V-Thinking, arXiv 2507.01006). One step:

curriculum draws prompts -> groups of rollouts -> rewards -> groups without advantage are left out, surplus ones are
kept for the next step -> group-normalised advantages -> packed micro-batches -> clipped policy updates; rewards go back
to the curriculum and the expansion.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from glm4v.eval import evaluate
from glm4v.rl import difficulty
from glm4v.rl.advantage import informative
from glm4v.rl.curriculum import Curriculum
from glm4v.rl.expansion import Expansion, keep_balanced
from glm4v.rl.metrics import curriculum_metrics, panel, rollout_metrics
from glm4v.rl.pool import Pool
from glm4v.rl.progress import Progress
from glm4v.rl.recipe import RlcsRecipe
from glm4v.rl.rollout import Backend, Group, OwnEngine, Rollouts, roll_out
from glm4v.rl.sampler import Cell, Sampler
from glm4v.rl.served import Served
from glm4v.rl.surplus import Surplus
from glm4v.rl.thompson import Thompson
from glm4v.rl.update import PolicyUpdate
from glm4v.train.recipe import due
from glm4v.train.run import InterruptWatch, StepDisplay
from glm4v.train.start import Run, start

GRADE_AT_ONCE = 64  # problems
SEEDS_A_ROUND = 2**32  # between the seeds of two rounds of one step: more than there are steps
# What was graded before the first step counts for at most so many responses of a cell: a file of millions would else
# outweigh the run's own rollouts, of a model that changes, for hundreds of steps.
OFFLINE_TRIALS = 64.0


def run(recipe: RlcsRecipe) -> Path:
    """Run RLCS and return its folder; the trained model is in <folder>/model.

    Raises:
        ValueError: no problems, a verifier that does not exist, a reward outside [0, 1].
        Interrupted: Ctrl-C or SIGTERM; the run was saved first and the message tells how to go on.
        FloatingPointError: the gradient is not finite.
    """
    parts = start(recipe)
    rlcs = Rlcs(parts, recipe)
    with InterruptWatch() as watch, StepDisplay("rlcs", recipe.steps, parts.done, parts.engine.rank) as display:
        for step in range(parts.done + 1, recipe.steps + 1):
            metrics = rlcs.step(step)
            if due(step, recipe.evaluate_every, recipe.steps):
                metrics |= rlcs.evaluate(step)
            parts.folder.log(step, metrics)
            display.update(step, figures(metrics))
            if parts.engine.sum(int(watch.requested)):
                parts.stop(step, rlcs.state())
            if due(step, recipe.checkpoint_every):
                parts.save(step, rlcs.state())
    return parts.finish(rlcs.state())


def figures(metrics: dict[str, float]) -> str:
    """The line beside the progress bar."""
    return (
        f"reward {metrics['reward']:.3f}  pool {metrics['pass_rate']:.3f}  kept {metrics['kept_share']:.0%} of "
        f"{metrics['groups']:.0f} groups  {metrics['response_length']:.0f} tokens a response"
    )


class Rlcs:
    """One step, and the state between steps. Every rank holds the same curriculum and makes the same choices."""

    def __init__(self, run: Run, recipe: RlcsRecipe):
        self.run, self.recipe = run, recipe
        self.pool = Pool(recipe.data.train, run.processor)
        self.pool.check_verifiers(recipe.reward)
        self.update = PolicyUpdate(run.engine, run.processor, self.pool.prompt, recipe)
        self.backend = self._backend()
        self.graded: dict[int, list[float]] = run.state["graded"] if run.done else self._grade()
        offline = self._offline()
        settings = recipe.curriculum
        self.sampler = self._sampler(offline.cells if offline else self.pool.cells)
        self.expansion = Expansion(settings.cap if settings.sampling == "rlcs" else 1.0, settings.ratio_decay)
        self.surplus = Surplus(settings.carry_steps if settings.sampling == "rlcs" else 0)
        if run.done:
            self.sampler.load_state_dict(run.state["curriculum"])
            self.expansion.load_state_dict(run.state["expansion"])
            self.surplus.load_state_dict(run.state["surplus"])
        elif offline:
            trials = min(offline.responses / len(self.sampler.cells), OFFLINE_TRIALS)
            self.sampler.start_from(offline.pass_rates, trials)

    def _backend(self) -> Backend:
        run, server = self.run, self.recipe.rollout.server
        if server.url is None:
            return OwnEngine(run.processor, run.engine.whole_model)
        return Served(server, run.processor, run.engine, run.folder.path / "rollout_weights")

    def _sampler(self, cells: Sequence[Cell]) -> Sampler:
        settings, seed = self.recipe.curriculum, self.recipe.seed
        if settings.sampling == "thompson":
            return Thompson(cells, candidates=settings.candidates, ageing=settings.ageing, seed=seed)
        kind = Progress if settings.weighting == "progress" else Curriculum
        return kind(
            cells,
            floor=1.0 if settings.sampling in ("uniform", "dapo") else settings.floor,
            ageing=settings.ageing,
            prior=settings.prior,
            domain_shares=settings.domain_shares,
            seed=seed,
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside weights and optimizer."""
        return {
            "graded": self.graded,
            "curriculum": self.sampler.state_dict(),
            "expansion": self.expansion.state_dict(),
            "surplus": self.surplus.state_dict(),
        }

    def step(self, step: int) -> dict[str, float]:
        """Draw, roll out, reward and train once; returns the metrics."""
        begin = time.perf_counter()
        prompts = self.recipe.rollout.prompts
        groups = self.expansion.kept(prompts) if prompts else self.recipe.rollout.groups
        carried = self.surplus.take(groups // 2)  # at least half of a batch is of the policy that it trains
        needed = groups - len(carried)
        rollouts = self._draw(needed, step)
        kept, metrics = self._select(rollouts.groups, needed, step)
        kept += carried
        metrics |= {"trained_groups": len(kept), "carried_groups": len(carried)}
        start_of_training = time.perf_counter()
        handed_over = self.recipe.rollout.server.url is not None
        metrics |= self.run.sight(step, lambda: self.update.sight(rollouts.groups), handed_over)
        metrics |= self.update(kept, step)
        self.backend.policy_changed()
        self.pool.forget()
        end = time.perf_counter()
        return (
            metrics
            | self.backend.metrics()
            | {
                "seconds/rollout": rollouts.sampling_seconds,
                "seconds/reward": rollouts.reward_seconds,
                "seconds/train": end - start_of_training,
                "seconds/step": end - begin,
            }
        )

    def _draw(self, needed: int, step: int) -> Rollouts:
        """A round of rollouts; of dapo as many as bring `needed` informative groups, within the cap."""
        settings, responses, prompts = (
            self.recipe.curriculum,
            self.recipe.rollout.responses,
            self.recipe.rollout.prompts,
        )
        rollouts = self._roll_out(self.sampler.draw(prompts or self.expansion.prompts(needed)), responses, step)
        if settings.sampling != "dapo" or prompts:
            return rollouts
        for number in range(1, int(settings.cap)):
            if informative(torch.tensor([group.rewards for group in rollouts.groups])).sum() >= needed:
                break
            # another seed: a prompt that is drawn again would else be answered alike
            rollouts += self._roll_out(self.sampler.draw(needed), responses, step + number * SEEDS_A_ROUND)
        return rollouts

    def _select(self, groups: list[Group], needed: int, step: int) -> tuple[list[Group], dict[str, float]]:
        """The groups to train on and the figures of all; what was learned goes to the sampler and the expansion."""
        recipe = self.recipe
        cells = [self.sampler.cell(group.problem) for group in groups]
        problems = [self.pool[group.problem] for group in groups]
        rewards = torch.tensor([group.rewards for group in groups])
        teaches = informative(rewards)
        kept_share = teaches.double().mean().item()
        keep = list(range(len(groups)))
        if recipe.curriculum.sampling == "rlcs":
            teaching = teaches.nonzero()[:, 0].tolist()
            balanced = recipe.curriculum.balanced
            keep = keep_balanced(cells, teaches.tolist(), needed) if balanced else teaching[:needed]
            trained = set() if recipe.curriculum.replay else set(keep)
            self.surplus.add(groups[i] for i in teaching if i not in trained)
        elif recipe.curriculum.sampling == "dapo":
            keep = teaches.nonzero()[:needed, 0].tolist()
        metrics = {
            **rollout_metrics(groups, cells, problems, recipe.reward),
            **curriculum_metrics(self.sampler),
            "expansion": self.expansion.factor,
            "groups": len(groups),
            "kept_share": kept_share,
        }
        if step == 1 or due(step, recipe.samples_every):
            for record in panel(groups, cells, problems):
                self.run.folder.sample(step, record)
        self.sampler.update([group.problem for group in groups], rewards)
        self.expansion.update(1 - kept_share)
        return [groups[index] for index in keep], metrics

    def evaluate(self, step: int) -> dict[str, float]:
        """Rewards of answers to the evaluation problems; they are written to <run>/eval/step_<step>."""
        recipe, engine = self.recipe, self.run.engine
        if not recipe.data.evaluation:
            return {}
        begin = time.perf_counter()
        with engine.whole_model() as model:
            evaluation = evaluate(
                model,
                self.run.processor,
                Pool(recipe.data.evaluation, self.run.processor),
                max_new_tokens=recipe.rollout.max_new_tokens,
                temperature=recipe.data.evaluation_temperature,
                thinking_budget=recipe.rollout.thinking_budget,
                limit=recipe.data.evaluation_problems or None,
                reward=recipe.reward,
            )
        if engine.rank == 0:
            evaluation.write(self.run.folder.path / "eval" / f"step_{step:06d}")
        means = {f"evaluation/{name}": part["mean"] for name, part in evaluation.summary["domains"].items()}
        seconds = time.perf_counter() - begin
        return {"evaluation": evaluation.summary["mean"], **means, "seconds/evaluation": seconds}

    def _roll_out(self, numbers: list[int], responses: int, seed: int) -> Rollouts:
        """Each rank rolls out every so many-th problem; all ranks get all groups, in the order of `numbers`."""
        engine, recipe = self.run.engine, self.recipe
        own = numbers[engine.rank :: engine.world_size]
        rollouts = roll_out(
            self.backend,
            self.run.processor,
            [self.pool[number] for number in own],
            [self.pool.prompt(number) for number in own],
            own,
            recipe.rollout.model_copy(update={"responses": responses}),
            recipe.reward,
            seed=recipe.seed * 1_000_003 + seed,
        )
        shares = [iter(groups) for groups in engine.gather(rollouts.groups)]
        groups = [next(shares[place % len(shares)]) for place in range(len(numbers))]
        return replace(rollouts, groups=groups)

    def _offline(self) -> difficulty.Graded | None:
        """Tiers and pass rates known before the first step: of graded files, or of what this run graded itself."""
        if self.recipe.difficulty.graded:
            return difficulty.read_graded(self.recipe.difficulty.graded, self.pool)
        return difficulty.of_rewards(self.pool.cells, self.graded) if self.graded else None

    def _grade(self) -> dict[int, list[float]]:
        """Rewards of the first model on some problems of each (domain, label), by problem number."""
        settings = self.recipe.difficulty
        numbers = difficulty.to_grade(self.pool.cells, settings.problems_per_cell)
        if not numbers:
            return {}
        graded: dict[int, list[float]] = {}
        with StepDisplay("grade", len(numbers), rank=self.run.engine.rank) as display:
            for first in range(0, len(numbers), GRADE_AT_ONCE):
                part = numbers[first : first + GRADE_AT_ONCE]
                rollouts = self._roll_out(part, settings.responses, seed=-1 - first)
                graded |= {group.problem: group.rewards for group in rollouts.groups}
                self.pool.forget()
                display.update(len(graded), "pass rates of the first model")
        return graded
