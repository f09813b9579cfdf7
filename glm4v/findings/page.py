"""The findings as a page of HTML that needs no network, as Markdown with plots beside it, and as a table to print."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean
from typing import Any

import rich.table

from glm4v.findings.plan import MIXES
from glm4v.findings.summary import Results
from glm4v.report.page import figure, grid, page, section
from glm4v.report.style import STYLE
from glm4v.report.svg import LEFT, WIDTH, Line, legend, line_chart

COLOURS = {
    "uniform": "var(--soft)",
    "dapo": "var(--control)",
    "thompson": "var(--good)",
    "weights": "var(--sft)",
    "rlcs": "var(--rlcs)",
}
OTHERS = ("var(--bad)", "var(--truth)", "var(--guess)")
NO_EVIDENCE = (
    "This is no evidence: a quick run of one seed, three domains and few rollouts, which shows that everything works. "
    "Differences below are noise."
)
HOW = (
    "Every run starts from the demo's SFT model, draws the same number of prompts a step and makes one update with "
    "them; every rollout that was drawn counts. Rewards are means over one sampled answer (temperature 1) to each "
    "held-out problem, by precise rules."
)
PARTIAL = " Seeds are missing: nothing can be concluded from this table, in which single seeds differ by noise alone."
TARGET = (
    "Share: the rollouts (or updates) after which a method reaches the end of uniform sampling, over uniform's own; "
    "both sides are read off curves fitted to all seeds from the common start on. Range: a seed left out at a time. "
    "Informative: groups whose rewards differ, of all that were drawn."
)


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Plot:
    """A chart; file: its name in Markdown's folder of plots."""

    file: str
    title: str
    meaning: str
    svg: str
    names: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """A headed part of the pages."""

    title: str
    lead: str
    plots: Sequence[Plot] = ()
    tables: Sequence[Grid] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def files(summary: dict[str, Any], results: Results) -> dict[str, str]:
    """All files by their paths: the page, the Markdown, its plots, and every run's figures."""
    parts = list(_parts(summary))
    plots = {f"findings/{plot.file}.svg": standalone(plot) for part in parts for plot in part.plots}
    return {
        "findings.html": html(summary, parts),
        "findings.md": markdown(summary, parts),
        "findings/results.json": json.dumps(results, indent=1),
        **plots,
    }


# what is said -------------------------------------------------------------------------------------------------------


def _lead(summary: dict[str, Any]) -> str:
    planned, finished = (sum(part[key] for part in summary["runs"].values()) for key in ("planned", "finished"))
    scale = ", ".join(f"{name} {value}" for name, value in summary["scale"].items())
    missing = "" if planned == finished else f"INCOMPLETE: {planned - finished} of {planned} runs were not made. "
    untuned = "" if summary["tuned"] else " All methods have the same learning rate: none was tuned."
    return f"{'' if summary['evidence'] else NO_EVIDENCE + ' '}{missing}{HOW} ({scale}.){untuned}"


def _parts(summary: dict[str, Any]) -> Iterator[Part]:
    for place, (title, found) in enumerate(summary["comparisons"].items()):
        partial = any(len(method["seeds"]) < len(summary["scale"]["seeds"]) for method in found["methods"].values())
        yield _comparison(title, found, (PARTIAL if partial else "") + ("" if place else f" {TARGET}"))
    if summary["precise"]:
        yield _precise(summary["precise"], summary["false alarms"])
    if summary["transfer"]:
        yield _transfer(summary["transfer"])
    if summary["tuning"]:
        rates = sorted({rate for by_rate in summary["tuning"].values() for rate in by_rate}, key=float)
        rows = [
            [method, *(f"{by_rate[rate]:.3f}" if rate in by_rate else "not run" for rate in rates)]
            for method, by_rate in summary["tuning"].items()
        ]
        lead = "Reward on validation problems, which are in no other figure; each method takes its best rate."
        yield Part("Learning rates", lead, tables=[Grid(["method", *rates], rows)])
    yield _runs(summary)


