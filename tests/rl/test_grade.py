"""Grading with real models: rates by model, tiers, and going on after a kill."""

import json
import shutil
from pathlib import Path

import pytest

from glm4v.data.files import read_problems
from glm4v.rl import rlcs
from glm4v.rl.difficulty import read_graded
from glm4v.rl.grade import grade
from glm4v.rl.recipe import RlcsRecipe, RolloutSection

ROLLOUT = RolloutSection(responses=4, max_new_tokens=10)


@pytest.fixture
def data(bandit, tmp_path) -> Path:
    return Path(shutil.copy(bandit / "problems.jsonl", tmp_path))


@pytest.fixture
def models(bandit, tmp_path) -> list[Path]:
    """Two names of one model."""
    (tmp_path / "other").symlink_to(bandit / "model")
    return [bandit / "model", tmp_path / "other"]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rates_by_model_and_tiers(data, models):
    calls: list[tuple[int, int]] = []
    target = grade(data, models, ROLLOUT, on_progress=lambda *call: calls.append(call))
    assert target == data.with_name("problems.graded.jsonl")
    lines = lines_of(target)
    assert [line["id"] for line in lines] == [problem.id for problem in read_problems(data)]
    assert calls == [(n, 80) for n in range(1, 81)]
    bandits, dead = lines[:20], lines[20:]
    for line in lines:
        assert (line["label"], line["k"], list(line["pass_rates"])) == ("1", 4, [str(model) for model in models])
        assert set(line["pass_rates"].values()) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert any(rate for line in bandits for rate in line["pass_rates"].values())
    assert not any(rate for line in dead for rate in line["pass_rates"].values())
    assert {line["tier"] for line in bandits} == {line["tier"] for line in dead} == set("12345")
    tiers_and_rates = [(line["tier"], -sum(line["pass_rates"].values())) for line in bandits]
    assert sorted(rate for _, rate in tiers_and_rates) == [rate for _, rate in sorted(tiers_and_rates)]
    assert not data.with_name("problems.grading.jsonl").exists()
    with pytest.raises(FileExistsError, match="graded already"):
        grade(data, models, ROLLOUT)


class Killed(Exception):
    pass


def test_a_killed_run_goes_on(data, models, tmp_path):
    whole = grade(data, models, ROLLOUT).read_text()
    again = Path(shutil.copy(data, tmp_path / "again.jsonl"))

    def kill(done: int, total: int) -> None:
        if done == 53:  # within the second model
            raise Killed

    with pytest.raises(Killed):
        grade(again, models, ROLLOUT, on_progress=kill)
    unfinished = again.with_name("again.grading.jsonl")
    with unfinished.open("a") as file:
        file.write('{"model": 1, "prob')  # a line that was being written
    with pytest.raises(ValueError, match=r"max_new_tokens: 9, but .* was begun with 10"):
        grade(again, models, ROLLOUT.model_copy(update={"max_new_tokens": 9}))
    calls: list[int] = []
    target = grade(again, models, ROLLOUT, on_progress=lambda done, _: calls.append(done))
    assert calls == list(range(54, 81))
    # of equal prompts the company decides which stream each gets, so only what was done before is equal to the bit
    first = str(models[0])
    assert [line["pass_rates"][first] for line in lines_of(target)] == [
        json.loads(line)["pass_rates"][first] for line in whole.splitlines()
    ]


def test_what_is_wrong_is_named(data, models):
    with pytest.raises(ValueError, match=r"models: \[\], expected at least one"):
        grade(data, [], ROLLOUT)
    with pytest.raises(ValueError, match="none twice"):
        grade(data, [models[0], models[0]], ROLLOUT)
    with pytest.raises(ValueError, match="nothing_of_that_name"):
        grade(data, models, ROLLOUT, reward="nothing_of_that_name")
    assert [path.name for path in data.parent.glob("problems.*")] == ["problems.jsonl"]


def test_a_run_starts_from_graded_files(settings, data, models):
    target = grade(data, models[:1], ROLLOUT)
    graded = read_graded([str(target)], read_problems(data))
    assert graded.responses == 160
    assert graded.pass_rates[20:].max() == 0 < graded.pass_rates[:20].mean()
    settings |= {"steps": 1, "difficulty": {"graded": str(target)}}
    settings["data"]["train"] = str(data)
    folder = rlcs.run(RlcsRecipe.model_validate(settings))
    first = lines_of(folder / "metrics.jsonl")[0]
    assert {name for name in first if name.startswith("weight/")} == {
        f"weight/{domain}/{tier}" for domain in ("bandit", "dead") for tier in "12345"
    }
    assert first["pass_rate/bandit/1"] > 0.5 > first["pass_rate/dead/1"]


def test_graded_files_of_other_problems_are_refused(data, models):
    target = grade(data, models[:1], ROLLOUT)
    lines = target.read_text().splitlines(keepends=True)
    problems = read_problems(data)
    target.write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"graded: bandit-1 in .*graded.jsonl:1, expected bandit-0"):
        read_graded([str(target)], problems)
    target.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"graded: None in the end of .*, expected dead-19"):
        read_graded([str(target)], problems)
    target.write_text("".join([*lines, lines[0]]))
    with pytest.raises(ValueError, match=r"graded.jsonl:41 is of no problem"):
        read_graded([str(target)], problems)
