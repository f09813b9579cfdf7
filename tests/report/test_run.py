"""Reading run folders."""

from pathlib import Path

from glm4v.report.run import read_evaluations, read_runs


def test_runs_come_in_the_order_of_the_stages(demo: Path) -> None:
    runs = read_runs(demo)
    assert [run.title for run in runs] == ["pretrained", "SFT", "RLCS"]
    assert [run.name for run in read_runs(demo / "sft")] == ["sft"]


def test_metrics_recipe_and_samples(demo: Path) -> None:
    pretrain, _, rlcs = read_runs(demo)
    assert len(pretrain.metrics) == 120  # the half line that an interrupt left is not one
    assert pretrain.recipe["steps"] == 120
    assert pretrain.samples[0]["response"] == "!"
    assert pretrain.seconds == 119 * 2.5
    assert pretrain.series("evaluation_loss")[0] == [20, 40, 60, 80, 100, 120]
    assert pretrain.series("reward") == ([], [])
    assert len(rlcs.names("reward", depth=1)) == 9
    assert len(rlcs.names("weight", depth=2)) == 45


def test_evaluations(demo: Path) -> None:
    evaluations = read_evaluations(demo)
    assert [each.name for each in evaluations] == ["untrained", "pretrain", "sft", "rlcs", "control"]
    assert len(evaluations[0].predictions) == evaluations[0].summary["n"] == 180
    assert read_evaluations(demo / "sft") == []
