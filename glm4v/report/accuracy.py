"""What evaluations found: rewards by domain as bars, by domain and tier as heat tables."""

from collections.abc import Sequence
from html import escape
from typing import Any

from glm4v.report.headline import colours
from glm4v.report.page import figure, grid, section
from glm4v.report.run import Evaluated
from glm4v.report.svg import Bar, bar_chart, legend


def accuracy(evaluations: Sequence[Evaluated]) -> str:
    """Bars by domain beside heat tables by domain and tier."""
    if not evaluations:
        return ""
    lead = "Mean reward of one answer to each of the problems that were never trained on: 1 is all right, 0 all wrong."
    return section("What it can do", lead, grid([_bars(evaluations), _heat_tables(evaluations)]))


def _bars(evaluations: Sequence[Evaluated]) -> str:
    palette = colours(evaluations)

    def bar(name: str, cell: dict[str, Any]) -> Bar:
        low, high = cell["ci95"]
        return Bar(cell["mean"], low, high, palette[name])

    groups = {"all": [bar(each.name, each.summary) for each in evaluations]}
    for domain in sorted({domain for each in evaluations for domain in each.summary["domains"]}):
        tested = [each for each in evaluations if domain in each.summary["domains"]]
        groups[domain] = [bar(each.name, each.summary["domains"][domain]) for each in tested]
    names = legend([(each.title, palette[each.name]) for each in evaluations])
    meaning = "A bar a stage. The thin line is its 95% interval: Wilson's, over problems."
    return figure("Reward by domain", meaning, names + bar_chart(groups, "mean reward by domain and stage"))


def _heat_tables(evaluations: Sequence[Evaluated]) -> str:
    meaning = "Mean reward in percent after each stage. Tiers go from very easy (left) to very hard."
    tables = "".join(_heat_table(each) for each in evaluations)
    return figure("Reward by domain and tier", meaning, f'<div class="heats">{tables}</div>')


def _heat_table(evaluated: Evaluated) -> str:
    cells = evaluated.summary["cells"]
    tiers = sorted({cell.rpartition("/")[2] for cell in cells})
    head = "".join(f"<th>{escape(tier)}</th>" for tier in tiers)
    rows = []
    for domain, mean in evaluated.summary["domains"].items():
        boxes = "".join(_box(cells.get(f"{domain}/{tier}")) for tier in tiers)
        rows.append(f"<tr><th>{escape(domain)}</th>{boxes}{_box(mean)}</tr>")
    caption = f"<caption>{escape(evaluated.title)}</caption>"
    return f"<table>{caption}<thead><tr><th></th>{head}<th>all</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _box(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "<td></td>"
    ink = "var(--on-accent)" if cell["mean"] > 0.7 else "var(--ink)"
    shade = f"color-mix(in srgb, var(--accent) {4 + 92 * cell['mean']:.0f}%, transparent)"
    return f'<td style="background:{shade};color:{ink}">{100 * cell["mean"]:.0f}</td>'
