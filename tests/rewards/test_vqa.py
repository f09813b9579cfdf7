"""Short open answers."""

import pytest

from glm4v.rewards import verify


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("red", "red"),
        ("Red.", "red"),
        ("the red", "red"),
        ("grey", "gray"),
        ("Gray", "grey"),
        ("two", "2"),
        ("3", "three"),
        ("red square", "a red square"),
    ],
)
def test_right(prediction: str, truth: str) -> None:
    assert verify("vqa", prediction, truth) == 1.0


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("blue", "red"),
        ("red or blue", "red"),
        ("red blue", "red"),
        ("red/blue", "red"),
        ("reddish", "red"),
        ("rеd", "red"),
        ("the", "a"),
        ("square", "red square"),
    ],
)
def test_wrong(prediction: str, truth: str) -> None:
    assert verify("vqa", prediction, truth) == 0.0


def test_other_accepted_answers() -> None:
    truth = {"answer": "sofa", "accept": ["couch"]}
    assert verify("vqa", "a couch", truth) == verify("vqa", "Sofa", truth) == 1.0
    assert verify("vqa", "chair", truth) == 0.0
