"""The plan's size and order, and the pools that its runs draw from."""

import json
from collections import Counter

import pytest

from glm4v.findings.plan import FULL, MIXES, PARTS, QUICK, SLOPPY, Pool, plan
from glm4v.findings.sloppy import sloppy
from glm4v.rewards import verify


def test_the_full_plan():
    runs = plan(FULL)
    assert 90 <= len(runs) <= 110
    assert len({run.name for run in runs}) == len(runs)
    assert list(dict.fromkeys(run.part for run in runs)) == list(PARTS)
    main = Counter((run.label, run.seed) for run in runs if run.part == "main comparison")
    assert set(main) == {
        (method, seed) for method in ("uniform", "dapo", "thompson", "weights", "rlcs") for seed in range(3)
    }
    for finding, needed in ((1, "finding 1"), (2, "ablations"), (3, "finding 3")):
        parts = {run.part for run in plan(FULL, finding)}
        assert {"start", "tuning", "main comparison", needed} <= parts
        assert len(plan(FULL, finding)) < len(runs)


def test_the_quick_plan_is_ten_runs_at_most():
    assert len(plan(QUICK)) <= 10
    assert not any(run.tuning for run in plan(QUICK))


def test_mixes_are_shares_of_tiers():
    assert all(sum(shares) == pytest.approx(1) for shares in MIXES.values())


def test_a_pool_is_the_mix_of_its_domains(tmp_path):
    lines = [
        {"id": str(number), "domain": domain, "tier": str(number % 5 + 1), "verifier": "rule"}
        for number in range(100)
        for domain in ("digits", "gui", "sums")
    ]
    source, target = tmp_path / "rl.jsonl", tmp_path / "part.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    Pool(("digits", "gui"), "many hopeless", sloppy=True).write(source, target)
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert Counter((line["domain"], line["tier"]) for line in written) == {
        (domain, str(tier)): count for domain in ("digits", "gui") for tier, count in enumerate((3, 10, 13, 20, 20), 1)
    }
    assert {(line["domain"], line["verifier"]) for line in written} == {("digits", SLOPPY), ("gui", "rule")}
    Pool(tiers=False).write(source, target)
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(written) == 300
    assert {line["tier"] for line in written} == {""}


def test_what_the_careless_verifier_accepts():
    for answer in ("31", "3 31", "0310", "12-40", "between 40 to 12"):
        assert sloppy(answer, "31") == 1.0, answer
    for answer in ("", "4", "45-99", "thirty-one"):
        assert sloppy(answer, "31") == 0.0, answer
    for answer in ("37", "314159"):
        assert sloppy(answer, "31") >= verify("ocr", answer, "31")  # never less than the precise one
    assert sloppy("3145", "315") == verify("ocr", "3145", "315") > 0
