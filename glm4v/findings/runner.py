"""Makes the runs of the plan that are not finished, and writes what came out after each.

<out>/results/<name>.json is a finished run; it is written whole or not at all. A run that was stopped goes on from its
newest checkpoint in <out>/runs/<name>. Several processes may share a folder: whoever makes a run holds a lock on it,
which ends with the process, however that ends.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.table import Table

from glm4v import Glm4v, Processor, demo, eval, report
from glm4v.data.files import read_problems
from glm4v.findings import page
from glm4v.findings.plan import FULL, MIXES, QUICK, Pool, Run, Scale, plan
from glm4v.findings.summary import Results, summarise, tuned_rate
from glm4v.ops.library import native
from glm4v.report.anomaly import alarms
from glm4v.report.headline import duration
from glm4v.report.run import read_runs
from glm4v.rl import rlcs
from glm4v.rl.recipe import RlcsRecipe
from glm4v.train.recipe import load_recipe
from glm4v.train.run import Interrupted, console

# Of one rollout (with its share of the update) and of one problem of an evaluation, on two cores: a first guess, from
# benchmarks/results/demo.json, until runs are finished here.
SECONDS_A_ROLLOUT, SECONDS_A_PROBLEM = 0.006, 0.014
# Of evaluations, as of rollouts: RL improves the mean reward of sampled answers. That of greedy ones stands still for
# tens of thousands of rollouts, in which sampled answers come up to them.
TEMPERATURE = 1.0
TUNING_PROBLEMS = 50  # of the validation split, a domain
LOOK_AGAIN = 5.0  # seconds, while other processes make what is left


def run(
    out: Path,
    home: Path,
    *,
    quick: bool = False,
    only: int | None = None,
    rate: float | None = None,
    docs: Path | None = None,
) -> Path:
    """Makes the runs that are missing and returns <out>/findings.html.

    Args:
        home: the demo whose SFT model the runs start from; made as far as that when it is absent.
        only: the runs that this finding needs.
        rate: a learning rate for all methods, in place of tuning one for each.
        docs: a folder that gets findings.md, its plots and results.json, too.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same command goes on.
        ValueError: a finished run in `out` had other settings.
    """
    scale = QUICK if quick else FULL
    if rate is not None:
        scale = replace(scale, rates=(rate,), parts=tuple(part for part in scale.parts if part != "tuning"))
    flags = {"--quick": quick or None, "--only": only, "--rate": rate, "--docs": docs}
    given = [name if value is True else f"{name} {value}" for name, value in flags.items() if value is not None]
    return Experiment(Path(out), Path(home), scale, " ".join(["glm4v findings", *given])).run(only, docs)


class Experiment:
    """The runs of one output folder."""

    def __init__(self, out: Path, home: Path, scale: Scale, command: str = "glm4v findings"):
        self.out, self.home, self.scale, self.command = out, home, scale, command

    def run(self, only: int | None = None, docs: Path | None = None) -> Path:
        """See `run`."""
        runs = plan(self.scale, only)
        self.check_settings()
        self.show(runs)
        try:
            while missing := [each for each in runs if each.name not in self.results()]:
                if not any(self.made(each, docs) for each in missing if self.ready(each)):
                    time.sleep(LOOK_AGAIN)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; go on with the same command: {self.command}") from None
        written = self.write(docs)
        console.print(page.table(summarise(self.scale, self.results())))
        return written

    def check_settings(self) -> None:
        """Raises ValueError where the folder holds runs of another scale."""
        file = self.out / "settings.json"
        text = json.dumps(asdict(self.scale) | {"mixes": MIXES}, indent=1) + "\n"
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise ValueError(f"out: {self.out} holds runs with other settings ({file}); choose another --out")
        self._write(file, text.rstrip("\n"))

    def results(self) -> Results:
        """Finished runs by name."""
        folder = self.out / "results"
        files = sorted(folder.glob("**/*.json"))
        return {str(file.relative_to(folder).with_suffix("")): json.loads(file.read_text()) for file in files}

    def show(self, runs: Sequence[Run]) -> None:
        """The plan with its hours."""
        results, grid = self.results(), Table(title="plan", title_justify="left")
        for name in ("part", "runs", "finished", "hours left"):
            grid.add_column(name, justify="left" if name == "part" else "right")
        left = 0.0
        for part in self.scale.parts:
            of_part = [each for each in runs if each.part == part]
            open_ones = [each for each in of_part if each.name not in results]
            hours = sum(self.seconds(each, results) for each in open_ones) / 3600
            left += hours
            grid.add_row(part, str(len(of_part)), str(len(of_part) - len(open_ones)), f"{hours:.2f}")
        grid.add_row("all", str(len(runs)), str(sum(each.name in results for each in runs)), f"{left:.2f}")
        console.print(grid)
        for start in sorted({each.start for each in runs if each.name not in results}):
            if not (self.demo(start) / "sft" / "model").exists():
                console.print(f"The SFT model in {self.demo(start)} is made first: about a quarter of an hour more.")
        if not self.scale.evidence:
            console.print("[bold]quick: one seed and few rollouts show that everything works; this is no evidence[/]")

    def seconds(self, each: Run, results: Results) -> float:
        """Expected time of a run: its work at the speed of what is finished."""
        finished = [result for result in results.values() if result.get("rollouts")]
        speed = 1.0
        if finished:
            guessed = sum(_guess(result["rollouts"], result["evaluated"]) for result in finished)
            speed = sum(result["seconds"] for result in finished) / guessed
        rollouts = self.scale.steps * self.scale.prompts * self.scale.responses if each.method else 0
        evaluations = self.scale.steps // self.scale.evaluate_every if each.method else 1
        return speed * _guess(rollouts, self.evaluated(each) * evaluations)

    def ready(self, each: Run) -> bool:
        """Whether the runs are finished whose results this one needs."""
        runs, results = plan(self.scale), self.results()
        needed = [other for other in runs if not other.method and other.start == each.start]
        if each.method and not each.tuning:
            needed += [other for other in runs if other.tuning and other.method == each.method]
        return all(other.name in results for other in needed if other != each)

    def made(self, each: Run, docs: Path | None) -> bool:
        """Whether it was made here, and not by another process."""
        with self.claim(each) as mine:
            if not mine or each.name in self.results():
                return False
            self.make(each)
        self.write(docs)
        return True

    @contextmanager
    def claim(self, each: Run) -> Iterator[bool]:
        """Whether this process alone makes the run for now."""
        file = self.out / "runs" / f"{each.name}.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    # a run -----------------------------------------------------------------------------------------------------------

    def demo(self, start: int) -> Path:
        return self.home if start == 0 else self.out / f"demo_seed_{start}"

    def model(self, start: int) -> Path:
        """The SFT model of a start, made when it is absent."""
        home = self.demo(start)
        if not (home / "sft" / "model").exists():
            demo.make_data(home, start, demo.HELDOUT, demo.SAMPLES)
            for stage in ("pretrain", "sft"):
                demo.train(home, stage, start)
        return home / "sft" / "model"

    def make(self, each: Run) -> None:
        """One run from its start to its result file."""
        model = self.model(each.start)
        demo.say(f"{each.name}: about {duration(self.seconds(each, self.results()))}")
        folder = self.out / "runs" / each.name
        if not each.method:
            result = self.evaluate_start(each, model)
        else:
            recipe = self.recipe(each, model)
            if not (folder / "model").exists():
                rlcs.run(recipe)
            result = read_result(folder, recipe)
            report.build(folder)
        machine = f"{native.isa()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
        described = {"run": asdict(each), "machine": machine}
        self._write(self.out / "results" / f"{each.name}.json", json.dumps(described | result, indent=1))
        for left in ("checkpoints", "model"):
            shutil.rmtree(folder / left, ignore_errors=True)

    def recipe(self, each: Run, model: Path) -> RlcsRecipe:
        """The demo's recipe for RLCS with what this run changes."""
        scale = self.scale
        rate = each.rate or tuned_rate(scale, self.results(), each.method)
        overrides = [
            f"out={self.out / 'runs' / each.name}",
            "resume=true",
            f"seed={each.seed}",
            f"steps={scale.steps}",
            f"checkpoint_every={scale.evaluate_every}",
            "keep_checkpoints=1",
            f"evaluate_every={scale.evaluate_every}",
            f"model.path={model}",
            f"data.train={self.problems(each, 'rl', each.pool)}",
            f"data.evaluation={self.evaluation(each)}",
            f"data.evaluation_problems={self.evaluated(each)}",
            f"data.evaluation_temperature={TEMPERATURE}",
            "optim.schedule=constant",
            f"optim.learning_rate={rate}",
            f"optim.warmup_steps={scale.warmup_steps}",
            f"rollout.prompts={scale.prompts}",
            f"rollout.responses={scale.responses}",
            f"curriculum.sampling={each.method}",
            "difficulty.problems_per_cell=0",  # its rollouts would have to be counted
            *each.changes,
        ]
        return load_recipe("demo_rlcs", overrides, RlcsRecipe)

    def problems(self, each: Run, split: str, pool: Pool) -> Path:
        """A part of a split, written beside it: paths of pictures are relative."""
        data = self.demo(each.start) / "data"
        target = data / f"findings-{split}-{pool.name}.jsonl"
        pool.write(data / f"{split}.jsonl", target)
        return target

    def evaluation(self, each: Run) -> Path:
        """What a run is evaluated on; its domains are all of the experiment, whatever it trains on."""
        every = Pool(self.scale.domains)
        return self.problems(each, "validation" if each.tuning else "heldout", every)

    def evaluated(self, each: Run) -> int:
        """Problems of one evaluation."""
        return (TUNING_PROBLEMS if each.tuning else self.scale.heldout) * len(self.scale.domains)

    def evaluate_start(self, each: Run, model: Path) -> dict[str, Any]:
        """The first point of all curves of a start."""
        begin = time.perf_counter()
        evaluation = eval.evaluate(
            Glm4v.from_pretrained(model),
            Processor.from_pretrained(model),
            read_problems(self.evaluation(each)),
            max_new_tokens=demo.MAX_NEW_TOKENS,
            temperature=TEMPERATURE,
            limit=self.evaluated(each),
        )
        domains = {name: part["mean"] for name, part in evaluation.summary["domains"].items()}
        point = {"step": 0, "rollouts": 0, "updates": 0, "mean": evaluation.summary["mean"], "domains": domains}
        return {"seconds": time.perf_counter() - begin, "evaluated": self.evaluated(each), "curve": [point]}

    # what came out ---------------------------------------------------------------------------------------------------

    def write(self, docs: Path | None) -> Path:
        """Page and tables of what is finished."""
        results = self.results()
        summary = summarise(self.scale, results) | {"command": self.command}
        for folder in (self.out, *([docs] if docs else [])):
            for name, text in page.files(summary, results).items():
                self._write(folder / name, text)
        return self.out / "findings.html"

    def _write(self, target: Path, text: str) -> None:
        """A file that is whole or not there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.rename(target)


def read_result(folder: Path, recipe: RlcsRecipe) -> dict[str, Any]:
    """What a finished run's metrics say: its held-out curve over rollouts and updates, and its own alarms."""
    (run,) = read_runs(folder)
    curve, rollouts, updates, seconds = [], 0.0, 0.0, 0.0
    rewards: dict[str, list[float]] = {}  # of each domain's rollouts since the last evaluation
    for row in run.metrics:
        for name in run.names("reward", depth=1):
            rewards.setdefault(name.partition("/")[2], []).extend([row[name]] if name in row else [])
        rollouts += row["groups"] * recipe.rollout.responses
        updates += row["updates"]
        seconds += row["seconds/step"] + row.get("seconds/evaluation", 0.0)
        if "evaluation" in row:
            domains = {name.partition("/")[2]: row[name] for name in row if name.startswith("evaluation/")}
            curve.append(
                {
                    "step": int(row["step"]),
                    "rollouts": int(rollouts),
                    "updates": int(updates),
                    "mean": row["evaluation"],
                    "domains": domains,
                    "training": {domain: fmean(values) for domain, values in rewards.items() if values},
                }
            )
            rewards = {}
    return {
        "learning_rate": recipe.optim.learning_rate,
        "rollouts": int(rollouts),
        "updates": int(updates),
        "seconds": seconds,
        "evaluated": recipe.data.evaluation_problems * len(curve),
        "informative": sum(row["kept_share"] for row in run.metrics) / len(run.metrics),
        "curve": curve,
        "alarms": [asdict(alarm) for alarm in alarms(run)],
    }


def _guess(rollouts: float, problems: float) -> float:
    return SECONDS_A_ROLLOUT * rollouts + SECONDS_A_PROBLEM * problems
