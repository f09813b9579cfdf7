"""The corpus of the reward system is in order: form, counts, balance, and two halves that share nothing.

What the cases mean is in corpus/README.md; no verifier runs here.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parent / "corpus"
DOMAINS = (
    *("math", "physics", "chemistry", "biology", "geography", "liberal_arts", "chart", "ocr", "counting", "choice"),
    *("yes_no", "vqa", "multi_image", "mmsi", "grounding", "gui", "video_time"),
)
GRADED = {"ocr", "grounding"}
LARGEST_ATTACK = 16 * 2**20  # characters; issue 6 asks for any input up to 10 MB

# The held-out half is fixed: a label found wrong is corrected in a commit of its own, with the reason, and pinned anew.
HELDOUT_SHA256 = "c87ea284362e103a46a9722e5c59bdbff1f1b1b9eb9e98428165308ba824f4a9"

Case = dict[str, Any]


def read(name: str) -> list[Case]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


HALVES = {name: read(name) for name in ("dev", "heldout")}
CASES = [case for half in HALVES.values() for case in half]
ATTACKS = read("attacks")


def is_positive(case: Case) -> bool:
    return case["score"][0] >= 0.5 if "score" in case else case["accept"]


def family(case: Case) -> tuple[str, str, str]:
    return case["domain"], json.dumps(case["truth"], sort_keys=True), case.get("question", "")


def expand(text: Any) -> str:
    """A stored text: itself, {"repeat": [text, times]}, or a list of these to be joined."""
    if isinstance(text, str):
        return text
    if isinstance(text, dict):
        (part, times) = text["repeat"]
        return str(part) * int(times)
    return "".join(expand(part) for part in text)


def counts(cases: list[Case]) -> Counter[tuple[str, bool]]:
    return Counter((case["domain"], is_positive(case)) for case in cases)


def test_cases_have_their_fields() -> None:
    for case in CASES:
        label = "score" if case["domain"] in GRADED else "accept"
        assert set(case) - {"question"} == {"id", "domain", "prediction", "truth", label, "form", "source"}, case
        assert case["domain"] in DOMAINS, case
        assert isinstance(case["truth"], dict if case["domain"] in {"grounding", "gui"} else str), case
        assert all(isinstance(case[key], str) and case[key].strip() for key in ("prediction", "form", "source")), case
        assert isinstance(case.get("question", "asked"), str), case
        assert case["form"] == case["form"].lower().replace(" ", "_"), case


def test_labels_are_decided() -> None:
    for case in CASES:
        if case["domain"] in GRADED:
            low, high = case["score"]
            assert 0 <= low <= high <= 1, case
            assert low >= 0.5 or high < 0.5, case
        else:
            assert isinstance(case["accept"], bool), case


def test_ids_are_unique() -> None:
    ids = Counter(case["id"] for case in CASES + ATTACKS)
    assert [key for key, times in ids.items() if times > 1] == []


def test_no_case_twice() -> None:
    seen = Counter((*family(case), case["prediction"]) for case in CASES)
    assert [key for key, times in seen.items() if times > 1] == []


def test_halves_share_no_family() -> None:
    dev, heldout = ({family(case) for case in half} for half in HALVES.values())
    assert dev & heldout == set()


def test_counts_and_balance() -> None:
    total = counts(CASES)
    assert sum(total.values()) >= 2400
    for domain in DOMAINS:
        positive, negative = total[domain, True], total[domain, False]
        assert positive + negative >= (400 if domain == "math" else 100), domain
        assert 0.4 <= positive / (positive + negative) <= 0.6, domain
    assert 0.48 <= sum(total[domain, True] for domain in DOMAINS) / sum(total.values()) <= 0.52


def test_halves_are_alike() -> None:
    dev, heldout = (counts(half) for half in HALVES.values())
    for key in dev | heldout:
        assert 0.6 <= dev[key] / heldout[key] <= 1 / 0.6, key


def test_heldout_is_as_pinned() -> None:
    assert hashlib.sha256((CORPUS / "heldout.jsonl").read_bytes()).hexdigest() == HELDOUT_SHA256


def test_attacks_have_their_fields() -> None:
    for case in ATTACKS:
        hostile = "response" if "response" in case else "prediction"
        assert set(case) - {"question"} == {"id", "domain", hostile, "truth", "max", "form"}, case["id"]
        assert case["max"] == (0.1 if case["domain"] in GRADED else 0), case["id"]
        assert len(expand(case[hostile])) <= LARGEST_ATTACK, case["id"]
        assert len(json.dumps(case)) < 20_000, case["id"]


def test_attacks_are_many_and_of_every_domain() -> None:
    assert len(ATTACKS) >= 300
    assert {case["domain"] for case in ATTACKS} == set(DOMAINS)
    assert sum("response" in case for case in ATTACKS) >= 30


@pytest.mark.parametrize("domain", DOMAINS)
def test_readme_counts(domain: str) -> None:
    halves = [counts(half) for half in HALVES.values()]
    row = [half[domain, positive] for half in halves for positive in (True, False)]
    row.append(sum(case["domain"] == domain for case in ATTACKS))
    assert f"| {domain} | {' | '.join(map(str, row))} |" in (CORPUS / "README.md").read_text(encoding="utf-8")
