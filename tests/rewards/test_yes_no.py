"""Yes or no."""

import pytest

from glm4v.rewards import verify
from glm4v.rewards.yes_no import polarity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", True),
        ("yes.", True),
        ("True", True),
        ("是", True),
        ("Yes, there is.", True),
        ("no", False),
        ("No, it isn't.", False),
        ("No, it is not.", False),
        ("没有", False),
        ("yes and no", None),
        ("yes or no", None),
        ("Yes, it is not.", None),
        ("no, yes", None),
        ("maybe", None),
        ("yesterday", None),
        ("not no", None),
        ("yes, perhaps", None),
    ],
)
def test_polarity(text: str, value: bool | None) -> None:
    assert polarity(text) is value


def test_words_of_the_question_may_be_said_again() -> None:
    question = "Is there a dog in the picture, yes or no?"
    assert verify("yes_no", "Yes, there is a dog in the picture.", "yes", question) == 1.0
    assert verify("yes_no", "Yes or no.", "yes", question) == 0.0
    assert verify("yes_no", "Yes, there is a cat.", "yes", question) == 0.0
    assert verify("yes_no", "No.", "yes", question) == 0.0
