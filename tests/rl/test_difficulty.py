"""Offline tiers from pass rates and labels."""

import pytest

from glm4v.rl.difficulty import pass_rates, tier, tiers, to_grade

CELLS = [("a", "easy")] * 4 + [("a", "hard")] * 2 + [("b", "easy")]


def test_tier_bounds():
    assert [tier(rate) for rate in (1.0, 0.9, 0.8, 0.5, 0.35, 0.2, 0.05, 0.0)] == list("11233455")


def test_the_first_of_each_cell_are_graded():
    assert to_grade(CELLS, 2) == [0, 1, 4, 5, 6]
    assert to_grade(CELLS, 0) == []


def test_own_rate_is_shrunk_towards_the_cell():
    graded = {0: [1.0] * 8, 1: [0.0] * 8, 4: [0.0] * 8}
    rates = pass_rates(CELLS, graded, prior=4.0)
    assert rates == pytest.approx([10 / 12, 2 / 12, 0.5, 0.5, 0.0, 0.0, None])


def test_tiers_combine_grade_and_label():
    graded = {0: [1.0] * 8, 1: [1.0] * 7 + [0.0], 4: [0.0] * 8, 5: [1.0] * 2 + [0.0] * 6}
    assert tiers(CELLS, graded) == [("a", t) for t in "1211"] + [("a", "5"), ("a", "4"), ("b", "easy")]


def test_more_responses_weigh_more():
    few, many = (pass_rates(CELLS, {0: [1.0] * n, 1: [0.0] * 8, 2: [0.0] * 8})[0] for n in (2, 32))
    assert few is not None
    assert many is not None
    assert few < 0.5 < 0.9 < many
