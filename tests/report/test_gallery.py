"""Which answers are shown, and what a card holds."""

from pathlib import Path

from glm4v.report.gallery import card, evaluation_gallery, pick
from glm4v.report.run import read_evaluations


def _record(tier: int, reward: float, prediction: str | None = "x") -> dict:
    return {"domain": "sums", "tier": str(tier), "reward": reward, "prediction": prediction}


def test_the_hardest_right_and_the_easiest_wrong_are_picked() -> None:
    records = [_record(1, 1.0), _record(4, 1.0), _record(1, 0.0, None), _record(5, 0.0), _record(2, 0.3)]
    assert list(pick(records)) == [records[1], records[4]]
    assert list(pick([_record(3, 0.0, None)])) == [_record(3, 0.0, None)]


def test_a_card_shows_all_and_escapes_what_the_model_wrote(demo: Path) -> None:
    evaluated = read_evaluations(demo)[3]
    record = next(r for r in evaluated.predictions if r["domain"] == "sums") | {
        "response": "<think><script>alert(1)</script></think>",
        "prediction": "<b>7</b>",
        "reason": '"<b>7</b>" is not "8"',
        "reward": 0.25,
    }
    html = card(record, evaluated.path, [("SFT", record | {"prediction": None})])
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "is not &quot;8&quot;" in html
    assert "✗ 0.25" in html
    assert "data:image/png;base64," in html
    assert "<dt>SFT</dt><dd><em>none</em>" in html


def test_earlier_stages_stand_beside_the_last_but_not_the_control(demo: Path) -> None:
    html = evaluation_gallery(read_evaluations(demo))
    assert "after RLCS" in html
    assert html.count("<dt>SFT</dt>") == html.count("<article") >= 9
    assert "SFT for as long" not in html
