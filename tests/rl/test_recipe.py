"""RLCS recipes: the installed ones are valid, what is wrong is named."""

import pytest

from glm4v.rl.recipe import RlcsRecipe
from glm4v.train.recipe import RecipeError, load_recipe


@pytest.mark.parametrize("name", ["demo_rlcs", "rlcs_9b"])
def test_installed_recipes_are_valid(name, tmp_path):
    recipe = load_recipe(name, ["data.train=problems.jsonl", "rollout.responses=4"], RlcsRecipe)
    assert recipe.data.train == ("problems.jsonl",)
    assert recipe.rollout.responses == 4
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml", [], RlcsRecipe) == recipe


def test_the_papers_choices_are_the_defaults():
    recipe = RlcsRecipe()
    assert (recipe.rollout.temperature, recipe.rollout.top_p) == (1.0, 1.0)
    assert (recipe.policy.clip_low, recipe.policy.clip_high, recipe.policy.averaging) == (0.2, 0.28, "sample")
    assert (recipe.curriculum.sampling, recipe.curriculum.cap) == ("rlcs", 4.0)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rollout.respones=4", "did you mean rollout.responses"),
        ("rollout.responses=1", "rollout.responses: was 1"),
        ("rollout.top_p=1.5", "rollout.top_p: was 1.5"),
        ("curriculum.sampling=best", "curriculum.sampling: was 'best'"),
        ("curriculum.floor=0", "curriculum.floor: was 0"),
        ("curriculum={sampling: thompson, domain_shares: {sums: 0.5}}", "which knows no domains"),
        ("difficulty.graded=a.graded.jsonl", "either graded files or problems_per_cell"),
        ("rollout.over_long=cut", "rollout.over_long: was 'cut'"),
        ("policy.averaging=mean", "policy.averaging: was 'mean'"),
        ("policy.updates_per_rollout=0", "policy.updates_per_rollout: was 0"),
    ],
)
def test_what_is_wrong_is_named(override, words):
    with pytest.raises(RecipeError, match=words):
        load_recipe("demo_rlcs", [override], RlcsRecipe)
