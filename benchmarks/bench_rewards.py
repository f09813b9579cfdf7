"""The reward system on its corpus: wrong acceptances and recall by domain, verifications a second, beside math-verify.

Of the held-out half counts alone are printed and written, never a case. math-verify is measured on the mathematical
cases when it is installed.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from glm4v.benchmarks import harness
from glm4v.rewards import verify

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests/rewards/corpus"
RESULT = Path("benchmarks/results/rewards.json")
HALVES = ("dev", "heldout")
GRADED = ("ocr", "grounding")

Case = dict[str, Any]
Counts = dict[str, int]


def run(out: Path = RESULT) -> dict[str, Any]:
    """Measure, print a table, write JSON.

    Raises:
        FileNotFoundError: the corpus is not there; it belongs to the repository, not to the installed package.
    """
    if not CORPUS.is_dir():
        raise FileNotFoundError(f"{CORPUS}: no corpus; run this from a clone of the repository")
    halves = {half: list(read(half)) for half in HALVES}
    result: dict[str, Any] = {"machine": asdict(harness.describe_machine()), "domains": {}}
    result["verifications_per_second"] = speed(halves)  # before anything else has filled the caches
    for half, cases in halves.items():
        for domain in dict.fromkeys(case["domain"] for case in cases):
            chosen = [case for case in cases if case["domain"] == domain]
            result["domains"].setdefault(domain, {})[half] = score(chosen, ours)
    result["all"] = {half: total(result["domains"][domain][half] for domain in result["domains"]) for half in HALVES}
    peer = math_verify()
    if peer is not None:
        result["math-verify"] = {
            half: score([case for case in cases if case["domain"] == "math"], peer) for half, cases in halves.items()
        }
    harness.console.print(table(result))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    harness.console.print(f"written: {out}")
    return result


def read(half: str) -> Iterator[Case]:
    """The cases of one half."""
    for line in (CORPUS / f"{half}.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def ours(case: Case) -> float:
    return verify(case["domain"], case["prediction"], case["truth"], case.get("question"))


def score(cases: Iterable[Case], verifier: Callable[[Case], float]) -> Counts:
    """How many positive cases there are and earn what they should, how many negative ones, and how many earn more."""
    counts = {"positive": 0, "recalled": 0, "negative": 0, "wrong": 0}
    for case in cases:
        low, high = case["score"] if "score" in case else (float(case["accept"]),) * 2
        reward = verifier(case)
        if low >= 0.5:
            counts["positive"] += 1
            counts["recalled"] += low <= reward <= high
        else:
            counts["negative"] += 1
            counts["wrong"] += reward > high
    return counts


def total(parts: Iterable[Counts]) -> Counts:
    listed = list(parts)
    return {name: sum(part[name] for part in listed) for name in listed[0]}


def speed(halves: dict[str, list[Case]]) -> int:
    """Verifications a second on one core, of answers and truths that no cache has seen; tables are loaded before."""
    for case in halves["heldout"]:
        ours(case)
    start = time.process_time()
    for case in halves["dev"]:
        ours(case)
    return round(len(halves["dev"]) / (time.process_time() - start))


def math_verify() -> Callable[[Case], float] | None:
    """math-verify as a verifier of a case, or None where it is not installed."""
    try:
        from math_verify import parse
        from math_verify import verify as compare
    except ImportError:
        return None

    def peer(case: Case) -> float:
        truth, prediction = (f"${case[key]}$" for key in ("truth", "prediction"))
        try:
            return float(compare(parse(truth), parse(prediction)))
        except Exception:  # whatever a peer raises on an answer, it does not accept it
            return 0.0

    return peer


def table(result: dict[str, Any]) -> Table:
    grid = Table(title="rewards by rules: recall and wrong acceptances", title_justify="left")
    grid.add_column("domain")
    for half in HALVES:
        grid.add_column(f"{half}: recall", justify="right")
        grid.add_column(f"{half}: wrong", justify="right")
    for name, halves in (
        *result["domains"].items(),
        ("all", result["all"]),
        ("math-verify", result.get("math-verify")),
    ):
        if halves is not None:
            grid.add_row(name, *(cell for half in HALVES for cell in _cells(halves[half])))
    grid.caption = f"{result['verifications_per_second']:,} verifications a second on one core"
    return grid


def _cells(counts: Counts) -> tuple[str, str]:
    recall = counts["recalled"] / max(counts["positive"], 1)
    return f"{recall:.3f} of {counts['positive']}", f"{counts['wrong']} of {counts['negative']}"
