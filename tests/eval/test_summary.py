"""Means and intervals."""

import pytest

from glm4v.eval.summary import summarise, wilson

RECORDS = [
    {"domain": "digits", "tier": "1", "reward": 1.0},
    {"domain": "digits", "tier": "1", "reward": 0.5},
    {"domain": "digits", "tier": "2", "reward": 0.0},
    {"domain": "sums", "tier": "1", "reward": 1.0},
]


def test_means_by_domain_and_cell() -> None:
    summary = summarise(RECORDS)
    assert (summary["mean"], summary["n"]) == (0.625, 4)
    assert {name: cell["mean"] for name, cell in summary["domains"].items()} == {"digits": 0.5, "sums": 1.0}
    assert {name: (cell["mean"], cell["n"]) for name, cell in summary["cells"].items()} == {
        "digits/1": (0.75, 2),
        "digits/2": (0.0, 1),
        "sums/1": (1.0, 1),
    }


def test_the_interval_agrees_with_published_values() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29; method 3."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_nothing_to_summarise_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        summarise([])
