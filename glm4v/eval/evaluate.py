"""Asks a model every problem of a file, and scores what it answers."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glm4v.data import Processor
from glm4v.data.files import Problem
from glm4v.eval.score import THINK, opens_thinking, score
from glm4v.eval.summary import summarise
from glm4v.model import Glm4v


@dataclass(frozen=True)
class Evaluation:
    """records: a dict a problem (see `evaluate`); summary: means and intervals (see `summarise`)."""

    records: list[dict[str, Any]]
    summary: dict[str, Any]

    def write(self, folder: str | Path) -> Path:
        """Write summary.json and predictions.jsonl, whose image paths become relative to the folder; returns it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(self.summary, indent=1) + "\n", encoding="utf-8")
        with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
            for record in self.records:
                images = [os.path.relpath(path, folder) for path in record["images"]]
                file.write(json.dumps(record | {"images": images}, ensure_ascii=False) + "\n")
        return folder


def evaluate(
    model: Glm4v,
    processor: Processor,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    thinking_budget: int | None = None,
    batch: int = 64,
    limit: int | None = None,
    seed: int = 0,
    reward: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """One response to each problem, scored by its verifier.

    Args:
        temperature: 0 takes the likeliest token.
        thinking_budget: tokens after which the thinking is closed and the answer asked for.
        batch: problems whose pictures are held at a time.
        limit: only the first so many problems.
        reward: a verifier for all problems: a name in `glm4v.rewards.VERIFIERS`, or "package.module:function".
        on_progress: called with the number of problems done and of all.

    Returns:
        Records {"id", "domain", "tier", "question", "images": [paths], "response", "prediction" (None: no answer in the
        right format), "truth", "reward", "reason"} in the order of the problems, and their summary.

    Raises:
        ValueError: no problems, an option out of range, or a problem that cannot be read; the message names it.
    """
    count = len(problems) if limit is None else min(limit, len(problems))
    if count < 1 or batch < 1:
        name, value = ("batch", batch) if batch < 1 else ("problems", count)
        raise ValueError(f"{name}: {value}, expected at least 1")
    records: list[dict[str, Any]] = []
    for start in range(0, count, batch):
        asked = [problems[index] for index in range(start, min(start + batch, count))]
        prompts = [processor(problem.messages, root=problem.root, key=problem.key) for problem in asked]
        completions = model.generate(
            prompts,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            thinking_budget=thinking_budget,
            processor=processor,
            seed=seed + start,
        )
        for problem, prompt, completion in zip(asked, prompts, completions, strict=True):
            response = THINK * opens_thinking(processor, prompt) + (completion.text or "")
            records.append(_record(problem, response, reward))
        if on_progress is not None:
            on_progress(len(records), count)
    return Evaluation(records, summarise(records))


def _record(problem: Problem, response: str, verifier: str | None) -> dict[str, Any]:
    scored = score(problem, response, verifier)
    return {
        "id": problem.id,
        "domain": problem.domain,
        "tier": problem.tier,
        "question": problem.question,
        "images": image_paths(problem),
        "response": response,
        "prediction": scored.answer,
        "truth": problem.truth,
        "reward": scored.reward,
        "reason": scored.reason,
    }


def image_paths(problem: Problem) -> list[str]:
    """Files of the pictures and frames that the problem shows; what is written into the message itself has none."""
    parts = [
        part for message in problem.messages if isinstance(message["content"], list) for part in message["content"]
    ]
    sources: list[Any] = []
    for part in parts:
        source = part.get(part["type"]) if part["type"] in ("image", "video") else None
        sources += source if isinstance(source, list) else [source]
    paths = [problem.root / source for source in sources if isinstance(source, str) and ":" not in source[:16]]
    return [str(path.resolve()) for path in paths if path.is_file()]
