"""`glm4v grade`: how often models solve each problem of a file, which with the problem's label gives one of five tiers.

The result stands beside DATA.jsonl as DATA.graded.jsonl, a line a problem in the same order; `difficulty.graded` of an
RLCS recipe takes it. Until all is done the rewards stand in DATA.grading.jsonl, from which a killed run goes on.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from glm4v.data import Processor
from glm4v.model import Glm4v
from glm4v.rl import difficulty
from glm4v.rl.pool import Pool
from glm4v.rl.recipe import RolloutSection
from glm4v.rl.rollout import OwnEngine, roll_out

AT_ONCE = 64  # problems that are rolled out together, and written together


def grade(
    data: str | Path,
    models: Sequence[str | Path],
    rollout: RolloutSection,
    *,
    reward: str | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Samples responses of every model to every problem, writes the graded file, and returns its path.

    A line: {"id", "tier": "1" (very easy) to "5" (very hard), "label": the tier that the data gave, "k": responses of
    one model, "pass_rates": {model: mean reward of its k responses}}. Where rewards are 0 or 1, pass@k is whether that
    mean is above 0, and pass@j for j < k follows from it by the estimator of arXiv 2107.03374. Tiers are those of
    `difficulty.of_rewards` from the responses of all models together.

    Args:
        data: JSONL of problems.
        models: folders in transformers' format, each with its processor; asked one after the other.
        rollout: how responses are sampled; `rollout.responses` is k.
        reward: a verifier for all problems: a name, or "package.module:function".
        on_progress: called with the number of (model, problem) pairs done and of all.

    Raises:
        ValueError: no models or one twice, a verifier that does not exist, a reward outside [0, 1], or an unfinished
            grading with other settings or of other data.
        FileExistsError: the data is graded already.
    """
    data, names = Path(data), [str(model) for model in models]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"models: {names}, expected at least one folder and none twice")
    target, unfinished = data.with_suffix(".graded.jsonl"), data.with_suffix(".grading.jsonl")
    if target.exists():
        raise FileExistsError(f"data: {data} is graded already; remove {target} to grade it again")
    pool = Pool([str(data)], Processor.from_pretrained(names[0]))
    pool.check_verifiers(reward)
    rewards = np.full((len(names), len(pool), rollout.responses), np.nan, np.float32)  # NaN: not asked yet
    settings = {"bytes": data.stat().st_size, "models": names, "reward": reward, "seed": seed, **rollout.model_dump()}
    _restore(unfinished, settings, rewards)
    done = int((~np.isnan(rewards[:, :, 0])).sum())
    with unfinished.open("a", encoding="utf-8") as file:
        for number, name in enumerate(names):
            for index, earned in _ask(name, pool, _missing(rewards[number]), rollout, reward, seed):
                rewards[number, index] = earned
                _write(file, {"model": number, "problem": index, "rewards": earned})
                done += 1
                if on_progress is not None:
                    on_progress(done, len(names) * len(pool))
    _finish(target, pool, names, rewards)
    unfinished.unlink()
    return target


def _ask(
    name: str, pool: Pool, parts: Sequence[list[int]], rollout: RolloutSection, reward: str | None, seed: int
) -> Iterator[tuple[int, list[float]]]:
    """The rewards of one model's responses to each problem of `parts`; the model is loaded where there are any."""
    if not parts:
        return
    model = Glm4v.from_pretrained(name, device="cuda" if torch.cuda.is_available() else "cpu")
    processor = Processor.from_pretrained(name)
    backend = OwnEngine.of(model, processor)
    for part in parts:
        problems = [pool[index] for index in part]
        prompts = [processor(p.messages, add_generation_prompt=True, root=p.root, key=p.key) for p in problems]
        rollouts = roll_out(backend, processor, problems, prompts, part, rollout, reward, seed + part[0] // AT_ONCE)
        for group in rollouts.groups:
            yield group.problem, group.rewards


def _missing(rewards: NDArray[np.float32]) -> list[list[int]]:
    """Problems without rewards in float32 [problems, k], AT_ONCE neighbours at a time."""
    missing = np.flatnonzero(np.isnan(rewards[:, 0]))
    return [part.tolist() for part in np.split(missing, np.flatnonzero(np.diff(missing // AT_ONCE)) + 1) if len(part)]


def _restore(unfinished: Path, settings: dict[str, Any], rewards: NDArray[np.float32]) -> None:
    """Reads what an earlier run wrote into `rewards`, or starts the file with the settings."""
    lines = unfinished.read_text(encoding="utf-8").splitlines(keepends=True) if unfinished.exists() else []
    if lines and not lines[-1].endswith("\n"):  # killed while writing it
        unfinished.write_text("".join(lines[:-1]), encoding="utf-8")
        lines.pop()
    if not lines:
        with unfinished.open("w", encoding="utf-8") as file:
            _write(file, settings)
        return
    if (earlier := json.loads(lines[0])) != settings:
        name = next(name for name in settings if earlier.get(name) != settings[name])
        raise ValueError(
            f"{name}: {settings[name]}, but {unfinished} was begun with {earlier.get(name)}; "
            "go on with the same, or remove that file"
        )
    for line in map(json.loads, lines[1:]):
        rewards[line["model"], line["problem"]] = line["rewards"]


def _write(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def _finish(target: Path, pool: Pool, names: Sequence[str], rewards: NDArray[np.float32]) -> None:
    """Writes the graded file under another name first, so that it is whole or not there."""
    together = {index: earned.ravel().tolist() for index, earned in enumerate(rewards.swapaxes(0, 1))}
    cells = difficulty.of_rewards(pool.cells, together).cells
    part = target.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for problem, (_, tier), rates in zip(pool, cells, rewards.mean(axis=2).T.tolist(), strict=True):
            line = {"id": problem.id, "tier": tier, "label": problem.tier, "k": rewards.shape[2]}
            line["pass_rates"] = {name: round(rate, 6) for name, rate in zip(names, rates, strict=True)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    part.rename(target)
