"""The pages of a whole plan with made-up figures: HTML that is well formed, Markdown whose plots exist."""

import random
import re
from xml.etree import ElementTree

import pytest

from glm4v.findings import page
from glm4v.findings.plan import FULL, SLOPPY, plan
from glm4v.findings.summary import summarise
from tests.findings.test_summary import result
from tests.report.test_build import Outline


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    rng = random.Random(0)
    results = {}
    for run in plan(FULL)[:-2]:
        results[run.name] = result(1.5 if run.method == "rlcs" else 1.0, noise=0.004, seed=rng.randrange(1000))
        if not run.method:
            results[run.name]["curve"] = [{"step": 0, "rollouts": 0, "updates": 0, "mean": 0.25}]
        careless = run.part == "finding 3"
        for point in results[run.name]["curve"]:
            point["domains"] = {domain: rng.random() for domain in FULL.domains}
            point["training"] = {domain: rng.random() for domain in FULL.domains}
        alarm = {"verifier": SLOPPY, "kind": "shared", "step": 33}
        results[run.name]["alarms"] = [alarm] if careless else []
    return page.files(summarise(FULL, results) | {"command": "glm4v findings --docs docs"}, results)


def test_html(files):
    parser = Outline()
    parser.feed(files["findings.html"])
    assert parser.open == []
    for title in (
        "Informative rollouts: main comparison",
        "Informative rollouts: second starting point",
        "Informative rollouts: mix: many hopeless",
        "Informative rollouts: ablations",
        "Precise reward",
        "Multi-domain",
        "Learning rates",
        "Runs",
    ):
        assert title in parser.headings
    assert not re.findall(r'(?:src|href)="(?!data:)', files["findings.html"])
    assert "step 33" in files["findings.html"]
    assert "INCOMPLETE: 2 of 104 runs" in files["findings.html"]


def test_markdown_and_its_plots(files):
    plots = re.findall(r"\]\((findings/[^)]*)\)", files["findings.md"])
    assert len(plots) == 15
    for plot in plots:
        assert ElementTree.fromstring(files[plot]).tag.endswith("svg")
    assert "open_ideas/as_published/seed_2" in files["findings.md"]
    assert files["findings.md"].count("Seeds are missing") == 1  # of the open ideas, whose last runs are not there
    assert "hints that wake dead cells" in files["findings.md"]
