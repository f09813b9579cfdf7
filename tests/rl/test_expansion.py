"""The ratio EMA's formula, and the choice of informative groups."""

from collections import Counter

import pytest

from glm4v.rl.expansion import Expansion, keep_balanced


def test_formula():
    expansion = Expansion(cap=4.0, decay=0.5)
    assert expansion.prompts(32) == 32
    expansion.update(1.0)  # r = 0.5
    assert expansion.factor == 2.0
    assert expansion.prompts(32) == 64
    expansion.update(0.7)  # r = 0.6
    assert expansion.prompts(3) == 8  # ceil(3 / 0.4)
    for _ in range(20):
        expansion.update(1.0)
    assert expansion.factor == 4.0
    for _ in range(50):
        expansion.update(0.0)
    assert expansion.prompts(32) == 33  # r decays towards 0; rounded up


def test_what_a_fixed_number_of_prompts_brings():
    expansion = Expansion(cap=4.0, decay=0.5)
    assert expansion.kept(32) == 32
    expansion.update(1.0)  # r = 0.5
    assert expansion.kept(32) == 16
    for _ in range(20):
        expansion.update(1.0)
    assert expansion.kept(32) == 8
    assert expansion.kept(3) == 1


def test_cap_of_one_switches_it_off():
    expansion = Expansion(cap=1.0, decay=0.0)
    expansion.update(0.9)
    assert expansion.prompts(10) == 10


def test_state():
    first, second = Expansion(), Expansion()
    for share in (0.3, 0.8, 0.1):
        first.update(share)
    second.load_state_dict(first.state_dict())
    assert second.ratio == first.ratio > 0


@pytest.mark.parametrize(("arguments", "name"), [({"cap": 0.5}, "cap"), ({"decay": 1.0}, "decay")])
def test_bad_settings_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        Expansion(**arguments)


def test_keeps_only_informative_groups():
    cells = [("a", "1")] * 6
    assert keep_balanced(cells, [False, True, True, False, False, True], needed=2) == [1, 2]
    assert keep_balanced(cells, [False] * 6, needed=2) == []


def test_too_few_are_all_kept():
    assert keep_balanced([("a", "1"), ("b", "1"), ("a", "2")], [True, False, True], needed=9) == [0, 2]


def test_balanced_over_tiers_then_domains():
    cells = [("a", "1")] * 20 + [("b", "1")] * 4 + [("a", "2")] * 9 + [("b", "3")] * 2
    kept = [cells[index] for index in keep_balanced(cells, [True] * len(cells), needed=14)]
    assert Counter(tier for _, tier in kept) == {"1": 6, "2": 6, "3": 2}
    assert Counter(kept)["a", "1"] == Counter(kept)["b", "1"] == 3
