"""The run folder's files, and stopping by signal."""

import json
import os
import signal

import pytest

from glm4v.train.recipe import SftRecipe, load_recipe
from glm4v.train.run import InterruptWatch, RunFolder, StepDisplay


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_writes_recipe_metrics_and_samples(tmp_path):
    recipe = SftRecipe(out=str(tmp_path / "run"))
    folder = RunFolder(recipe.out, recipe)
    folder.log(1, {"loss": 2.5})
    folder.log(2, {"loss": 1.5, "evaluation_loss": 3})
    folder.sample(2, {"kind": "answer", "response": "größer"})
    folder.close()
    assert [{k: v for k, v in line.items() if k != "time"} for line in lines(folder.metrics)] == [
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": 1.5, "evaluation_loss": 3.0},
    ]
    assert lines(folder.path / "samples" / "step_000002.jsonl")[0]["response"] == "größer"
    assert load_recipe(folder.path / "recipe.yaml", [], SftRecipe) == recipe
    assert list((folder.path / "tensorboard").iterdir())
    assert folder.resume_command == f"glm4v sft {folder.path}/recipe.yaml --resume"


def test_a_folder_with_a_run_in_it_is_not_written_over(tmp_path):
    recipe = SftRecipe(out=str(tmp_path))
    folder = RunFolder(tmp_path, recipe)
    RunFolder(tmp_path, recipe)  # a start that failed before its first step is no run
    folder.log(1, {"loss": 1.0})
    with pytest.raises(FileExistsError, match="--resume"):
        RunFolder(tmp_path, recipe)
    RunFolder(tmp_path, recipe, resume=True).close()


def test_rewinding_forgets_what_came_after_the_checkpoint(tmp_path):
    folder = RunFolder(tmp_path, SftRecipe())
    for step in (1, 2, 3):
        folder.log(step, {"loss": step})
        folder.sample(step, {"kind": "answer"})
    with folder.metrics.open("a") as file:
        file.write('{"step": 4, "lo')  # a process killed while it wrote
    folder.rewind(2)
    assert [line["step"] for line in lines(folder.metrics)] == [1, 2]
    assert sorted(f.name for f in (tmp_path / "samples").iterdir()) == ["step_000001.jsonl", "step_000002.jsonl"]


def test_other_ranks_write_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run", SftRecipe(), rank=1)
    folder.log(1, {"loss": 1})
    folder.sample(1, {})
    folder.rewind(0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request_and_a_second_one_an_end(number):
    handler = signal.getsignal(number)
    with InterruptWatch() as watch:
        assert not watch.requested
        os.kill(os.getpid(), number)
        assert watch.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == handler


def test_without_a_terminal_the_last_step_is_printed(capsys):
    with StepDisplay("sft", 2) as display:
        display.update(1, "loss 2.0")
        display.update(2, "loss 1.0")
    assert "sft 2/2  loss 1.0" in capsys.readouterr().out
