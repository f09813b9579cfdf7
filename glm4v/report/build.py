"""`build`: the folder of a run, or of a demo with several, in; report.html out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import yaml

from glm4v import __version__
from glm4v.report.accuracy import accuracy
from glm4v.report.anomaly import warnings
from glm4v.report.curriculum import curriculum
from glm4v.report.curves import loss_curves, rlcs_curves
from glm4v.report.gallery import evaluation_gallery, sample_gallery
from glm4v.report.headline import duration, evaluation_tiles, run_tiles
from glm4v.report.page import page, section
from glm4v.report.run import Evaluated, Run, read_evaluations, read_runs


def build(folder: str | Path) -> Path:
    """Write <folder>/report.html, one file that needs neither network nor scripts, and return its path.

    Args:
        folder: a run (metrics.jsonl, recipe.yaml, samples/, eval/), or a demo: runs in sub-folders and eval/<stage>/.

    Raises:
        ValueError: the folder holds neither a run nor an evaluation.
    """
    folder = Path(folder)
    runs, evaluations = read_runs(folder), read_evaluations(folder)
    if not runs and not evaluations:
        raise ValueError(
            f"folder: {folder} holds no run; expected metrics.jsonl, sub-folders that have one, or eval/*/"
        )
    shown = evaluations if len(evaluations) <= 5 else [evaluations[0], evaluations[-1]]
    sections = [
        evaluation_tiles(shown) if shown else "",
        *(run_tiles(run) for run in runs if len(runs) == 1),
        *(warnings(run) for run in runs),
        accuracy(shown),
        loss_curves(runs),
        *(rlcs_curves(run) + curriculum(run) for run in runs),
        evaluation_gallery(shown),
        *(sample_gallery(run) for run in runs),
        _recipes(runs),
    ]
    name = folder.resolve().name
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    report = folder / "report.html"
    html = page(f"glm4v: {name}", _lead(runs, evaluations), sections, f"Written by glm4v {__version__} on {when}.")
    report.write_text(html, encoding="utf-8")
    return report


def _lead(runs: Sequence[Run], evaluations: Sequence[Evaluated]) -> str:
    """The report in a sentence or two."""
    stages = ", then ".join(f"{run.title} ({len(run.metrics):,} steps, {duration(run.seconds)})" for run in runs)
    text = f"A vision-language model, trained: {stages}." if runs else "Evaluations."
    means = {each.name: each.summary for each in evaluations}
    if "sft" in means and "rlcs" in means:
        gain = means["rlcs"]["mean"] - means["sft"]["mean"]
        text += f" RLCS changed the mean reward on {means['rlcs']['n']:,} held-out problems by {gain:+.2f} over SFT"
        if "control" in means:
            text += f", more SFT for as long by {means['control']['mean'] - means['sft']['mean']:+.2f}"
        text += "."
    return text


def _recipes(runs: Sequence[Run]) -> str:
    texts = [(run.title, yaml.safe_dump(run.recipe, sort_keys=False)) for run in runs if run.recipe]
    blocks = [
        f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" for title, text in texts
    ]
    return section("Recipes", "Every setting of each run, as it was resolved.", "".join(blocks)) if blocks else ""
