"""The README's Python runs as it stands there, and what it names exists."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from glm4v import Glm4v, Processor, gym
from glm4v.cli import app
from glm4v.model.config import small_config
from glm4v.rl.recipe import RlcsRecipe
from glm4v.train.recipe import load_recipe
from tests.serving import ServerProcess

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a model where the README has one, and a picture."""
    folder = tmp_path_factory.mktemp("readme")
    processor = Processor.from_pretrained(gym.TOKENIZER)
    torch.manual_seed(0)
    model = Glm4v(small_config(processor.tokenizer, hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32))
    model.save_pretrained(folder / "runs/demo/rlcs/model")
    processor.save_pretrained(folder / "runs/demo/rlcs/model")
    Image.new("RGB", (56, 28)).save(folder / "picture.png")
    return folder


def block(section: str, language: str, number: int = 0) -> str:
    text = README.partition(f"## {section}")[2].partition("\n## ")[0]
    return re.findall(rf"\n\n```{language}\n(.*?)```", text, re.DOTALL)[number]


def test_its_python_asks_about_a_picture(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(block("Ask about a picture", "python"), {})
    assert capsys.readouterr().out.strip()


def test_its_server_answers_about_a_picture(folder, monkeypatch, capsys):
    glm4v, serve, model, *options = block("Serve", "").split()
    assert (glm4v, serve, options) == ("glm4v", "serve", ["--port", "8000"])
    server = ServerProcess(folder / model)
    monkeypatch.chdir(folder)
    exec(block("Serve", "python").replace("http://127.0.0.1:8000", server.url), {})
    server.stop()
    assert capsys.readouterr().out.strip()


def test_its_run_with_a_server_is_one():
    serve, run = block("Serve", "", -1).splitlines()
    assert run.split()[:3] == ["glm4v", "rlcs", "demo_rlcs"]
    recipe = load_recipe("demo_rlcs", run.split()[3:], RlcsRecipe)
    assert recipe.rollout.server.url == "http://127.0.0.1:8000"
    assert serve.endswith("--port 8000 --reload-from runs")
    assert recipe.out.startswith("runs/")
    assert f"glm4v serve {recipe.model.path} " in serve


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\| `glm4v (\w+)", README, re.MULTILINE))))
def test_its_commands_exist(command):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_its_folders_exist():
    tree = README.partition("## The map")[2].split("```")[1]
    folders = re.findall(r"^( *)(\w+)/", tree, re.MULTILINE)
    assert len(folders) > 10
    for indent, name in folders:
        assert (ROOT / ("glm4v" if indent else "") / name).is_dir(), name
