"""Charts as inline SVG: lines with axes, grouped bars with intervals, and heat maps. Colours are the page's variables.

All are drawn in units of which WIDTH fit the page's column, so that 11 units of text stay readable on a telephone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 440
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 30  # around the plot of a line chart
MAX_POINTS = 400  # of a line; more are averaged in bins


@dataclass(frozen=True)
class Line:
    """A line of a chart; colour: a CSS colour such as "var(--accent)"."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "var(--accent)"


@dataclass(frozen=True)
class Bar:
    """A bar of a group, with the ends of its interval."""

    value: float
    low: float
    high: float
    colour: str


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) from below `low` to above `high`."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / count))
    step = power * next(factor for factor in (1, 2, 5, 10) if span / count <= factor * power * 1.0001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def number(value: float) -> str:
    """A number as axes show it: 0.25, 12, 1.5k, 2e-05."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.0e}"
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


def smooth(values: Sequence[float]) -> list[float]:
    """A centred moving mean over a 24th of the values on both sides."""
    reach = len(values) // 24
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = [(max(0, i - reach), min(len(values), i + reach + 1)) for i in range(len(values))]
    return [(sums[stop] - sums[start]) / (stop - start) for start, stop in ends]


def line_chart(
    lines: Sequence[Line],
    label: str,
    low: float | None = None,
    high: float | None = None,
    width: int = WIDTH,
    height: int = 200,
    axis: str = "step",
) -> str:
    """Lines over steps or what else `axis` says. Noisy ones are drawn faint under their moving mean.

    Args:
        label: what the chart shows, for screen readers.
        low, high: ends of the y axis; by default from the values, and 0 where that is near.
    """
    drawn = [Line(line.label, *_binned(line.x, line.y), line.colour) for line in lines if len(line.x)]
    if not drawn:
        return '<p class="empty">nothing was logged</p>'
    values, steps = ([v for line in drawn for v in line.y], [x for line in drawn for x in line.x])
    if low is None:
        low = 0.0 if 0 <= min(values) < 0.5 * max(values) else min(values)
    y_ticks = ticks(low, max(values) if high is None else high)
    plot = _Plot(min(steps), max(max(steps), min(steps) + 1), y_ticks, width, height, axis)
    parts = plot.axes()
    for line in drawn:
        trend = smooth(line.y)
        if trend != list(line.y):
            parts.append(plot.path(line.x, line.y, line.colour, "faint"))
        parts.append(plot.path(line.x, trend, line.colour, "line"))
    return _svg(parts, height, label, "lines", width)


@dataclass(frozen=True)
class _Plot:
    """Where steps and values lie in a line chart."""

    first: float
    last: float
    y_ticks: list[float]
    width: int
    height: int
    axis: str

    def x(self, step: float) -> float:
        return LEFT + (step - self.first) / (self.last - self.first) * (self.width - RIGHT - LEFT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - BOTTOM - TOP)

    def axes(self) -> list[str]:
        right, bottom, parts = self.width - RIGHT, self.height - BOTTOM, []
        for tick in self.y_ticks:
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{number(tick)}</text>')
        steps = [tick for tick in ticks(self.first, self.last, 5) if self.first <= tick <= self.last and tick % 1 == 0]
        for tick in steps:
            parts.append(f'<text x="{self.x(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{number(tick)}</text>')
        return [
            *parts,
            f'<text class="axis" x="{right}" y="{self.height - 2}" text-anchor="end">{escape(self.axis)}</text>',
        ]

    def path(self, steps: Sequence[float], values: Sequence[float], colour: str, kind: str) -> str:
        points = [(self.x(step), self.y(value)) for step, value in zip(steps, values, strict=True)]
        if len(points) == 1:
            return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{colour}"/>'
        return f'<path class="{kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" stroke="{colour}"/>'


def bar_chart(groups: Mapping[str, Sequence[Bar]], label: str) -> str:
    """Groups of horizontal bars from 0 to 1, one below the other, each with its interval as a thin line."""
    thick, gap, left, right = 9, 12, 84, WIDTH - RIGHT
    parts, y = [], 4.0
    for name, bars in groups.items():
        middle = y + thick * len(bars) / 2
        parts.append(f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for bar in bars:
            low, end, high = (left + value * (right - left) for value in (bar.low, bar.value, bar.high))
            parts.append(
                f'<rect x="{left}" y="{y + 0.5:.1f}" width="{max(end - left, 1):.1f}" height="{thick - 1}" rx="1.5" '
                f'fill="{bar.colour}"/><path class="whisker" d="M{low:.1f} {y + thick / 2:.1f}H{high:.1f}"/>'
            )
            y += thick
        y += gap
    grid = [f'<path class="grid" d="M{left + share * (right - left):.1f} 0V{y:.1f}"/>' for share in (0, 0.5, 1)]
    marks = [
        f'<text x="{left + share * (right - left):.1f}" y="{y + 12:.1f}" text-anchor="middle">{share:g}</text>'
        for share in (0, 0.5, 1)
    ]
    return _svg(grid + parts + marks, int(y) + 18, label, "bars")


def heat_map(rows: Mapping[str, Sequence[Sequence[float]]], steps: Sequence[float], label: str) -> str:
    """Bands of rows by name, each row a list of values over steps; the largest value has the full colour."""
    tall, gap, left = 6, 5, 84
    top = max((value for band in rows.values() for row in band for value in row), default=0.0) or 1.0
    parts, y = [], 2.0
    for name, band in rows.items():
        middle = y + tall * len(band) / 2 + 4
        parts.append(f'<text x="{left - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for row in band:
            # rounded once, so that neighbours share an edge and no seam shows
            edges = [round(left + i * (WIDTH - RIGHT - left) / len(row), 1) for i in range(len(row) + 1)]
            parts += [
                f'<rect x="{edges[i]}" y="{y:.0f}" width="{edges[i + 1] - edges[i]:.1f}" height="{tall - 0.5}" '
                f'fill-opacity="{0.04 + 0.96 * value / top:.2f}"/>'
                for i, value in enumerate(row)
            ]
            y += tall
        y += gap
    ends = ((left, "start", steps[0]), (WIDTH - RIGHT, "end", steps[-1]))
    marks = [f'<text x="{x}" y="{y + 10:.0f}" text-anchor="{a}">step {number(step)}</text>' for x, a, step in ends]
    return _svg([f'<g fill="var(--accent)" class="heat">{"".join(parts)}</g>', *marks], int(y) + 14, label, "lines")


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Names beside their colours, as HTML: (name, CSS colour)."""
    items = "".join(f'<li><i style="background:{colour}"></i>{escape(name)}</li>' for name, colour in entries)
    return f'<ul class="legend">{items}</ul>'


def _binned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most MAX_POINTS points: means over bins of neighbours."""
    size = -(-len(x) // MAX_POINTS)
    starts = range(0, len(x), size)
    return [sum(x[i : i + size]) / len(x[i : i + size]) for i in starts], [
        sum(y[i : i + size]) / len(y[i : i + size]) for i in starts
    ]


def _svg(parts: Sequence[str], height: int, label: str, kind: str, width: int = WIDTH) -> str:
    opening = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return f"{opening}{''.join(parts)}</svg>"
