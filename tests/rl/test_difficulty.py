"""Offline tiers from pass rates and labels."""

from collections import Counter

import pytest

from glm4v.rl.difficulty import of_rewards, pass_rates, to_grade

CELLS = [("a", "easy")] * 4 + [("a", "hard")] * 2 + [("b", "easy")]


def test_the_first_of_each_cell_are_graded():
    assert to_grade(CELLS, 2) == [0, 1, 4, 5, 6]
    assert to_grade(CELLS, 0) == []


def test_own_rate_is_shrunk_towards_the_cell():
    graded = {0: [1.0] * 8, 1: [0.0] * 8, 4: [0.0] * 8, 6: [1.0] * 4}
    assert pass_rates(CELLS, graded, prior=4.0) == pytest.approx([10 / 12, 2 / 12, 0.5, 0.5, 0.0, 0.0, 1.0])


def test_more_responses_weigh_more():
    few, many = (pass_rates(CELLS[:4], {0: [1.0] * count, 1: [0.0] * 8, 2: [0.0] * 8})[0] for count in (2, 32))
    assert few < 0.5 < 0.9 < many


def test_a_cell_without_a_grade_is_named():
    with pytest.raises(ValueError, match=r"graded: no problem of \('a', 'hard'\)"):
        pass_rates(CELLS, {0: [1.0], 6: [1.0]})


def test_tiers_are_fifths_of_a_domain_in_the_order_of_pass_rates():
    cells = [("a", label) for label in "1234512345"] + [("b", "x")] * 5
    graded = {index: [1.0 - 0.2 * int(cells[index][1])] * 4 for index in range(5)} | {10: [0.5]}
    graded[4] = [1.0] * 40  # labelled hardest, and always right
    result = of_rewards(cells, graded).cells
    assert result[4] == ("a", "1")
    assert result[0][1] < result[1][1] < result[2][1] < result[3][1]
    assert set(Counter(result).values()) == {1, 2}
    assert {domain: {tier for d, tier in result if d == domain} for domain in "ab"} == {
        "a": set("12345"),
        "b": set("12345"),
    }


def test_where_the_model_knows_nothing_labels_decide():
    cells = [("a", label) for label in "5432154321"]
    assert of_rewards(cells, {index: [0.0] * 4 for index in range(5)}).cells == cells
