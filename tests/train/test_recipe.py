"""Recipes: what is read, what is refused and with which words."""

from importlib import resources
from pathlib import Path

import pytest
import yaml

from glm4v.train.recipe import PretrainRecipe, RecipeError, SftRecipe, Source, load_recipe

RECIPES = sorted(f.name for f in (resources.files("glm4v") / "recipes").iterdir() if f.name.endswith(".yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_overrides_go_before_the_file_and_the_file_before_defaults(tmp_path):
    path = write(tmp_path, "steps: 7\noptim: {learning_rate: 1e-3, clip: 2}\n")
    recipe = load_recipe(path, ["optim.learning_rate=5e-4", "data.max_tokens=64", "model.dtype=bfloat16"], SftRecipe)
    assert recipe.steps == 7
    assert recipe.optim.learning_rate == 5e-4
    assert recipe.optim.clip == 2.0
    assert recipe.data.max_tokens == 64
    assert recipe.model.dtype == "bfloat16"
    assert recipe.data.accumulation == 1


def test_a_recipe_as_written_is_read_back_the_same(tmp_path):
    recipe = load_recipe(
        write(tmp_path, "data: {train: [a.jsonl, {path: b.jsonl, weight: 2, after: 9}]}"), [], PretrainRecipe
    )
    assert recipe.data.train == [Source(path="a.jsonl"), Source(path="b.jsonl", weight=2.0, after=9)]
    assert load_recipe(write(tmp_path, recipe.to_yaml()), [], PretrainRecipe) == recipe


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        ("optim: {learning_rte: 1e-4}", [], ["optim.learning_rte", "did you mean optim.learning_rate?"]),
        ("learning_rate: 1e-4", [], ["did you mean optim.learning_rate?"]),
        ("data: {train: [{pth: a.jsonl}]}", [], ["data.train.0.pth", "did you mean data.train.path?"]),
        ("", ["modle.dtype=float32"], ["modle", "did you mean model"]),
        ("steps: ten", [], ["steps", "was 'ten'", "valid integer"]),
        ("steps: 0", [], ["steps", "was 0", "greater than 0"]),
        ("", ["model.dtype=float16"], ["model.dtype", "'float16'", "'float32' or 'bfloat16'"]),
        ("", ["steps"], ["key=value"]),
        ("steps: 1", ["steps.more=2"], ["steps", "not a group"]),
        ("", ["model.frozen=[a"], ["model.frozen=[a", "YAML"]),
        ("- 1", [], ["key: value", "list"]),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(tmp_path, text, overrides, words):
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, text), overrides, SftRecipe)
    for word in words:
        assert word in str(error.value)


def test_every_mistake_is_told_at_once(tmp_path):
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, "steps: ten\nsteeps: 3\n"), [], SftRecipe)
    assert str(error.value).count("\n") == 2


def test_an_unknown_name_lists_the_installed_recipes():
    with pytest.raises(RecipeError, match="demo_sft"):
        load_recipe("no_such_recipe", [], SftRecipe)


@pytest.mark.parametrize("name", [name for name in RECIPES if "rlcs" not in name])
def test_installed_recipes_are_valid_and_name_their_values(name):
    kind = PretrainRecipe if "pretrain" in name else SftRecipe
    recipe = load_recipe(name.removesuffix(".yaml"), [], kind)
    text = (resources.files("glm4v") / "recipes" / name).read_text()
    assert yaml.safe_load(text)["steps"] == recipe.steps
