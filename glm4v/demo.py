"""The demo: a small GLM-4.1V learns to look, to answer and to think, from random weights, on this machine.

Data, pretraining, SFT, RLCS, an evaluation after each, and a report. Each stage that is finished is left alone when the
demo is run again with `resume`; one that was stopped goes on from its newest checkpoint.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from glm4v import Glm4v, Processor, eval, gym, report
from glm4v.data.files import read_problems
from glm4v.model import best_device
from glm4v.rl import rlcs
from glm4v.rl.recipe import RlcsRecipe
from glm4v.train import pretrain, sft
from glm4v.train.recipe import PretrainRecipe, SftRecipe, load_recipe
from glm4v.train.run import Interrupted, console
from glm4v.train.start import load_model, load_processor

SAMPLES = {"pretrain": 3000, "sft": 100, "rl": 1500, "validation": 50}  # a domain
HELDOUT = 100  # problems a domain
REHEARSAL = {"pretrain": 10, "sft": 10, "rl": 10, "validation": 5}
REHEARSAL_STEPS = ["steps=2", "optim.warmup_steps=0", "data.max_tokens=1024"]
HOME = "runs/demo"  # of the demo in its recipes
MAX_NEW_TOKENS = 40  # of an answer; no worked example is longer

STAGES: dict[str, tuple[Any, Callable[[Any], Path], str]] = {
    "pretrain": (
        PretrainRecipe,
        pretrain.run,
        "Pretraining: from random weights, the model learns to see by predicting descriptions of pictures.",
    ),
    "sft": (
        SftRecipe,
        sft.run,
        "SFT: a fixed set of worked examples teaches it to think in <think> and to put the answer into the box.",
    ),
    "rlcs": (
        RlcsRecipe,
        rlcs.run,
        "RLCS: it tries problems that have an answer but no worked example; what a rule finds right is reinforced, and "
        "problems that it gets right about half of the time are drawn most.",
    ),
}


def run(out: Path, *, resume: bool = False, seed: int = 0, heldout: int = HELDOUT, rehearse: bool = False) -> Path:
    """Run the demo in the folder `out` and return the path of its report.

    Args:
        resume: go on with what stands in `out`; without it a folder that holds a demo is refused.
        seed: of data, weights, batches and rollouts.
        heldout: problems a domain to evaluate on after each stage; their source images are never trained on.
        rehearse: two steps of each stage on little data: shows within minutes that everything works, teaches nothing.

    Raises:
        FileExistsError: `out` holds a demo and `resume` is false.
        Interrupted: Ctrl-C; the message tells how to go on.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not resume:
        raise FileExistsError(f"out: {out} holds a demo already; go on with it by --resume, or delete it")
    try:
        make_data(out, seed, heldout, REHEARSAL if rehearse else SAMPLES)
        evaluate(out, "untrained", partial(untrained_model, seed))
        for stage in STAGES:
            train(out, stage, seed, REHEARSAL_STEPS if rehearse else [])
            evaluate(out, stage, partial(Glm4v.from_pretrained, out / stage / "model"))
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; go on with: glm4v demo --out {out} --resume{' --rehearse' if rehearse else ''}"
        ) from None
    page = report.build(out)
    console.print(eval.table(json.loads((out / "eval" / "rlcs" / "summary.json").read_text())))
    console.print(f"Everything that happened, with pictures: [bold]{page}[/]")
    return page


def say(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]", highlight=False)


def make_data(out: Path, seed: int, heldout: int, samples: dict[str, int]) -> None:
    """The gym's files in out/data, all of them or none."""
    data = out / "data"
    if data.exists():
        return
    say("Data: nine domains of small problems on real pixels, drawn as PNG files with JSONL beside them.")
    unfinished = out / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with timed(out, "data"), Progress(console=console) as progress:
        task = progress.add_task("drawing")
        gym.write(
            unfinished,
            seed=seed,
            pretrain=samples["pretrain"],
            sft=samples["sft"],
            rl=samples["rl"],
            validation=samples["validation"],
            heldout=heldout,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
        unfinished.rename(data)


def train(out: Path, stage: str, seed: int, overrides: Sequence[str] = ()) -> None:
    """One stage by its recipe demo_<stage>, unless out/<stage> holds its final model."""
    if (out / stage / "model").exists():
        return
    _, run_stage, text = STAGES[stage]
    say(text)
    recipe = recipe_of(stage, out, [f"seed={seed}", f"resume={(out / stage).exists()}", *overrides])
    with timed(out, stage):
        run_stage(recipe)


def recipe_of(stage: str, out: Path, overrides: Sequence[str] = ()) -> Any:
    """The recipe demo_<stage>, for a demo in the folder `out`."""
    kind = STAGES[stage][0]
    return kind.model_validate(moved(load_recipe(f"demo_{stage}", overrides, kind).model_dump(), out))


def moved(value: Any, out: Path) -> Any:
    """A recipe's values with all paths in HOME, where the recipes have the demo, in `out`."""
    if isinstance(value, dict):
        return {key: moved(part, out) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [moved(part, out) for part in value]
    inside = isinstance(value, str) and value.startswith(f"{HOME}/")
    return str(out / Path(value).relative_to(HOME)) if inside else value


def untrained_model(seed: int) -> Glm4v:
    """The weights pretraining begins with."""
    section = load_recipe("demo_pretrain", [], PretrainRecipe).model
    torch.manual_seed(seed)
    return load_model(section, load_processor(section))


def evaluate(out: Path, stage: str, model: Callable[[], Glm4v]) -> None:
    """Greedy answers to the held-out problems in out/eval/<stage>, unless they stand there."""
    folder = out / "eval" / stage
    if (folder / "summary.json").exists():
        return
    problems = read_problems(out / "data" / "heldout.jsonl")
    say(f"Evaluation: the {stage} model answers {len(problems)} held-out problems.")
    with timed(out, f"eval/{stage}"), Progress(console=console) as progress:
        task = progress.add_task("answering")
        evaluation = eval.evaluate(
            model().to(best_device()),
            Processor.from_pretrained(gym.TOKENIZER),
            problems,
            max_new_tokens=MAX_NEW_TOKENS,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    evaluation.write(folder)
    summary = evaluation.summary
    console.print(f"mean reward {summary['mean']:.3f} on {summary['n']} problems")


class timed:
    """Adds the seconds spent inside to out/seconds.json under `name`."""

    def __init__(self, out: Path, name: str):
        self.file, self.name = out / "seconds.json", name

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        seconds = json.loads(self.file.read_text()) if self.file.exists() else {}
        seconds[self.name] = round(seconds.get(self.name, 0) + time.perf_counter() - self.begin, 1)
        self.file.write_text(json.dumps(seconds, indent=1) + "\n")
