"""Screen actions."""

import pytest

from glm4v.rewards import verify
from glm4v.rewards.gui import Action, parse_action

CLICK = {"action": "click", "box": [100, 200, 400, 500]}


@pytest.mark.parametrize(
    "prediction", ["click(250, 350)", "click [250, 350]", "click([[250,350]])", "Click (250.5, 350)", "tap(100, 200)"]
)
def test_right(prediction: str) -> None:
    assert verify("gui", prediction, CLICK) == 1.0
    assert verify("gui", prediction, "click [100, 200, 400, 500]") == 1.0


@pytest.mark.parametrize(
    "prediction",
    [
        "click(50, 350)",
        "click",
        "click()",
        "scroll(250, 350)",
        "(250, 350)",
        "click(100, 200, 400, 500)",
        "click(250, 350), click(1, 1)",
        "click(250, 350) or scroll",
        "click 250 350",
        "doubleclick(250,350)",
    ],
)
def test_wrong(prediction: str) -> None:
    assert verify("gui", prediction, CLICK) == 0.0


def test_text_is_compared_where_the_truth_has_one() -> None:
    truth = {"action": "type", "text": "Hello"}
    assert verify("gui", 'type("hello")', truth) == 1.0
    assert verify("gui", "type('help')", truth) == 0.0
    assert verify("gui", "back", {"action": "back"}) == 1.0


def test_parse_action() -> None:
    assert parse_action('type([512, 300], "a, b")') == Action("type", (512.0, 300.0), "a, b")
    assert parse_action("press_back") == Action("press_back", None, "")
    assert parse_action("click(1, 2" + " " * 600) == Action("click", (1.0, 2.0), "")
    assert parse_action("x" * 600) is None


def test_a_truth_without_an_action_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected"):
        verify("gui", "click(1, 2)", {"box": [1, 2, 3, 4]})
