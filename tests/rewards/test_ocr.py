"""Reading: graded by edits, with nothing for several readings, look-alikes or the question."""

import pytest

from glm4v.rewards import verify


@pytest.mark.parametrize(
    ("prediction", "truth", "reward"),
    [
        ("12345", "12345", 1.0),
        ("1 2 3 4 5", "12345", 1.0),
        ("OPEN daily", "OPEN  daily", 1.0),
        ("１２３", "123", 1.0),
        ("12340", "12345", 0.8),
        ("1234", "12345", 0.8),
        ("123456", "12345", 1 - 1 / 6),
        ("open", "OPEN", 0.0),
        ("12", "12345", 0.4),
        ("1", "12345", 0.2),
        ("54321", "12345", 0.2),
        ("78", "7", 0.0),
        ("12345 or 12346", "12345", 0.0),
        ("0-9", "57", 0.0),
        ("ОPЕN", "OPEN", 0.0),
        ("𝟏𝟐𝟑", "123", 0.0),
        ("wholly unlike this", "Fresh bread daily", 0.0),
    ],
)
def test_rewards(prediction: str, truth: str, reward: float) -> None:
    assert verify("ocr", prediction, truth) == pytest.approx(reward)


def test_the_question_is_not_the_text() -> None:
    assert verify("ocr", "Read the text", "Read the rules", "Read the text.") == 0.0
    assert verify("ocr", "Read the rules", "Read the rules", "Read the rules") == 1.0
    assert verify("ocr", "Heed the rules", "Read the rules", "Read the text.") == pytest.approx(1 - 2 / 12)
