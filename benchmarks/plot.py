"""What `glm4v bench --plot` writes: one page of bars, an operator a card, and the curves of growth."""

from html import escape
from itertools import groupby
from typing import Any

from glm4v.benchmarks.harness import duration, megabytes
from glm4v.report.page import figure, grid, page, section
from glm4v.report.svg import Line, line_chart

STYLE = """<style>
.bench td, .bench th { text-align: left; padding: 2px 8px 2px 0; white-space: nowrap; }
.bench td.bar { width: 30%; min-width: 110px; }
.bench td.bar i { display: block; height: 10px; border-radius: 2px; background: var(--accent); }
.bench td.bar i.slow { background: var(--bad); }
.scroll { overflow-x: auto; }
.stack { display: grid; gap: 20px; }
</style>"""
TOP_RATIO = 10.0  # a full bar


def draw(result: dict[str, Any]) -> str:
    """A page that needs no network, of what `glm4v.benchmarks.run` returned."""
    machine = result["machine"]
    products = ", ".join(f"{rate:.0f} GFLOP/s {dtype}" for dtype, rate in machine["products"].items())
    lead = (
        f"{machine['processor']}, {machine['instruction_set']}, {machine['threads']} thread(s), "
        f"{machine['clock']} clock, torch {machine['torch']}. Measured before: matrix products {products}, "
        f"copy {machine['copy']:.0f} GB/s."
    )
    rows = sorted(result["rows"], key=lambda row: row["operator"])  # stable: the order of a script stays
    cards = [card(name, list(group)) for name, group in groupby(rows, key=lambda row: row["operator"])]
    parts = [STYLE]
    if cards:
        explained = (
            f"Ratio: the peer's time over ours, a full bar is {TOP_RATIO:g}x, red below 1. Ceiling: the share of what "
            "the machine's copies and matrix products allow. Memory: beyond the inputs, results included."
        )
        parts.append(section("Operators and model", explained, f'<div class="stack">{"".join(cards)}</div>'))
    if curves := [chart(curve) for curve in result.get("growth", [])]:
        explained = "Time of forward and backward; the pale line is what the smallest size predicts for the others."
        parts.append(section("Growth", explained, grid(curves, columns=3)))
    return page("glm4v bench", lead, parts, "written by glm4v bench --plot")


def card(operator: str, rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        colour = ' class="slow"' if row["ratio"] < 1 else ""
        ratio, ceiling = min(row["ratio"] / TOP_RATIO, 1), min(row["share_of_ceiling"], 1)
        of_ceiling = f"{row['share_of_ceiling']:.0%}" if row["share_of_ceiling"] else ""
        lines.append(
            f"<tr><td>{escape(row['direction'])}</td><td>{row['dtype']}</td><td>{escape(row['shape'])}</td>"
            f'<td class="bar"><i{colour} style="width:{ratio:.1%}"></i></td><td>{row["ratio"]:.2f}x</td>'
            f'<td class="bar"><i style="width:{ceiling:.1%}"></i></td><td>{of_ceiling}</td>'
            f"<td>{duration(row['seconds'])}</td><td>{megabytes(row['memory'])}</td></tr>"
        )
    head = "".join(
        f"<th{span}>{name}</th>"
        for name, span in (
            ("", ""), ("type", ""), ("shape", ""), ("ratio", ' colspan="2"'), ("ceiling", ' colspan="2"'), ("time", ""),
            ("memory", ""),
        )
    )  # fmt: skip
    body = f'<div class="scroll"><table class="bench"><tr>{head}</tr>{"".join(lines)}</table></div>'
    return figure(operator, f"against {', '.join(sorted({row['peer'] for row in rows}))}", body)


def chart(curve: dict[str, Any]) -> str:
    sizes, milliseconds = curve["sizes"], [1e3 * s for s in curve["seconds"]]
    predicted = [milliseconds[0] * work / curve["work"][0] for work in curve["work"]]
    lines = [Line("predicted", sizes, predicted, "var(--untrained)"), Line("measured", sizes, milliseconds)]
    drawn = line_chart(
        lines, f"{curve['operator']} over {curve['axis']}", 0.0, width=300, height=150, axis=curve["axis"]
    )
    return figure(curve["operator"], f"ms; off its line by {curve['deviation']:.0%} at most", drawn)
