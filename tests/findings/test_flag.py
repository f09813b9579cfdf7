"""The real loop with a precise and with a careless verifier: the report flags the second by itself, and only it."""

from pathlib import Path

import pytest

from glm4v import report
from glm4v.findings.plan import SLOPPY, Pool
from glm4v.report.anomaly import alarms
from glm4v.report.run import read_runs
from glm4v.rl import rlcs
from glm4v.rl.recipe import RlcsRecipe
from tests.findings.conftest import TINY

STEPS = 40


def train(home: Path, out: Path, pool: Pool, sampling: str, seed: int) -> Path:
    problems = out / "problems.jsonl"
    out.mkdir()
    pool.write(home / "data" / "rl.jsonl", problems)
    recipe = {
        "out": str(out / "run"),
        "seed": seed,
        "steps": STEPS,
        "checkpoint_every": 0,
        "model": {"path": str(home / "sft" / "model"), "device": "cpu"},
        "optim": {"learning_rate": 1.5e-3, "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0},
        "data": {"train": str(problems), "max_tokens": 1024},
        "rollout": {"prompts": 12, "responses": 8, "max_new_tokens": 16},
        "curriculum": {"sampling": sampling},
    }
    return rlcs.run(RlcsRecipe.model_validate(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("sampling", ["rlcs", "uniform"])
def test_a_cheated_verifier_is_flagged_and_an_honest_one_is_not(home, tmp_path, sampling, seed):
    pool = Pool(TINY.domains)
    honest = train(home, tmp_path / "honest", pool, sampling, seed)
    careless = train(home, tmp_path / "careless", Pool(TINY.domains, sloppy=True), sampling, seed)
    (run,) = read_runs(honest)
    assert alarms(run) == []
    assert "contradicts itself" not in report.build(honest).read_text()
    (run,) = read_runs(careless)
    found = alarms(run)
    assert {alarm.verifier for alarm in found} == {SLOPPY}  # not that of the other domain
    assert "shared" in {alarm.kind for alarm in found}
    assert min(alarm.step for alarm in found) < STEPS
    assert "contradicts itself" in report.build(careless).read_text()
