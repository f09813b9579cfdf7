"""The command's runs: one file each, killed and gone on with, and what stands in the files."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from glm4v.findings.plan import SLOPPY, plan
from glm4v.findings.runner import Experiment
from tests.findings.conftest import TINY

SCRIPT = """
import sys
from pathlib import Path
from glm4v.findings.runner import Experiment
from tests.findings.conftest import TINY
Experiment(Path(sys.argv[1]), Path(sys.argv[2]), TINY).run()
"""


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("findings") / "whole"
    Experiment(out, home, TINY).run()
    return out


def results(out: Path) -> dict[str, dict]:
    """Without what a clock said."""
    found = {}
    for file in (out / "results").glob("**/*.json"):
        found[str(file.relative_to(out))] = {k: v for k, v in json.loads(file.read_text()).items() if k != "seconds"}
    return found


def test_every_run_has_a_file_and_counts_what_it_drew(whole):
    found = results(whole)
    assert set(found) == {f"results/{run.name}.json" for run in plan(TINY)}
    for name, result in found.items():
        if "/start/" in name:
            assert [point["rollouts"] for point in result["curve"]] == [0]
            continue
        assert [point["rollouts"] for point in result["curve"]] == [64, 128]  # 4 steps of 4 prompts, 4 responses each
        assert result["rollouts"] == 128
        assert result["updates"] <= 8
        assert set(result["curve"][0]["domains"]) == set(TINY.domains)
        assert not list((whole / "runs").glob("**/checkpoints"))
    sloppy = found["results/finding_3/sloppy/seed_0.json"]
    assert set(sloppy["curve"][-1]["training"]) == set(TINY.domains)
    lines = (whole / "runs" / "finding_3" / "sloppy" / "seed_0" / "metrics.jsonl").read_text().splitlines()
    assert {f"verifier/{SLOPPY}/hit", "verifier/counting/hit"} <= set(json.loads(lines[0]))  # the other domain's too


def test_pages_name_what_was_not_run_and_that_it_is_no_evidence(whole, home, capsys):
    assert "no evidence" in (whole / "findings.html").read_text()
    text = (whole / "findings.md").read_text()
    assert "no evidence" in text
    assert "Not run: nothing" in text
    lost = whole / "results" / "main_comparison" / "dapo" / "seed_0.json"
    kept = lost.read_text()
    lost.unlink()
    experiment = Experiment(whole, home, TINY)
    experiment.write(None)
    assert "Not run: main_comparison/dapo/seed_0" in (whole / "findings.md").read_text()
    experiment.show(plan(TINY))
    assert "0.00" in capsys.readouterr().out
    lost.write_text(kept)


def start(out: Path, home: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, os.getcwd()])}
    command = [sys.executable, "-c", SCRIPT, str(out), str(home)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_share_the_runs(whole, home, tmp_path):
    out = tmp_path / "shared"
    processes = [start(out, home) for _ in range(2)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for run in plan(TINY):
        assert sum(text.count(f"{run.name}: about") for text in said) == 1, run.name
    assert results(out) == results(whole)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_run_it_goes_on(whole, home, tmp_path):
    out = tmp_path / "killed"
    process = start(out, home)
    third = plan(TINY)[2].name
    while not list((out / "runs" / third / "checkpoints").glob("step_000004")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = {file: file.stat().st_mtime_ns for file in (out / "results").glob("**/*.json")}
    assert len(times) == 2
    again = start(out, home)
    again.communicate()
    assert again.returncode == 0
    assert all(file.stat().st_mtime_ns == before for file, before in times.items())  # not made again
    assert results(out) == results(whole)


def test_a_folder_of_other_settings_is_refused(whole, home):
    with pytest.raises(ValueError, match="other settings"):
        Experiment(whole, home, replace(TINY, steps=9)).run()
