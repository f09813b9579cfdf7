"""Screen actions."""

import pytest

from glm4v.rewards import verify
from glm4v.rewards.actions import Action, parse_action

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
        "click(90, 200, 400, 500)",
        "click(400, 500, 100, 200)",
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
    assert verify("gui", 'type("Hello")', truth) == 1.0
    assert verify("gui", '{"action": "type", "text": "Hello"}', truth) == 1.0
    assert verify("gui", 'type("hello")', truth) == 0.0
    assert verify("gui", "type('help')", truth) == 0.0
    assert verify("gui", "back", {"action": "back"}) == 1.0


def test_parse_action() -> None:
    assert parse_action('type([512, 300], "a, b")') == Action("type", (512.0, 300.0), ("a, b",))
    assert parse_action("press_back") == Action("back", (), ())
    assert parse_action("click(1, 2" + " " * 600) is None
    assert parse_action("x" * 2000) is None
    assert parse_action("press(ctrl+c)") == Action("hotkey", (), ("ctrl+c",))
    point = parse_action('{"action": "tap", "point": {"x": 1, "y": "2"}}')
    assert point == Action("click", (1.0, 2.0), ())
    assert point.point == (1.0, 2.0)


@pytest.mark.parametrize(
    ("truth", "right", "wrong"),
    [
        (
            {"action": "scroll", "direction": "down"},
            ["scroll(down)", "scroll_down()", "向下滚动"],
            ["scroll(up)", "scroll()"],
        ),
        (
            {"action": "press", "key": "enter"},
            ["press(Return)", "key('enter')", "press_enter()"],
            ["press(tab)", "type('enter')"],
        ),
        (
            {"action": "hotkey", "keys": ["ctrl", "c"]},
            ["hotkey(ctrl, c)", "press('Ctrl+C')"],
            ["hotkey(ctrl, v)", "press(c)"],
        ),
        (
            {"action": "open_app", "app": "Google Maps"},
            ["open_app(Google Maps)", "打开('google maps')"],
            ["open_app('Maps')"],
        ),
        (
            {"action": "drag", "from": [0, 0, 9, 9], "to": [50, 50, 90, 90]},
            [
                "drag(5, 5, 60, 60)",
                "drag from (5, 5) to (60, 60)",
                '{"action": "drag", "from": [5, 5], "to": [60, 60]}',
            ],
            ["drag(60, 60, 5, 5)", "drag(5, 5)", "click(5, 5)"],
        ),
        ({"action": "wait"}, ["wait()", "wait(2)", "等待"], ["back()", "click(1, 1)"]),
        (
            {"action": "right_click", "box": [0, 0, 9, 9]},
            ["rightClick(1, 2)", "click(1, 2, button='right')"],
            ["click(1, 2)"],
        ),
    ],
)
def test_actions(truth: dict, right: list[str], wrong: list[str]) -> None:
    assert [verify("gui", answer, truth) for answer in right] == [1.0] * len(right)
    assert [verify("gui", answer, truth) for answer in wrong] == [0.0] * len(wrong)


def test_a_truth_without_an_action_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected"):
        verify("gui", "click(1, 2)", {"box": [1, 2, 3, 4]})
