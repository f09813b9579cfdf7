"""What every stage begins and ends with: processor, model, engine and run folder from a recipe, fresh or resumed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glm4v.data.processor import Processor
from glm4v.model import Glm4v, small_config
from glm4v.ops.library import native
from glm4v.train import checkpoint
from glm4v.train.distributed import Engine, launched_rank
from glm4v.train.optimisation import freeze
from glm4v.train.recipe import ModelSection, Recipe, due
from glm4v.train.run import Interrupted, RunFolder, console
from glm4v.train.sight import SightReport


@dataclass(frozen=True)
class Run:
    """A stage's parts, ready to train; `done` steps are behind it, `state` is what the loop saved then (else empty)."""

    recipe: Recipe
    processor: Processor
    engine: Engine
    folder: RunFolder
    done: int
    state: dict[str, Any]

    def sight(self, step: int, check: Callable[[], SightReport], always: bool = False) -> dict[str, float]:
        """Metrics of the sight check `check` where one is due before `step` trains; a warning is printed."""
        if not always and step != self.done + 1 and not due(step, self.recipe.sight_every):
            return {}
        report = check()
        warning = report.warning(trained=self.recipe.model.path is not None)
        if warning and self.engine.rank == 0:
            console.print(f"[bold yellow]{warning}[/]")
        return report.metrics()

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint after `step` steps; every rank must call it."""
        checkpoint.save(self.folder.checkpoints, step, self.engine, self.processor, state, self.recipe.keep_checkpoints)

    def stop(self, step: int, state: dict[str, Any]) -> None:
        """Save and raise `Interrupted`, whose message tells how to go on."""
        self.save(step, state)
        self.close()
        raise Interrupted(f"stopped after step {step} of {self.recipe.steps}; go on with: {self.folder.resume_command}")

    def finish(self, state: dict[str, Any]) -> Path:
        """Write the last checkpoint and the final model to <out>/model; returns <out>."""
        self.save(self.recipe.steps, state)
        unfinished = self.folder.path / "unfinished_model"
        self.engine.save_model(unfinished)
        if self.engine.rank == 0:
            self.processor.save_pretrained(unfinished)
            shutil.rmtree(self.folder.model, ignore_errors=True)  # of a shorter run that was resumed
            unfinished.rename(self.folder.model)
        self.engine.barrier()
        self.close()
        return self.folder.path

    def close(self) -> None:
        """Flush the metrics and let the engine go."""
        self.folder.close()
        self.engine.close()


def start(recipe: Recipe) -> Run:
    """Open the run folder and build everything in it; with `recipe.resume`, from the newest checkpoint if there is one.

    Raises:
        FileExistsError: the folder holds a run and `resume` is false.
        ValueError: a model, tokenizer or frozen pattern that does not fit, named.
    """
    native.keep_freed_memory()  # a step frees and takes the same sizes as the one before
    torch.manual_seed(recipe.seed)
    folder = RunFolder(recipe.out, recipe, recipe.resume, launched_rank())
    newest = checkpoint.latest(folder.checkpoints) if recipe.resume else None
    processor = load_processor(recipe.model)
    model = load_model(recipe.model, processor, newest / "model" if newest else None)
    freeze(model, recipe.model.frozen)
    engine = Engine.create(model, recipe.optim, recipe.model.device)
    done, state = checkpoint.load(newest, engine) if newest else (0, {})
    folder.rewind(done)
    return Run(recipe, processor, engine, folder, done, state)


def load_processor(section: ModelSection) -> Processor:
    """The processor of the model's folder, of `section.processor`, or of the gym when neither is given."""
    from glm4v.gym import TOKENIZER

    folder = section.processor or section.path or TOKENIZER
    return Processor.from_pretrained(folder, max_pixels=section.max_pixels, min_pixels=section.min_pixels)


def load_model(section: ModelSection, processor: Processor, folder: Path | None = None) -> Glm4v:
    """The model of `folder` (default: `section.path`), or one with random weights of `section.config`'s sizes."""
    dtype = getattr(torch, section.dtype)
    source = folder or section.path
    if source is not None:
        model = Glm4v.from_pretrained(source, dtype=dtype)
    else:
        model = Glm4v(small_config(processor.tokenizer, **section.config.model_dump())).to(dtype)
    model.gradient_checkpointing = section.gradient_checkpointing
    return model
