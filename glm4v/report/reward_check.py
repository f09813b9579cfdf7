"""`reward-check`: a file of answers with their truths in; hits, disagreements with labels, and the slowest out.

A line of the file is JSON: "domain" (or "verifier"), "truth", and "prediction" or a whole "response"; perhaps
"question", and a label: "label" or "accept" (true or false), or "score" ([lowest, highest]).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from glm4v import __version__
from glm4v.report.page import page, section
from glm4v.rewards import assess, parse_response

HIT = 0.5  # from here on a graded reward counts as a hit
SHOWN = 200  # disagreements on the page
SLOWEST = 10


@dataclass(frozen=True)
class Checked:
    """One answer: where it stands in the file, what it earned and why, its label (None where it has none), seconds."""

    line: int
    domain: str
    prediction: str
    truth: str
    reward: float
    reason: str
    agrees: bool | None
    seconds: float


def read(path: Path, on_progress: Callable[[int, int], None] | None = None) -> list[Checked]:
    """Verify every line of a file.

    Raises:
        ValueError: a line that is no such record, or a truth that its verifier cannot read; the line is named.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    checked = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                checked.append(_check(number, json.loads(line)))
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
        if on_progress is not None:
            on_progress(number, len(lines))
    if not checked:
        raise ValueError(f"{path}: no answers; expected a JSON object a line")
    return checked


def _check(number: int, record: Any) -> Checked:
    if not isinstance(record, dict) or not {"verifier", "domain"} & set(record) or "truth" not in record:
        raise ValueError('expected an object with "domain" (or "verifier"), "truth", and "prediction" or "response"')
    if not {"prediction", "response"} & set(record):
        raise ValueError('neither "prediction" nor "response"')
    verifier = str(record.get("verifier", record.get("domain")))
    start = time.perf_counter()
    answer = record["prediction"] if "prediction" in record else parse_response(str(record["response"])).answer
    verdict = assess(verifier, None if answer is None else str(answer), record["truth"], record.get("question"))
    seconds = time.perf_counter() - start
    truth = record["truth"] if isinstance(record["truth"], str) else json.dumps(record["truth"], ensure_ascii=False)
    shown = str(record.get("prediction", answer))
    return Checked(
        number, verifier, shown, truth, verdict.reward, verdict.reason, _agrees(record, verdict.reward), seconds
    )


def _agrees(record: dict[str, Any], reward: float) -> bool | None:
    """Whether the reward is what the label says; None without a label."""
    if "score" in record:
        low, high = record["score"]
        return bool(low <= reward <= high)
    label = record.get("label", record.get("accept"))
    return None if label is None else (reward >= HIT) == bool(label)


def table(checked: Sequence[Checked]) -> Table:
    """A row a domain, to be printed by `rich`."""
    grid = Table(title="verifiers on these answers", title_justify="left")
    for name in _HEAD:
        grid.add_column(name, justify="left" if name == "domain" else "right")
    for row in _rows(checked):
        grid.add_row(*row)
    return grid


_HEAD = ("domain", "answers", "hits", "mean reward", "labelled", "disagree", "median ms", "slowest ms")


def _rows(checked: Sequence[Checked]) -> list[tuple[str, ...]]:
    domains = sorted({each.domain for each in checked})
    groups = [(name, [each for each in checked if each.domain == name]) for name in domains]
    return [_row(name, group) for name, group in (*groups, *([("all", list(checked))] if len(groups) > 1 else []))]


def _row(name: str, group: Sequence[Checked]) -> tuple[str, ...]:
    labelled = [each for each in group if each.agrees is not None]
    times = [1000 * each.seconds for each in group]
    return (
        name,
        f"{len(group):,}",
        f"{sum(each.reward >= HIT for each in group) / len(group):.1%}",
        f"{sum(each.reward for each in group) / len(group):.3f}",
        f"{len(labelled):,}",
        f"{sum(not each.agrees for each in labelled):,}" if labelled else "",
        f"{median(times):.3f}",
        f"{max(times):.3f}",
    )


def html(checked: Sequence[Checked], name: str) -> str:
    """The same as a page that needs no network: the table, the disagreements, the slowest."""
    wrong = [each for each in checked if each.agrees is False]
    slow = sorted(checked, key=lambda each: -each.seconds)[:SLOWEST]
    cut = f" The first {SHOWN} are shown." if len(wrong) > SHOWN else ""
    sections = [
        section("By domain", "A hit is a reward of at least one half.", _html_table(_HEAD, _rows(checked))),
        section(
            "Disagreements",
            f"Rewards that are not what the label says: {len(wrong)}.{cut}" if wrong else "None with the labels given.",
            _html_table(_ANSWER_HEAD, [_answer_row(each) for each in wrong[:SHOWN]]) if wrong else "",
        ),
        section(
            "Slowest", "The answers that took longest.", _html_table(_ANSWER_HEAD, [_answer_row(each) for each in slow])
        ),
    ]
    return page(
        f"Rewards on {name}", f"{len(checked):,} answers, by rules alone.", sections, f"Written by glm4v {__version__}."
    )


_ANSWER_HEAD = ("line", "domain", "answer", "truth", "reward", "ms", "why")


def _answer_row(each: Checked) -> tuple[str, ...]:
    texts = [text if len(text) <= 120 else f"{text[:119]}…" for text in (each.prediction, each.truth)]
    return (str(each.line), each.domain, *texts, f"{each.reward:.3f}", f"{1000 * each.seconds:.2f}", each.reason)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="card"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
