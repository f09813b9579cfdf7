"""Charts: ticks, numbers, smoothing, and marks at the right places."""

import re
from xml.etree import ElementTree

import pytest

from glm4v.report.svg import (
    LEFT,
    MAX_POINTS,
    RIGHT,
    WIDTH,
    Bar,
    Line,
    bar_chart,
    heat_map,
    legend,
    line_chart,
    number,
    smooth,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1.0]),
        (0, 4.7, [0, 2, 4, 6]),
        (0.41, 0.69, [0.4, 0.5, 0.6, 0.7]),
        (0, 0, [0, 0.5]),
        (3, 3, [3, 4]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (12, "12"), (1500, "1.5k"), (2e-5, "2e-05"), (3e6, "3e+06"), (-0.5, "-0.5")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_smooth_keeps_short_series_and_constants() -> None:
    assert smooth([1.0, 5.0, 2.0]) == [1.0, 5.0, 2.0]
    assert smooth([2.0] * 100) == pytest.approx([2.0] * 100)
    zigzag = smooth([0.0, 1.0] * 60)
    assert max(zigzag[10:-10]) - min(zigzag[10:-10]) < 0.2


def test_a_line_goes_from_corner_to_corner() -> None:
    svg = line_chart([Line("loss", [1, 2, 3], [0.0, 0.5, 1.0], "red")], "loss", 0.0, 1.0, height=200)
    root = ElementTree.fromstring(svg)
    [path] = [element for element in root if element.get("class") == "line"]
    points = [tuple(map(float, point.split())) for point in path.get("d", "")[1:].split("L")]
    assert points == [(LEFT, 170.0), ((LEFT + WIDTH - RIGHT) / 2, 89.0), (WIDTH - RIGHT, 8.0)]
    assert path.get("stroke") == "red"
    assert root.get("aria-label") == "loss"


def test_long_lines_are_binned_and_short_ones_are_points() -> None:
    long = line_chart([Line("x", range(5000), [float(i) for i in range(5000)])], "x")
    assert all(path.count("L") < MAX_POINTS for path in re.findall(r'd="M([^"]*)"', long))
    assert "<circle" in line_chart([Line("x", [7], [0.5])], "x")


def test_no_values_are_said_so() -> None:
    assert "nothing was logged" in line_chart([Line("x", [], [])], "x")


def test_bars_are_as_long_as_their_values() -> None:
    bars = {"a & b": [Bar(0.5, 0.4, 0.6, "red"), Bar(1.0, 0.9, 1.0, "blue")]}
    root = ElementTree.fromstring(bar_chart(bars, "bars"))
    half, whole = (float(element.get("width", 0)) for element in root if element.tag == "rect")
    assert whole == pytest.approx(2 * half, abs=0.1)
    assert next(element.text for element in root if element.tag == "text") == "a & b"


def test_the_largest_value_of_a_heat_map_has_the_full_colour() -> None:
    root = ElementTree.fromstring(heat_map({"sums": [[0.0, 0.2], [0.1, 0.4]]}, [1, 9], "map"))
    opacities = [float(element.get("fill-opacity", 0)) for element in root.iter("rect")]
    assert opacities == [0.04, 0.52, 0.28, 1.0]
    assert "step 9" in [element.text for element in root.iter("text")]


def test_legend_escapes_names() -> None:
    assert "a &lt; b" in legend([("a < b", "red")])
