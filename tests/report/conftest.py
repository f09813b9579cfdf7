"""A demo folder as the trainers and `eval` write it, with made-up curves and answers."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, ImageDraw

from glm4v.eval.summary import summarise

DOMAINS = ("attributes", "chart", "counting", "digits", "grounding", "gui", "sums", "text", "video_time")
STAGES = {"untrained": 0.0, "pretrain": 0.12, "sft": 0.55, "rlcs": 0.72, "control": 0.58}
TRUTHS: dict[str, Any] = {
    "grounding": {"boxes": [[250, 300, 500, 700]]},
    "gui": {"action": "click", "box": [200, 200, 600, 400]},
}
RIGHT = {"grounding": "[250,300,500,675]", "gui": "click(400,300)"}
WRONG = {"grounding": "[600,100,900,300]", "gui": "click(800,700)"}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `demo` with three runs, five evaluations and pictures."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    write_runs(folder)
    for stage, level in STAGES.items():
        write_evaluation(folder, stage, level)
    return folder


def write_runs(folder: Path, steps: int = 120) -> None:
    """The runs pretrain, sft and rlcs."""
    rng = random.Random(0)
    for name in ("pretrain", "sft"):
        rows = []
        for step in range(1, steps + 1):
            loss = 0.4 + 5 * math.exp(-step / 25) + rng.gauss(0, 0.06)
            rows.append({"step": step, "time": 1.7e9 + 2.5 * step, "loss": loss, "learning_rate": 1e-3})
            if step % 20 == 0:
                rows[-1]["evaluation_loss"] = loss + 0.1
        _write_run(folder / name, rows, [{"kind": "answer", "prompt": "?", "response": "!", "expected": "!"}])
    rows = [_rlcs_row(step, steps, rng) for step in range(1, steps + 1)]
    _write_run(folder / "rlcs", rows, [])


def write_evaluation(folder: Path, stage: str, level: float, problems: int = 20) -> None:
    """Predictions and summary of one stage; rewards fall with the tier."""
    rng, records = random.Random(stage), []
    for domain in DOMAINS:
        for number in range(problems):
            tier = number % 5 + 1
            right = rng.random() < level * (1.5 - 0.22 * tier)
            picture = _picture(folder, domain, number)
            truth = TRUTHS.get(domain, str(number))
            prediction = RIGHT.get(domain, str(number)) if right else WRONG.get(domain, f"<{number + 1}>")
            records.append(
                {
                    "id": f"{domain}-{number}",
                    "domain": domain,
                    "tier": str(tier),
                    "question": f"What & where is <{domain}>?",
                    "images": [f"../../{path.relative_to(folder)}" for path in picture],
                    "response": f"<think>look & see {number}</think><answer><|begin_of_box|>{prediction}<|end_of_box|>",
                    "prediction": prediction,
                    "truth": truth,
                    "reward": float(right),
                    "reason": "the same" if right else "not the same",
                }
            )
    place = folder / "eval" / stage
    place.mkdir(parents=True)
    (place / "summary.json").write_text(json.dumps(summarise(records)))
    (place / "predictions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _write_run(path: Path, rows: list[dict[str, float]], samples: list[dict[str, Any]]) -> None:
    (path / "samples").mkdir(parents=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 12')
    (path / "recipe.yaml").write_text(yaml.safe_dump({"out": f"runs/<demo>/{path.name}", "steps": len(rows)}))
    (path / "samples" / "step_000001.jsonl").write_text("".join(json.dumps(record) + "\n" for record in samples))


def _rlcs_row(step: int, steps: int, rng: random.Random) -> dict[str, float]:
    done = step / steps
    row = {"step": step, "time": 1.7e9 + 4.0 * step, "reward": 0.5 + 0.1 * done + rng.gauss(0, 0.03)}
    row |= {"pass_rate": 0.5 + 0.2 * done, "kept_share": 0.55 - 0.1 * done + rng.gauss(0, 0.04), "expansion": 1.8}
    row |= {"entropy": 0.4 - 0.2 * done + rng.gauss(0, 0.01), "response_length": 22 + 3 * done, "clip_up": 0.0}
    row |= {"response_length_p90": 33.0, "forced_share": 0.02, "truncated_share": 0.01, "clip_down": 0.0}
    for verifier in ("math", "ocr"):
        row |= {f"verifier/{verifier}/hit": 0.5 + 0.2 * done, f"verifier/{verifier}/no_answer": 0.1 - 0.09 * done}
    for place, domain in enumerate(DOMAINS):
        row[f"reward/{domain}"] = min(1.0, 0.4 + 0.05 * place + 0.2 * done + rng.gauss(0, 0.05))
        for tier in range(1, 6):
            rate = 1 / (1 + math.exp(1.6 * (tier - 2 - 0.2 * place - 1.5 * done)))
            row[f"pass_rate/{domain}/{tier}"] = rate
            row[f"weight/{domain}/{tier}"] = rate * (1 - rate) / 7
    return row


def _picture(folder: Path, domain: str, number: int) -> list[Path]:
    """A small picture; of video_time, four frames."""
    path = folder / "data" / "images" / domain
    path.mkdir(parents=True, exist_ok=True)
    paths = [path / f"{number}-{frame}.png" for frame in range(4 if domain == "video_time" else 1)]
    for frame, file in enumerate(paths):
        image = Image.new("RGB", (112, 84), (235, 225, 210))
        draw = ImageDraw.Draw(image)
        draw.rectangle((28, 25, 56, 58), fill=(60 + 30 * frame, 110, 190))
        draw.text((60, 8), str(number), fill=(20, 20, 20))
        image.save(file)
    return paths
