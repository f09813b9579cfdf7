"""The corpus of the reward system: every case of the development half, counts of the held-out half, every attack."""

from collections import Counter
from typing import Any

import pytest

from glm4v.rewards import extract_answer, verify
from tests.rewards.test_corpus_files import ATTACKS, DOMAINS, HALVES, expand, is_positive

MOST_WRONG = 2  # wrong acceptances of the whole held-out half
LEAST_RECALL = 0.95


def reward(case: dict[str, Any]) -> float:
    return verify(case["domain"], case["prediction"], case["truth"], case.get("question"))


def bounds(case: dict[str, Any]) -> tuple[float, float]:
    low, high = case["score"] if "score" in case else (float(case["accept"]),) * 2
    return low, high


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_case_of_the_development_half(domain: str) -> None:
    cases = [case for case in HALVES["dev"] if case["domain"] == domain]
    wrong = [case for case in cases if not bounds(case)[0] <= reward(case) <= bounds(case)[1]]
    assert wrong == []


@pytest.fixture(scope="module")
def held_out() -> Counter[str]:
    """Counts alone: a case that fails here must not be looked at while rules are written."""
    counts: Counter[str] = Counter()
    for case in HALVES["heldout"]:
        low, high = bounds(case)
        given = reward(case)
        if is_positive(case):
            counts["positive"] += 1
            counts["recalled"] += low <= given <= high
        else:
            counts["wrong"] += given > high
    return counts


def test_recall_of_the_held_out_half(held_out: Counter[str]) -> None:
    assert held_out["recalled"] >= LEAST_RECALL * held_out["positive"]


def test_wrong_acceptances_of_the_held_out_half(held_out: Counter[str]) -> None:
    assert held_out["wrong"] <= MOST_WRONG


@pytest.mark.parametrize("domain", DOMAINS)
def test_attacks_earn_at_most_what_they_may(domain: str) -> None:
    paid = []
    for case in ATTACKS:
        if case["domain"] == domain:
            answer = expand(case["prediction"]) if "prediction" in case else extract_answer(expand(case["response"]))
            if verify(domain, answer, case["truth"], case.get("question")) > case["max"]:
                paid.append(case["id"])
    assert paid == []
