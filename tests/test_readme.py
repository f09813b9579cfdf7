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

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_asks_about_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    processor = Processor.from_pretrained(gym.TOKENIZER)
    torch.manual_seed(0)
    model = Glm4v(small_config(processor.tokenizer, hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32))
    model.save_pretrained(Path("runs/demo/rlcs/model"))
    processor.save_pretrained("runs/demo/rlcs/model")
    Image.new("RGB", (56, 28)).save("picture.png")
    [block] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\| `glm4v (\w+)", README, re.MULTILINE))))
def test_its_commands_exist(command):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_its_folders_exist():
    tree = README.partition("## The map")[2].split("```")[1]
    folders = re.findall(r"^( *)(\w+)/", tree, re.MULTILINE)
    assert len(folders) > 10
    for indent, name in folders:
        assert (ROOT / ("glm4v" if indent else "") / name).is_dir(), name
