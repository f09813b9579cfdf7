"""Answers to look at: of each domain one right, one wrong, with picture, thinking, reward and the verifier's reason."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from glm4v.report.page import section
from glm4v.report.pictures import shot
from glm4v.report.run import Evaluated, Run
from glm4v.report.svg import legend

RIGHT = 0.75  # a reward from which an answer is shown as right
MAX_TEXT = 600  # characters of thinking


def evaluation_gallery(evaluations: Sequence[Evaluated]) -> str:
    """Answers of the most trained model, beside what the stages before it answered to the same problem."""
    if not evaluations:
        return ""
    stages = [each for each in evaluations if each.name != "control"] or list(evaluations)
    last = stages[-1]
    chosen = list(pick(last.predictions))
    ids = {record["id"] for record in chosen}
    before = {each.title: {r["id"]: r for r in each.predictions if r["id"] in ids} for each in stages[:-1]}
    cards = []
    for record in chosen:
        others = [(title, records[record["id"]]) for title, records in before.items() if record["id"] in records]
        cards.append(card(record, last.path, others))
    lead = (
        f"Answers of the model after {last.title} to held-out problems: of each domain a hard one that it got right "
        "and an easy one that it got wrong."
    )
    return section("Look for yourself", lead, _key() + f'<div class="cards">{"".join(cards)}</div>')


def sample_gallery(run: Run) -> str:
    """The responses that an RLCS run wrote down in its last panel."""
    records = [record for record in run.samples if "reward" in record]
    cards = "".join(card(record, run.path, ()) for record in records)
    lead = "The last panel that the run wrote to samples/: of each domain the best and the worst response of one group."
    return section("Responses while training", lead, _key() + f'<div class="cards">{cards}</div>') if records else ""


def pick(records: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Of each domain the hardest right answer and the easiest wrong one, where there are such."""
    by_domain: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_domain.setdefault(record["domain"], []).append(record)
    for _, group in sorted(by_domain.items()):
        right = [record for record in group if record["reward"] >= RIGHT]
        wrong = [record for record in group if record["reward"] < RIGHT]
        if right:
            yield max(right, key=lambda record: record["tier"])
        if wrong:
            yield min(wrong, key=lambda record: (record["prediction"] is None, record["tier"]))


def card(record: Mapping[str, Any], folder: Path, others: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One answer; `others`: what earlier stages answered, by name."""
    right = record["reward"] >= RIGHT
    picture = shot([folder / path for path in record["images"]], record["prediction"], record["truth"])
    rows = [("answer", _answer(record)), ("truth", _truth(record["truth"])), ("why", escape(record["reason"]))]
    rows += [(title, f"{_answer(other)} <small>({other['reward']:.2f})</small>") for title, other in others]
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in rows)
    thinking = record["response"].removeprefix("<think>").partition("</think>")[0].strip()
    quote = (
        f"<blockquote>{escape(thinking[:MAX_TEXT])}{'…' * (len(thinking) > MAX_TEXT)}</blockquote>" if thinking else ""
    )
    badge = f'<span class="badge{" right" * right}">{"✓" if right else "✗"} {record["reward"]:.2f}</span>'
    return (
        f'<article class="card">{picture}<div class="body">'
        f'<div class="where"><span>{escape(record["domain"])}, tier {escape(record["tier"])}</span>{badge}</div>'
        f'<div class="question">{escape(record["question"])}</div>{quote}<dl>{terms}</dl></div></article>'
    )


def _answer(record: Mapping[str, Any]) -> str:
    prediction = record["prediction"]
    return "<em>none</em>" if prediction is None else escape(prediction[:160])


def _truth(truth: Any) -> str:
    if isinstance(truth, Mapping):
        parts = (f"{name} {json.dumps(value, separators=(',', ':'))}" for name, value in truth.items())
        return escape(", ".join(parts))
    return escape(str(truth))


def _key() -> str:
    return legend([("true box or target", "var(--truth)"), ("the model's box or click", "var(--guess)")])
