"""Mathematics: forms of the right value, near misses, and work left undone."""

import pytest

from glm4v.rewards import explain, verify

HALF_FORMS = [
    "0.5",
    "1/2",
    ".5",
    "0.50",
    r"\frac{1}{2}",
    r"$\frac{1}{2}$",
    "½",
    "50%",
    r"50\%",
    "5e-1",
    "5×10⁻¹",
    "x = 1/2",
    "2/4",
]


@pytest.mark.parametrize("prediction", HALF_FORMS)
@pytest.mark.parametrize("truth", ["0.5", "1/2", r"\frac{1}{2}"])
def test_forms_of_a_half(prediction: str, truth: str) -> None:
    assert verify("math", prediction, truth) == 1.0


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("8", 8),
        ("8.0", "8"),
        ("1,234", "1234"),
        ("−3", "-3"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        ("√12", "2√3"),
        ("3.14159", r"\pi"),
        (r"\frac{\pi}{2}", "1.570796"),
        ("0.333333", "1/3"),
        ("3+5 = 8", "8"),
        ("2^10 = 1024", "1024"),
        ("5 cm", "5 cm"),
        ("5", "5 cm"),
        ("3+5", "4*2"),
        ("90°", "90°"),
        ("$12.50", "12.5"),
        ("50", "50%"),
        ("x^2 + 1", "x^2+1"),
        ("(1, 2)", "(1,2)"),
    ],
)
def test_right_values(prediction: str, truth: str | int) -> None:
    assert verify("math", prediction, truth) == 1.0, explain("math", prediction, truth)


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("8.01", "8"),
        ("1000001", "1000000"),
        ("0.3333", "1/3"),
        ("3.14", r"\pi"),
        ("-5", "5"),
        ("5 m", "5 cm"),
        ("5 million", "5"),
        ("2x", "2"),
        ("0.5%", "0.5"),
        ("50%", "50"),
        ("12", "1.2"),
        ("1,2", "12"),
        ("3 5", "8"),
        ("7 or 8", "8"),
        ("7, 8", "8"),
        ("8 = 9", "9"),
        ("3+5 = 9", "9"),
        ("≈8", "8"),
        ("<9", "8"),
        ("[8]+-1", "8"),
        ("x^2+2", "x^2+1"),
        ("1" * 300, "1"),
    ],
)
def test_wrong_values(prediction: str, truth: str) -> None:
    assert verify("math", prediction, truth) == 0.0


def test_work_left_undone_is_no_answer() -> None:
    assert verify("math", "3+5", "8", "What is 3 + 5?") == 0.0
    assert verify("math", "5+3", "8", "What is 3 + 5?") == 0.0
    assert verify("math", "3+5", "8", "Add the digits.") == 0.0
    assert verify("math", "3+5 = 8", "8", "Add the digits.") == 1.0


def test_a_term_of_the_question_is_no_answer() -> None:
    assert verify("math", "√8", "2√2", "Simplify √8.") == 0.0
    assert verify("math", "2√2", "2√2", "Simplify √8.") == 1.0


def test_a_percent_sign_is_a_unit_only_where_the_question_says_so() -> None:
    assert verify("math", "50%", "50", "What percentage is red?") == 1.0
    assert verify("math", "50%", "50", "How many are red?") == 0.0
