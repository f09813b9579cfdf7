"""Reads run folders: metrics, recipe and samples of training runs; summaries and predictions of evaluations."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

STAGES = {
    "untrained": "untrained",
    "pretrain": "pretrained",
    "sft": "SFT",
    "rlcs": "RLCS",
    "control": "SFT for as long",
}
"""Names of folders, in the order of a demo, and what a reader calls them."""


@dataclass(frozen=True)
class Run:
    """A training run: its name, its recipe as a dict, and a dict a step with "step", "time" and numbers by name."""

    name: str
    path: Path
    recipe: dict[str, Any]
    metrics: list[dict[str, float]]

    @property
    def title(self) -> str:
        return STAGES.get(self.name, self.name)

    def series(self, name: str) -> tuple[list[float], list[float]]:
        """Steps at which a metric was logged, and its values."""
        rows = [row for row in self.metrics if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]

    def names(self, prefix: str, depth: int) -> list[str]:
        """Metrics "prefix/..." with `depth` further parts, in order of first appearance."""
        seen = dict.fromkeys(name for row in self.metrics for name in row)
        return [name for name in seen if name.startswith(f"{prefix}/") and name.count("/") == depth]

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """Records of the last step that wrote samples."""
        files = sorted((self.path / "samples").glob("step_*.jsonl"))
        return list(_lines(files[-1])) if files else []

    @property
    def seconds(self) -> float:
        """Time between the first and the last step that were logged."""
        return self.metrics[-1]["time"] - self.metrics[0]["time"] if self.metrics else 0.0


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: its name, its summary, and the folder that its predictions' image paths are relative to."""

    name: str
    path: Path
    summary: dict[str, Any] = field(repr=False)

    @property
    def title(self) -> str:
        return STAGES.get(self.name, self.name.replace("_", " "))

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """Records as `glm4v.eval.evaluate` writes them."""
        return list(_lines(self.path / "predictions.jsonl"))


def read_runs(folder: Path) -> list[Run]:
    """The run that `folder` is, or else the runs in its sub-folders, in the order of the stages."""
    places = [folder] if (folder / "metrics.jsonl").is_file() else _ordered(folder, "metrics.jsonl")
    return [_read_run(place) for place in places]


def read_evaluations(folder: Path) -> list[Evaluated]:
    """The evaluations in <folder>/eval, in the order of the stages, then by name."""
    return [
        Evaluated(place.name, place, json.loads((place / "summary.json").read_text(encoding="utf-8")))
        for place in _ordered(folder / "eval", "summary.json")
    ]


def _ordered(folder: Path, holding: str) -> list[Path]:
    """Sub-folders that hold a file of that name: stages first, in their order."""
    order = list(STAGES)
    places = (file.parent for file in folder.glob(f"*/{holding}"))
    return sorted(
        places, key=lambda place: (order.index(place.name) if place.name in order else len(order), place.name)
    )


def _read_run(path: Path) -> Run:
    recipe = path / "recipe.yaml"
    return Run(
        name=path.name,
        path=path,
        recipe=yaml.safe_load(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {},
        metrics=list(_lines(path / "metrics.jsonl")),
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file; a last line without its end was cut by an interrupt and is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
