"""The real loop with the real engine: it learns, draws what can be learned, and resumes exactly."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v.model import Glm4v
from glm4v.rl import rlcs
from glm4v.rl.recipe import RlcsRecipe


def run(settings: dict[str, Any], **changes: Any) -> Path:
    return rlcs.run(RlcsRecipe.model_validate(settings | changes))


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """Without times, and without the sight check, which a resumed run makes once more."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(("seconds/", "sight/", "time"))} for line in lines]


def test_reward_rises_and_draws_turn_to_what_can_be_learned(settings):
    folder = run(settings, steps=20, policy={"updates_per_rollout": 2})
    lines = metrics_of(folder)
    rewards = [line["reward/bandit/1"] for line in lines]
    assert sum(rewards[:3]) / 3 < 0.3
    assert sum(rewards[-3:]) / 3 > 0.8
    assert lines[0]["weight/bandit/1"] == lines[0]["weight/dead/1"] == 0.5
    assert max(line["weight/bandit/1"] for line in lines) > 0.7
    assert lines[0]["groups"] == 8
    assert max(line["groups"] for line in lines) > 8  # dead problems made it draw more
    assert all(line["trained_groups"] <= 8 for line in lines)
    assert all(line["log_prob_gap"] < 1e-5 for line in lines if line["updates"])
    assert Glm4v.from_pretrained(folder / "model").lm_head.weight.shape[1] == 64


@pytest.mark.parametrize("sampling", ["uniform", "weights", "thompson"])
def test_other_samplings_train_on_all_groups(settings, sampling):
    lines = metrics_of(run(settings, steps=3, curriculum={"sampling": sampling}))
    assert [(line["groups"], line["trained_groups"], line["expansion"]) for line in lines] == [(8, 8, 1)] * 3
    moved = any(abs(line["weight/dead/1"] - 0.5) > 0.01 for line in lines)
    assert moved == (sampling != "uniform")


def test_dapo_draws_again_until_the_batch_is_full(settings):
    settings["rollout"]["responses"] = 4
    lines = metrics_of(run(settings, steps=4, curriculum={"sampling": "dapo", "cap": 3.0}))
    for line in lines:
        informative = round(line["kept_share"] * line["groups"])
        assert line["groups"] in (8, 16, 24)
        assert line["trained_groups"] == min(8, informative)
        assert line["groups"] == 24 or informative >= 8
    assert max(line["groups"] for line in lines) > 8
    assert all(line["weight/dead/1"] == 0.5 for line in lines)


@pytest.mark.parametrize("sampling", ["rlcs", "weights", "uniform", "thompson", "dapo"])
def test_a_fixed_number_of_prompts_is_drawn_whatever_is_kept(settings, sampling):
    settings["rollout"] |= {"prompts": 12, "responses": 4}
    lines = metrics_of(run(settings, steps=6, curriculum={"sampling": sampling, "ratio_decay": 0.5}))
    for line in lines:
        informative = round(line["kept_share"] * 12)
        assert line["groups"] == 12
        if sampling == "dapo":
            assert line["trained_groups"] == informative
        elif sampling == "rlcs":
            assert line["trained_groups"] <= int(12 / line["expansion"])
        else:
            assert line["trained_groups"] == 12
    assert sampling != "rlcs" or min(line["trained_groups"] for line in lines) < 12


def test_learning_progress_weights_the_cells(settings):
    lines = metrics_of(run(settings, steps=12, curriculum={"weighting": "progress", "ageing": 0.8}))
    assert lines[0]["weight/bandit/1"] == 0.5
    assert lines[-1]["weight/bandit/1"] > 0.7  # it learns, the dead one does not


def test_replay_trains_on_groups_once_more(settings):
    settings["rollout"]["prompts"] = 12
    changes = {"cap": 1.0, "replay": True, "carry_steps": 1}
    lines = metrics_of(run(settings, steps=5, curriculum=changes))
    for before, after in pairwise(lines):
        informative = round(before["kept_share"] * 12)
        assert after["carried_groups"] == min(6, informative)  # those that were trained on too
        assert after["trained_groups"] == after["carried_groups"] + min(
            round(after["kept_share"] * 12), 12 - after["carried_groups"]
        )


