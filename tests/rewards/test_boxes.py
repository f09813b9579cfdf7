"""Boxes as text, their overlap, points inside."""

import pytest

from glm4v.rewards.boxes import Box, parse_boxes


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2,3,4],[5,6,7,8]]",
        "[1, 2, 3, 4], [5, 6, 7, 8]",
        "[1,2,3,4] [5,6,7,8]",
        "[[1,2,3,4],\n [5,6,7,8]]",
        "1. (1,2), (3,4)\n2. (5,6), (7,8)",
        '[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]',
        "cup 1: [1,2,3,4] and cup 2: [5 6 7 8]",
        "<box>1,2,3,4</box><box>5,6,7,8</box>",
    ],
)
def test_parse(text: str) -> None:
    assert parse_boxes(text) == [Box(1, 2, 3, 4), Box(5, 6, 7, 8)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[[]]",
        "[1,2,3]",
        "[1,2,3,4,5]",
        "[[1,2,3,4]",
        "[3,2,1,4]",
        "[1,2,1,4]",
        "[1,2,3,1001]",
        "[-1,2,3,4]",
        "[1,2,3,4] or [1,2,3,5]",
        "[1,2,3,4] 5 times",
        "[1-2,2,3,4]",
        "[1,2,3,4];" * 65,
        "[1,2,3,4]" * 65,
        "[nan,2,3,4]",
        "[1e1,2,3,4]",
    ],
)
def test_refused(text: str) -> None:
    assert parse_boxes(text) is None


def test_iou() -> None:
    box = Box(0, 0, 100, 100)
    assert box.iou(box) == 1.0
    assert box.iou(Box(50, 0, 150, 100)) == pytest.approx(1 / 3)
    assert box.iou(Box(100, 0, 200, 100)) == 0.0
    assert box.iou(Box(25, 25, 75, 75)) == pytest.approx(0.25)


def test_holds_its_border() -> None:
    assert Box(10, 10, 20, 20).holds(10, 20)
    assert not Box(10, 10, 20, 20).holds(9.9, 15)
