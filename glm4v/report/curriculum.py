"""The curriculum at work: how often each cell of domain and tier was drawn, and what the model could do there."""

from collections import defaultdict
from itertools import pairwise

from glm4v.report.page import figure, grid, section
from glm4v.report.run import Run
from glm4v.report.svg import heat_map

COLUMNS = 44  # of a heat map; steps between are averaged


def curriculum(run: Run) -> str:
    """Heat maps of draws and of pass rates over steps; nothing for a run without a curriculum."""
    figures = []
    for prefix, title, meaning in (
        (
            "weight",
            "Where problems are drawn from",
            "The stronger the colour, the larger the share of draws. Within a domain, tiers go from very easy (top) to "
            "very hard. What is always right or always wrong fades; the middle is drawn most.",
        ),
        (
            "pass_rate",
            "What the model is thought to get right",
            "The estimated pass rate that those weights follow. Colour that spreads downwards within a domain is a "
            "model that learns harder tiers.",
        ),
    ):
        bands, steps = _bands(run, prefix)
        if bands:
            figures.append(figure(title, meaning, heat_map(bands, steps, title)))
    lead = (
        "Curriculum sampling gives the effort to problems that the model solves sometimes: there it has most to learn."
    )
    return section("The curriculum moves with the model", lead, grid(figures)) if figures else ""


def _bands(run: Run, prefix: str) -> tuple[dict[str, list[list[float]]], list[float]]:
    """A row a cell in a band a domain, values averaged into COLUMNS bins; and the first and last step."""
    bands: dict[str, list[list[float]]] = defaultdict(list)
    ends: list[float] = []
    for name in sorted(run.names(prefix, depth=2)):
        steps, values = run.series(name)
        bins = min(COLUMNS, len(values))
        cuts = [i * len(values) // bins for i in range(bins + 1)]
        row = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
        bands[name.split("/")[1]].append(row)
        ends = [steps[0], steps[-1]]
    return dict(bands), ends