def _comparison(title: str, found: dict[str, Any], explained: str) -> Part:
    methods = found["methods"]
    names = [(name, _colour(name, place)) for place, name in enumerate(methods)]
    plots = []
    for axis in ("rollouts", "updates"):
        lines = []
        for name, colour in names:
            x, y = zip([0, found["start"]], *methods[name]["curve"][axis], strict=True)
            lines.append(Line(name, x, y, colour))
        low = min(value for line in lines for value in line.y)
        svg = line_chart(lines, f"held-out reward over {axis}: {title}", low=low, axis=axis)
        meaning = f"Held-out reward over {axis}, mean of the seeds."
        plots.append(
            Plot(f"{title.replace(': ', '_').replace(' ', '_')}_{axis}", f"{title}: {axis}", meaning, svg, names)
        )
    rows = [
        [
            name,
            ", ".join(map(str, method["seeds"])),
            f"{method['learning_rate']:g}",
            f"{method['informative']:.2f}",
            f"{method['final']:.3f} ({', '.join(f'{value:.3f}' for value in method['finals'])})",
            *(_share(method[axis]) for axis in ("rollouts", "updates")),
            _by_seed(method["rollouts"]["seeds"], methods["uniform"]["curve"]["rollouts"][-1][0]),
        ]
        for name, method in methods.items()
    ]
    head = ["method", "seeds", "rate", "informative", "final reward (by seed)", "share of rollouts", "share of updates"]
    lead = f"Reward at the start {found['start']:.3f}, at the end of uniform's fitted curve {found['target']:.3f}."
    table = Grid([*head, "rollouts to target, by seed"], rows)
    return Part(f"Informative rollouts: {title}", lead + explained, plots, [table])


def _share(figures: dict[str, Any]) -> str:
    low_high = f" ({_number(figures['range'][0])} .. {_number(figures['range'][1])})" if figures["range"] else ""
    return _number(figures["share"]) + low_high


def _number(share: float) -> str:
    return "no gain to reach" if math.isnan(share) else "not reached" if math.isinf(share) else f"{share:.2f}"


def _by_seed(shares: dict[str, float], length: float) -> str:
    return ", ".join(f"{share * length:,.0f}" if math.isfinite(share) else _number(share) for share in shares.values())


def _transfer(found: dict[str, Any]) -> Part:
    domains, gains = list(found["before"]), found["gains"]
    rows = [
        ["before", *(f"{found['before'][domain]:.3f}" for domain in domains), f"{fmean(found['before'].values()):.3f}"]
    ]
    for row, by_domain in gains.items():
        mean = f"{fmean(by_domain.values()):+.3f}"
        rows.append([f"{row} ({found['seeds'][row]})", *(f"{by_domain[domain]:+.3f}" for domain in domains), mean])
    lead = (
        "What was trained on (rows, with the number of seeds) and what that did to held-out reward (columns). At the "
        "same rollouts a run, a domain gets a share of them in the mix and all of them alone."
    )
    notes = [f"On the domain itself {found['own']:+.3f}, on the others {found['others']:+.3f} in the mean."]
    if found["all"] is not None:
        notes.append(f"All domains at once: {found['all']:+.3f} in the mean over domains.")
    matrix = _matrix(gains, domains)
    meaning = "Trained on (rows), evaluated on (columns): blue is a gain, red a loss, in hundredths of reward."
    plot = Plot("transfer", "Gains by domain", meaning, matrix, [])
    return Part("Multi-domain", lead, [plot], [Grid(["trained on", *domains, "mean"], rows)], notes)


