"""A summary as a table for the terminal: a row a domain, a column a tier."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def table(summary: Mapping[str, Any], title: str = "mean reward") -> Table:
    """The table of a summary (see `summarise`), to be printed by `rich`."""
    tiers = sorted({cell.rpartition("/")[2] for cell in summary["cells"]})
    grid = Table(title=title, caption="intervals: 95%, Wilson, over problems", title_justify="left")
    grid.add_column("domain")
    for tier in tiers:
        grid.add_column(f"tier {tier}" if tier else "no tier", justify="right")
    grid.add_column("all", justify="right", style="bold")
    grid.add_column("interval")
    grid.add_column("n", justify="right")
    for domain, cell in summary["domains"].items():
        by_tier = [summary["cells"].get(f"{domain}/{tier}") for tier in tiers]
        grid.add_row(domain, *(f"{tier['mean']:.3f}" if tier else "" for tier in by_tier), *_figures(cell))
    grid.add_section()
    grid.add_row("all", *("" for _ in tiers), *_figures(summary))
    return grid


def _figures(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = cell["ci95"]
    return f"{cell['mean']:.3f}", f"{low:.3f} - {high:.3f}", f"{cell['n']:,}"
