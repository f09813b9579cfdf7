"""The whole page: of a demo, of single runs, of evaluations alone."""

import re
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import pytest

from glm4v.report import build

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Headings of a page; fails on a tag that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def outline(path: Path) -> list[str]:
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.open == []
    return parser.headings


def test_the_demo_has_all_of_its_parts(demo: Path) -> None:
    report = build(demo)
    assert report == demo / "report.html"
    headings = outline(report)
    for part in (
        "What it can do",
        "Loss: pretrained",
        "Loss: SFT",
        "Informative groups",
        "math",
        "Look for yourself",
        "Recipes",
    ):
        assert part in headings
    text = report.read_text(encoding="utf-8")
    assert "held-out problems by +0." in text
    assert "runs/&lt;demo&gt;/sft" in text


def test_the_page_needs_nothing_from_outside(demo: Path) -> None:
    text = build(demo).read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text
    assert "url(" not in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().split()


@pytest.mark.parametrize(("name", "part"), [("sft", "Loss: SFT"), ("rlcs", "The curriculum moves with the model")])
def test_a_single_run(demo: Path, tmp_path: Path, name: str, part: str) -> None:
    run = copytree(demo / name, tmp_path / name)
    headings = outline(build(run))
    assert headings[0] == f"glm4v: {name}"
    assert part in headings


def test_evaluations_alone_and_many(demo: Path, tmp_path: Path) -> None:
    for step in range(7):
        copytree(demo / "eval" / "sft", tmp_path / "run" / "eval" / f"step_{step:06d}")
    report = build(tmp_path / "run")
    assert "step 000006" in report.read_text(encoding="utf-8")
    assert "step 000003" not in report.read_text(encoding="utf-8")


def test_a_run_that_has_just_begun(demo: Path, tmp_path: Path) -> None:
    run = tmp_path / "new"
    run.mkdir()
    (run / "metrics.jsonl").touch()
    assert outline(build(run))[0] == "glm4v: new"
    (run / "metrics.jsonl").write_text('{"step": 1, "time": 0.0, "loss": 3.0}\n')
    assert "Loss: new" in outline(build(run))


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        build(tmp_path)