def _matrix(gains: dict[str, dict[str, float]], columns: Sequence[str]) -> str:
    """A heat map of signed values; the largest has the full colour."""
    top = max(abs(gain) for row in gains.values() for gain in row.values()) or 1.0
    left, head, tall, wide = 84, 44, 20, (WIDTH - 84 - 24) / len(columns)
    texts = [
        f'<text transform="translate({left + (place + 0.4) * wide:.1f} {head - 5}) rotate(-35)">{escape(name)}</text>'
        for place, name in enumerate(columns)
    ]
    for line, (row, by_column) in enumerate(gains.items()):
        y = head + line * tall
        texts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(row)}</text>')
        for place, column in enumerate(columns):
            value, x = by_column[column], left + place * wide
            colour = "var(--accent)" if value > 0 else "var(--bad)"
            texts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{wide - 1:.1f}" height="{tall - 1}" fill="{colour}" '
                f'fill-opacity="{0.8 * abs(value) / top:.2f}"/>'
                f'<text x="{x + wide / 2:.1f}" y="{y + 14}" text-anchor="middle">{100 * value:+.0f}</text>'
            )
    height = head + tall * len(gains) + 4
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" style="max-width:{1.4 * WIDTH:.0f}px" '
        f'aria-label="gains by domain trained on and evaluated on">{"".join(texts)}</svg>'
    )


def _precise(found: dict[str, Any], false_alarms: Sequence[str]) -> Part:
    domain, before = found["domain"], found["before"]
    rows = [["before", f"{before['domain']:.3f}", f"{before['others']:.3f}", "", ""]]
    for seed, run in found["seeds"].items():
        if run["honest"]:
            honest = run["honest"]
            rows.append([f"seed {seed}, precise", f"{honest['domain']:.3f}", f"{honest['others']:.3f}", "", ""])
        earned = [point[3] for point in run["curves"]["careless"] if point[3] is not None]
        training = f"{earned[0]:.3f} to {earned[-1]:.3f}" if earned else ""
        alarm = "none" if run["first alarm"] is None else f"step {run['first alarm']}"
        careless = run["careless"]
        rows.append(
            [f"seed {seed}, careless", f"{careless['domain']:.3f}", f"{careless['others']:.3f}", training, alarm]
        )
    lead = (
        f"The verifier of {domain} is replaced by one that accepts the right answer anywhere: among several, inside a "
        "longer number, within a range. Rewards here are by the precise rules all the same. Alarm: the step at which "
        "the run's own metrics showed it (glm4v.report.anomaly)."
    )
    head = ["", domain, "other domains", "reward in training, from .. to", "alarm"]
    honest = f"Alarms in runs with precise verifiers: {', '.join(false_alarms) or 'none'}."
    return Part("Precise reward", lead, _cheating(found), [Grid(head, rows)], [honest])


def _cheating(found: dict[str, Any]) -> list[Plot]:
    """Over rollouts, in the mean of the seeds: what the verifier said, and what is true."""
    plots = []
    for kind, title in (("careless", "With the careless verifier"), ("honest", "With the precise one")):
        curves = [run["curves"][kind] for run in found["seeds"].values() if kind in run["curves"]]
        points = [list(zip(*at, strict=True)) for at in zip(*curves, strict=False)]  # [evaluations][figure][seeds]
        figures = (
            (1, f"{found['domain']}: true reward", "var(--rlcs)", found["before"]["domain"]),
            (2, "other domains: true reward", "var(--control)", found["before"]["others"]),
            (3, f"{found['domain']}: reward in training", "var(--bad)", None),
        )
        lines = []
        for place, name, colour, before in figures:
            drawn = [(fmean(point[0]), fmean(point[place])) for point in points if None not in point[place]]
            drawn = ([] if before is None else [(0.0, before)]) + drawn
            lines.append(Line(name, [x for x, _ in drawn], [y for _, y in drawn], colour))
        if curves:
            svg = line_chart(lines, title, 0.0, 1.0, axis="rollouts")
            meaning = "Held-out reward by precise rules, and what the run's own verifier gave to its rollouts."
            plots.append(Plot(f"precise_{kind}", title, meaning, svg, [(line.label, line.colour) for line in lines]))
    return plots