@pytest.mark.parametrize("carry_steps", [0, 1])
def test_surplus_groups_are_trained_on_in_the_next_step(settings, carry_steps):
    settings["rollout"]["groups"] = 4
    lines = metrics_of(run(settings, steps=10, curriculum={"ratio_decay": 0.0, "carry_steps": carry_steps}))
    carried = [line["carried_groups"] for line in lines]
    assert carried[0] == 0
    assert (max(carried) > 0) == (carry_steps > 0)
    for before, after in pairwise(lines):
        spare = round(before["kept_share"] * before["groups"]) - (before["trained_groups"] - before["carried_groups"])
        assert after["carried_groups"] == (min(spare, 2) if carry_steps else 0)
        assert after["trained_groups"] <= 4
        assert after["log_prob_gap"] < 1e-5 if after["updates"] else True


def test_resume_is_exact(settings, tmp_path):
    settings |= {"steps": 6, "checkpoint_every": 3, "difficulty": {"problems_per_cell": 2, "responses": 4}}
    settings |= {"seed": 1, "curriculum": {"carry_steps": 2, "ratio_decay": 0.0}}
    settings["rollout"]["groups"] = 4
    settings["rollout"]["thinking_budget"] = 6
    whole = run(settings)
    assert metrics_of(whole)[3]["carried_groups"] > 0  # the checkpoint of step 3 holds surplus groups
    resumed = tmp_path / "resumed"
    run(settings, out=str(resumed), steps=4)  # leaves checkpoints of steps 3 and 4
    for state in resumed.glob("checkpoints/step_000004"):
        state.rename(tmp_path / "put_aside")  # as if it had been killed before step 4 was saved
    run(settings, out=str(resumed), resume=True)
    assert metrics_of(resumed) == metrics_of(whole)
    first, second = (Glm4v.from_pretrained(folder / "model").state_dict() for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_evaluations_are_greedy_or_sampled(settings):
    settings["data"]["evaluation"] = settings["data"]["train"]
    answers = {}
    for temperature in (0.0, 1.0):
        settings["data"]["evaluation_temperature"] = temperature
        folder = run(settings, out=f"{settings['out']}{temperature}", steps=1, evaluate_every=1)
        lines = (folder / "eval" / "step_000001" / "predictions.jsonl").read_text().splitlines()
        answers[temperature] = {json.loads(line)["response"] for line in lines}
    assert len(answers[0.0]) <= 2  # the same to the same question, of which there are two
    assert len(answers[1.0]) > 4


def test_samples_tell_the_reason(settings):
    folder = run(settings, steps=1)
    records = [json.loads(line) for line in (folder / "samples/step_000001.jsonl").read_text().splitlines()]
    assert {record["domain"] for record in records} == {"bandit", "dead"}
    for record in records:
        assert {"id", "question", "truth", "response", "prediction", "reward", "reason", "tier"} <= set(record)
        assert record["reason"]
        assert len(record["group_rewards"]) == 8


def test_offline_grades_come_first(settings):
    """What the first model showed is known to the first draw, and tiers are fifths of each domain."""
    first = metrics_of(run(settings, steps=1, difficulty={"problems_per_cell": 8, "responses": 8}))[0]
    shares = {name.split("/", 1)[1]: share for name, share in first.items() if name.startswith("weight/")}
    assert set(shares) == {f"{domain}/{tier}" for domain in ("bandit", "dead") for tier in "12345"}
    bandit = sum(share for cell, share in shares.items() if cell.startswith("bandit"))
    assert bandit > 0.55
    assert first["pass_rate/bandit/1"] > first["pass_rate/dead/1"]


def twice_as_good(prediction: str, truth: object, question: str | None = None) -> float:
    """A user's reward: any digit above 3."""
    return float(prediction.strip() > "3")


def test_a_users_own_reward(settings):
    lines = metrics_of(run(settings, steps=1, reward=f"{__name__}:twice_as_good"))
    assert 0.2 < lines[0]["reward/dead"] < 0.8


def test_a_missing_verifier_is_named_before_training(settings):
    with pytest.raises(ValueError, match="nothing_of_that_name"):
        run(settings, reward="nothing_of_that_name")
