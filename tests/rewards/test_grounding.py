"""Grounding: IoU of the one box, F1 over several."""

import pytest

from glm4v.rewards import verify

ONE = "[[100, 100, 300, 300]]"
TWO = {"boxes": [[100, 100, 300, 300], [600, 600, 800, 800]]}


@pytest.mark.parametrize(
    ("prediction", "truth", "reward"),
    [
        (ONE, ONE, 1.0),
        ("[100,100,300,300]", {"box": [100, 100, 300, 300]}, 1.0),
        ("[[100, 100, 300, 200]]", ONE, 0.5),
        ("[[500, 500, 600, 600]]", ONE, 0.0),
        ("[[0, 0, 1000, 1000]]", "[[0, 0, 1000, 700]]", 0.0),
        ("[[0, 0, 1000, 1000]]", "[[0, 0, 1000, 900]]", 0.9),
        (f"{ONE}, [500, 500, 600, 600]", ONE, 0.0),
        ("[[100,100,300,300],[600,600,800,800]]", TWO, 1.0),
        ("[[600,600,800,790],[110,100,300,300]]", TWO, 1.0),
        ("[[100,100,300,300]]", TWO, 2 / 3),
        ("[[100,100,300,300],[600,600,800,650]]", TWO, 0.5),
        ("[[100,100,300,300],[100,100,300,301]]", TWO, 0.5),
        ("[[100,100,300,300],[600,600,800,800],[0,0,9,9]]", TWO, 0.8),
        ("[[100,100,300,300],[600,600,800,800],[0,0,9,9],[1,1,9,9]]", TWO, 0.0),
        ("the red circle", ONE, 0.0),
    ],
)
def test_rewards(prediction: str, truth: str | dict, reward: float) -> None:
    assert verify("grounding", prediction, truth) == pytest.approx(reward)


@pytest.mark.parametrize("truth", ["somewhere", {"answer": "left"}, {"boxes": []}])
def test_a_truth_without_boxes_is_an_error(truth: str | dict) -> None:
    with pytest.raises(ValueError, match="holds no box"):
        verify("grounding", ONE, truth)