def _runs(summary: dict[str, Any]) -> Part:
    rows = [[part, str(runs["planned"]), str(runs["finished"])] for part, runs in summary["runs"].items()]
    missing = [name for runs in summary["runs"].values() for name in runs["missing"]]
    notes = [
        f"Not run: {', '.join(missing) or 'nothing'}.",
        f"Open ideas that the code does not support, not tried: {', '.join(summary['not tried'])}.",
    ]
    mixes = ", ".join(f"{name} {' / '.join(f'{s:.0%}' for s in shares)}" for name, shares in MIXES.items())
    lead = (
        f"{summary['hours']:.2f} hours of runs on {'; '.join(summary['machines'])}. Mixes of tiers, very easy to very "
        f"hard, fixed before any run: {mixes}."
    )
    return Part("Runs", lead, tables=[Grid(["part", "planned", "finished"], rows)], notes=notes)


def _colour(name: str, place: int) -> str:
    return COLOURS.get(name, OTHERS[place % len(OTHERS)])


# how it is written --------------------------------------------------------------------------------------------------


def html(summary: dict[str, Any], parts: Sequence[Part]) -> str:
    """One page that needs no network."""
    sections = []
    for part in parts:
        plots = [figure(plot.title, plot.meaning, legend(plot.names) + plot.svg) for plot in part.plots]
        body = (grid(plots) if plots else "") + "".join(map(_html_table, part.tables))
        notes = "".join(f"<p>{escape(note)}</p>" for note in part.notes)
        sections.append(section(part.title, part.lead, body + notes))
    title = "glm4v findings" if summary["evidence"] else "glm4v findings --quick: no evidence"
    return page(title, _lead(summary), sections, f"Written by {summary['command']}.")


def _html_table(table: Grid) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = [
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"
        for first, *texts in table.rows
    ]
    return (
        '<div style="overflow-x:auto;margin-top:16px"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def markdown(summary: dict[str, Any], parts: Sequence[Part]) -> str:
    """The same with plots by path; made by the command, so never edited by hand."""
    lines = ["# The three findings on the gym", "", f"Written by `{summary['command']}`.", "", _lead(summary), ""]
    for part in parts:
        lines += [f"## {part.title}", "", part.lead, ""]
        for plot in part.plots:
            lines += [f"![{plot.title}](findings/{plot.file}.svg)", ""]
        for table in part.tables:
            lines += [f"| {' | '.join(table.head)} |", "| --- |" + " ---: |" * (len(table.head) - 1)]
            lines += [f"| {' | '.join(row)} |" for row in table.rows] + [""]
        lines += [line for note in part.notes for line in (note, "")]
    return "\n".join(lines).rstrip()


def standalone(plot: Plot) -> str:
    """A chart as a file of its own: with the page's style, a white ground, and its names in their colours."""
    names, x = "", LEFT
    for name, colour in plot.names:
        names += f'<rect x="{x}" y="-16" width="10" height="10" fill="{colour}"/>'
        names += f'<text x="{x + 14}" y="-7">{escape(name)}</text>'
        x += 26 + 6 * len(name)  # about the width of a letter
    opening, rest = plot.svg.split(">", 1)
    width, height = opening.split('viewBox="0 0 ')[1].split('"')[0].split()
    opening = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"').replace(
        f"0 0 {width} {height}", f"0 -24 {width} {int(height) + 24}"
    )
    ground = f'<rect x="0" y="-24" width="{width}" height="{int(height) + 24}" fill="var(--card)"/>'
    return f"{opening}><style>{STYLE}</style>{ground}{names}{rest}"


def table(summary: dict[str, Any]) -> rich.table.Table:
    """The shares of all comparisons, for the terminal."""
    caption = (
        "no evidence: a quick run" if not summary["evidence"] else "share of uniform's rollouts to its final reward"
    )
    printed = rich.table.Table(title="informative rollouts", title_justify="left", caption=caption)
    for name in ("comparison", "method", "seeds", "final reward", "share of rollouts", "share of updates"):
        printed.add_column(name)
    for title, found in summary["comparisons"].items():
        for name, method in found["methods"].items():
            shares = [_share(method[axis]) for axis in ("rollouts", "updates")]
            printed.add_row(title, name, str(len(method["seeds"])), f"{method['final']:.3f}", *shares)
    return printed
