"""Curves over steps: loss of every stage, and what RLCS does to reward, exploration and length."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from glm4v.report.page import figure, grid, section
from glm4v.report.run import Run
from glm4v.report.svg import Line, legend, line_chart

COLOURS = ("var(--accent)", "var(--control)", "var(--good)", "var(--bad)")


class Chart(NamedTuple):
    """A chart of some metrics of a run: (metric, its name for readers) each, and the ends of its y axis."""

    title: str
    meaning: str
    metrics: tuple[tuple[str, str], ...]
    low: float | None = None
    high: float | None = None


RLCS = (
    Chart(
        "Reward",
        "Mean reward of the problems drawn in a step, and the estimate for the whole pool. The curriculum turns to "
        "harder problems as the model learns, so the first may stand still while the second climbs.",
        (("reward", "problems drawn"), ("pass_rate", "whole pool"), ("evaluation", "held out")),
    ),
    Chart(
        "Informative groups",
        "Share of problems whose responses differ in reward. Only those teach: a group that is all right or all wrong "
        "has no advantage.",
        (("kept_share", "kept share"),),
        0.0,
        1.0,
    ),
    Chart(
        "Dynamic sampling expansion",
        "How many times the needed prompts were drawn, so that enough informative groups remain: 1 / (1 - moving "
        "average of the uninformative share), capped.",
        (("expansion", "expansion"),),
        1.0,
    ),
    Chart(
        "Entropy",
        "How undecided the model is at each token, in nats. A fall to zero ends exploration; a rise means that the "
        "text falls apart.",
        (("entropy", "entropy"),),
        0.0,
    ),
    Chart(
        "Response length",
        "Tokens of a response: the mean, and the length that nine in ten stay under.",
        (("response_length", "mean"), ("response_length_p90", "nine in ten below")),
        0.0,
    ),
    Chart(
        "Cut short",
        "Share of responses whose thinking ran into its budget and was asked for an answer, and of those that hit the "
        "length limit without one.",
        (("forced_share", "forced to answer"), ("truncated_share", "truncated")),
        0.0,
    ),
    Chart(
        "Clipped tokens",
        "Share of tokens whose probability moved so far that the loss holds them: up (above 1.28 times by default) and "
        "down (below 0.8 times). With one update a rollout it stays at zero.",
        (("clip_up", "up"), ("clip_down", "down")),
        0.0,
    ),
)


def loss_curves(runs: Sequence[Run]) -> str:
    """The loss of each stage that has one, beside the loss on held-out conversations."""
    figures = []
    for run in runs:
        if not run.series("loss")[0]:
            continue
        meaning = f"Nats a token that the model is taught, over {len(run.metrics):,} steps; lower is better."
        lines = _lines(run, (("loss", "training"), ("evaluation_loss", "held out")))
        figures.append(figure(f"Loss: {run.title}", meaning, _drawn(lines, f"loss of {run.title}")))
    lead = (
        "How well the model predicts the next token of the texts it is taught. Where the curve is flat, it has learned "
        "what it can from them."
    )
    return section("Learning to predict", lead, grid(figures)) if figures else ""


def rlcs_curves(run: Run) -> str:
    """The run's health: reward, informative groups, expansion, entropy, lengths, clipping; then reward by domain."""
    figures = []
    for chart in RLCS:
        lines = _lines(run, chart.metrics)
        if any(any(line.y) for line in lines):
            figures.append(figure(chart.title, chart.meaning, _drawn(lines, chart.title, chart.low, chart.high)))
    if not figures:
        return ""
    lead = (
        "The model answers each problem several times, verifiers grade the answers, and what was better than its group "
        "becomes likelier."
    )
    return section("Practising: RLCS", lead, grid(figures)) + _domains(run) + _verifiers(run)


def _domains(run: Run) -> str:
    charts = {name: ((name, "reward"),) for name in run.names("reward", depth=1)}
    lead = "Reward of the problems drawn, by domain. All domains are practised at once; each has its own verifier."
    return _small_charts(run, "Reward by domain during RLCS", lead, charts)


def _verifiers(run: Run) -> str:
    names = dict.fromkeys(name.rpartition("/")[0] for name in run.names("verifier", depth=2))
    lines = (
        ("hit", "accepted"),
        ("no_answer", "no answer"),
        ("differ", "contradicting"),
        ("shared", "shared"),
    )
    charts = {name: tuple((f"{name}/{metric}", label) for metric, label in lines) for name in names}
    lead = (
        "Share of responses that each verifier accepted (reward 0.5 or more), and of those without one well-formed "
        "answer. Contradicting: pairs of accepted answers to one problem of which the verifier would refuse one, were "
        "the other the truth; shared: pairs of the same answer accepted for different truths. Both should be near 0: "
        "else the verifier is being cheated."
    )
    return _small_charts(run, "What the verifiers said", lead, charts)


def _small_charts(run: Run, title: str, lead: str, charts: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """A chart from 0 to 1 for each name, under the name's last part."""
    figures = []
    for name, metrics in sorted(charts.items()):
        short = name.rpartition("/")[2]
        lines = _lines(run, metrics)
        names = legend([(line.label, line.colour) for line in lines]) if len(lines) > 1 else ""
        chart = line_chart(lines, f"{title}: {short}", 0.0, 1.0, width=300, height=130)
        figures.append(f"<figure><h3>{escape(short)}</h3>{names}{chart}</figure>")
    return section(title, lead, grid(figures, columns=3)) if figures else ""


def _lines(run: Run, metrics: Sequence[tuple[str, str]]) -> list[Line]:
    named = [(label, *run.series(metric)) for metric, label in metrics]
    logged = [(label, x, y) for label, x, y in named if x]
    return [Line(label, x, y, COLOURS[place]) for place, (label, x, y) in enumerate(logged)]


def _drawn(lines: Sequence[Line], label: str, low: float | None = None, high: float | None = None) -> str:
    names = legend([(line.label, line.colour) for line in lines]) if len(lines) > 1 else ""
    return names + line_chart(lines, label, low, high)
