"""Moments of a video."""

import pytest

from glm4v.rewards import verify
from glm4v.rewards.video_time import seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3.5", 3.5),
        ("3 s", 3),
        ("3 seconds", 3),
        ("at second 3", 3),
        ("at 3 seconds.", 3),
        ("0:03", 3),
        ("00:01:03", 63),
        ("1:02.5", 62.5),
        ("three", 3),
        ("the 3rd second", None),
        ("second three", 3),
        ("3-5", None),
        ("3 or 4", None),
        ("-3", None),
        ("1:75", None),
        ("soon", None),
        ("3" * 70, None),
    ],
)
def test_seconds(text: str, value: float | None) -> None:
    assert seconds(text) == value


def test_tolerance() -> None:
    assert verify("video_time", "3.5", "3") == 1.0
    assert verify("video_time", "4", "3") == 0.0
    assert verify("video_time", "4", {"answer": 3, "tolerance": 1}) == 1.0
    assert verify("video_time", "4", {"second": 3, "tolerance": 1}) == 1.0
    assert verify("video_time", "5", {"second": 3, "tolerance": 1}) == 0.0


def test_a_truth_that_is_no_moment_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected seconds"):
        verify("video_time", "3", "soon")
