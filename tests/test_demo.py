"""The demo from data to report, two steps a stage, and what its folder holds."""

import json

import pytest

from glm4v import demo


@pytest.mark.slow
def test_rehearsal_goes_through_every_stage_and_is_left_alone_when_finished(tmp_path):
    page = demo.run(tmp_path / "demo", heldout=5, rehearse=True)
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    for stage in ("untrained", *demo.STAGES):
        summary = json.loads((tmp_path / "demo" / "eval" / stage / "summary.json").read_text())
        assert summary["n"] == 45
        assert len(summary["domains"]) == 9
    seconds = (tmp_path / "demo" / "seconds.json").read_text()
    assert demo.run(tmp_path / "demo", heldout=5, rehearse=True, resume=True) == page
    assert (tmp_path / "demo" / "seconds.json").read_text() == seconds  # no stage ran again


def test_a_folder_that_holds_a_demo_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(FileExistsError, match="--resume"):
        demo.run(tmp_path)


def test_recipes_are_moved_to_the_folder_of_the_demo(tmp_path):
    recipe = {"out": "runs/demo/sft", "data": {"train": [{"path": "runs/demo/data/a.jsonl", "weight": 1.0}]}, "seed": 3}
    moved = demo.moved(recipe, tmp_path)
    assert moved == {
        "out": str(tmp_path / "sft"),
        "data": {"train": [{"path": str(tmp_path / "data" / "a.jsonl"), "weight": 1.0}]},
        "seed": 3,
    }
