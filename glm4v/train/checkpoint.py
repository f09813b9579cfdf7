"""Checkpoints: a folder that is whole or not there, whenever the process is killed.

`step_<n>/` holds `model/` (transformers' format with the processor's files: `glm4v generate` runs on it), the
optimizer, and per rank a `state_<rank>.pt` with the step, random states and what the loop adds (the loader).
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from glm4v.data.processor import Processor
from glm4v.train.distributed import Engine


def save(
    checkpoints: Path, step: int, engine: Engine, processor: Processor, state: Mapping[str, Any], keep: int
) -> Path:
    """Write `checkpoints/step_<step>` unless it is there, remove all but the newest `keep`; every rank must call it.

    Args:
        step: steps done.
        state: what the loop needs beside weights and optimizer, of plain Python values and tensors.
    """
    target = checkpoints / f"step_{step:06d}"
    # written under another name and renamed when whole: a rename cannot be half done
    unfinished = checkpoints / f"unfinished_{step:06d}"
    if target.exists():
        return target
    if engine.rank == 0:
        for left in (*checkpoints.glob("unfinished_*"), *checkpoints.glob("removed_*")):
            shutil.rmtree(left)  # of a process that was killed
        unfinished.mkdir(parents=True)
    engine.barrier()
    engine.save_model(unfinished / "model")
    engine.save(unfinished)
    torch.save(
        {"step": step, "random": torch.get_rng_state(), "loop": dict(state)}, unfinished / f"state_{engine.rank}.pt"
    )
    engine.barrier()
    if engine.rank == 0:
        processor.save_pretrained(unfinished / "model")
        unfinished.rename(target)
        for old in _finished(checkpoints)[:-keep]:
            _remove(old)
    engine.barrier()
    return target


def latest(checkpoints: Path) -> Path | None:
    """The newest whole checkpoint, or None."""
    return next(reversed(_finished(checkpoints)), None)


def load(checkpoint: Path, engine: Engine) -> tuple[int, dict[str, Any]]:
    """Restore optimizer and random state into an engine whose model was read from `checkpoint / "model"`.

    Returns the steps done and the `state` that was given to `save`.

    Raises:
        FileNotFoundError: the checkpoint was written by fewer processes, or with another engine.
    """
    file = checkpoint / f"state_{engine.rank}.pt"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: resume with as many processes as wrote the checkpoint")
    saved = torch.load(file, weights_only=True)
    engine.load(checkpoint)
    torch.set_rng_state(saved["random"])
    return saved["step"], saved["loop"]


def _finished(checkpoints: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(checkpoints.glob("step_*"), key=lambda path: int(path.name.removeprefix("step_")))


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that a kill half-way leaves nothing that looks like one."""
    shutil.rmtree(folder.rename(folder.with_name(f"removed_{folder.name}")))
