"""The command line end to end, and what it says when something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from glm4v.cli import app

RECIPE = """
steps: 2
evaluate_every: 0
model:
  config: {hidden: 32, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, vision_hidden: 16, vision_layers: 1,
           vision_heads: 2, merger_intermediate: 32, image_size: 56}
  min_pixels: 784
  device: cpu
data:
  train: TRAIN
  max_tokens: 64
"""


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, a conversation about it, a problem, a recipe, and in `pretrain` the run of that recipe."""
    folder = tmp_path_factory.mktemp("cli")
    Image.new("RGB", (56, 28), (200, 0, 0)).save(folder / "red.png")
    parts = [{"type": "image", "image": "red.png"}, {"type": "text", "text": "colour?"}]
    user, assistant = {"role": "user", "content": parts}, {"role": "assistant", "content": "red"}
    (folder / "train.jsonl").write_text((json.dumps({"messages": [user, assistant]}) + "\n") * 4)
    problem = {"id": "1", "messages": [user], "truth": "red", "domain": "attributes", "verifier": "vqa", "tier": "1"}
    (folder / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.replace("TRAIN", str(folder / "train.jsonl")))
    result = call("pretrain", folder / "recipe.yaml", f"out={folder / 'pretrain'}")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(folder / "pretrain")
    return folder


def test_a_stage_goes_on_from_another_and_resumes(folder):
    overrides = [f"out={folder / 'sft'}", f"model.path={folder / 'pretrain' / 'model'}"]
    assert call("sft", folder / "recipe.yaml", *overrides).exit_code == 0
    again = call("sft", folder / "recipe.yaml", *overrides)
    assert again.exit_code == 1
    assert again.stderr.startswith("glm4v: out:")
    assert "--resume" in again.stderr
    assert call("sft", folder / "sft" / "recipe.yaml", "steps=3", "--resume").exit_code == 0
    steps = [json.loads(line)["step"] for line in (folder / "sft" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]


def test_generate_answers_and_draws(folder):
    model, picture, drawn = folder / "pretrain" / "model", folder / "red.png", folder / "drawn.png"
    result = call("generate", model, "colour?", "--image", picture, "--max-new-tokens", 2, "--save", drawn)
    assert result.exit_code == 0, result.output
    assert f"{drawn}: 0 boxes" in result.stdout
    assert Image.open(drawn).size == (56, 28)
    assert call("generate", model, "colour?", "--save", drawn).exit_code == 2


def test_eval_prints_and_writes(folder):
    model = folder / "pretrain" / "model"
    result = call("eval", model, folder / "problems.jsonl", "--max-new-tokens", 2)
    assert result.exit_code == 0, result.output
    assert "attributes" in result.stdout
    assert json.loads((model / "eval" / "problems" / "summary.json").read_text())["n"] == 1


def test_grade_writes_beside_the_problems(folder):
    model = folder / "pretrain" / "model"
    problems = folder / "to_grade.jsonl"
    problems.write_text((folder / "problems.jsonl").read_text())
    result = call("grade", problems, "--model", model, "--k", 2, "--max-new-tokens", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "to_grade.graded.jsonl")
    line = json.loads((folder / "to_grade.graded.jsonl").read_text())
    assert line == {"id": "1", "tier": "1", "label": "1", "k": 2, "pass_rates": {str(model): 0.0}}
    assert call("grade", problems, "--model", model).exit_code == 1
    assert call("grade", problems).exit_code == 2


def test_gym_previews(tmp_path):
    result = call("gym", tmp_path / "sheet.png", "--preview")
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "sheet.png").width > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sft", "no_such_recipe"], "demo_sft"),
        (["sft", "demo_sft", "optim.learning_rte=1"], "did you mean optim.learning_rate?"),
        (["rlcs", "demo_rlcs", "rolout.groups=1"], "did you mean rollout?"),
        (["eval", "no_such_folder", "no_such_file"], "no_such_folder"),
    ],
)
def test_what_a_user_can_mend_is_told_without_a_traceback(arguments, words):
    result = call(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_help_loads_no_room():
    """`glm4v --help` answers at once: neither torch nor transformers are imported for it."""
    code = (
        "import sys; from glm4v.cli import app; app(['--help'], standalone_mode=False); print('LOADED', *sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = output.partition("LOADED")[2].split()
    assert "typer" in modules
    assert not {"torch", "transformers", "glm4v.train", "glm4v.data"} & set(modules)
