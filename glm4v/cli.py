"""The command `glm4v`: argument handling and nothing else. Each command imports its room when it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import rich
import typer
from rich.console import Console
from rich.progress import Progress

app = typer.Typer(
    help="GLM-4.1V-Thinking: train, ask and evaluate. Start with: glm4v demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[str, typer.Argument(help="A YAML file, or the name of an installed recipe such as demo_sft.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Recipe fields, such as optim.learning_rate=3e-4."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in the run's folder.")]
Folder = Annotated[Path, typer.Argument(help="A folder with a model in transformers' format and its tokenizer.")]
Tokens = Annotated[int, typer.Option(help="Length limit of a response, in tokens.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token.")]
Budget = Annotated[int | None, typer.Option(help="Tokens of thinking after which the answer is forced.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("runs/demo"),
    resume: Resume = False,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Two steps a stage: does everything work?")] = False,
) -> None:
    """Build data, pretrain, fine-tune, reinforce, evaluate and report: a small model, from nothing, on this machine."""
    with plain_errors():
        from glm4v import demo

        demo.run(out, resume=resume, rehearse=rehearse)


@app.command()
def pretrain(recipe: Recipe, overrides: Overrides = None, resume: Resume = False) -> None:
    """Pretrain on all text of conversations with pictures."""
    with plain_errors():
        from glm4v.train import pretrain
        from glm4v.train.recipe import PretrainRecipe, load_recipe

        typer.echo(pretrain.run(load_recipe(recipe, _overrides(overrides, resume), PretrainRecipe)))


@app.command()
def sft(recipe: Recipe, overrides: Overrides = None, resume: Resume = False) -> None:
    """Fine-tune on the assistant's turns."""
    with plain_errors():
        from glm4v.train import sft
        from glm4v.train.recipe import SftRecipe, load_recipe

        typer.echo(sft.run(load_recipe(recipe, _overrides(overrides, resume), SftRecipe)))


@app.command()
def rlcs(recipe: Recipe, overrides: Overrides = None, resume: Resume = False) -> None:
    """Reinforcement learning with curriculum sampling, on problems with answers that rules can check."""
    with plain_errors():
        from glm4v.rl import rlcs
        from glm4v.rl.recipe import RlcsRecipe
        from glm4v.train.recipe import load_recipe

        typer.echo(rlcs.run(load_recipe(recipe, _overrides(overrides, resume), RlcsRecipe)))


@app.command()
def grade(
    problems: Annotated[Path, typer.Argument(help="JSONL of problems.")],
    model: Annotated[list[Path], typer.Option(help="A model's folder; may be given again.")],
    k: Annotated[int, typer.Option(min=2, help="Responses of each model to each problem.")] = 8,
    max_new_tokens: Tokens = 1024,
    temperature: Annotated[float, typer.Option(help="Of sampling; above 0.")] = 1.0,
    thinking_budget: Budget = None,
    reward: Annotated[str | None, typer.Option(help="Verifier of all problems: a name, or package.module:fn.")] = None,
    seed: Seed = 0,
) -> None:
    """Pass rates under models, and five tiers of difficulty, beside the problems; a killed one goes on."""
    with plain_errors():
        from glm4v.rl.grade import grade
        from glm4v.rl.recipe import RolloutSection

        rollout = RolloutSection(
            responses=k, max_new_tokens=max_new_tokens, temperature=temperature, thinking_budget=thinking_budget
        )
        with progress("grade") as on_progress:
            typer.echo(grade(problems, model, rollout, reward=reward, seed=seed, on_progress=on_progress))


@app.command()
def findings(
    out: Annotated[Path | None, typer.Option(help="Folder of all runs [runs/findings, runs/findings_quick].")] = None,
    demo: Annotated[Path, typer.Option(help="The demo whose SFT model runs start from; made when absent.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="One seed, three domains, ten minutes: no evidence.")] = False,
    only: Annotated[int | None, typer.Option(min=1, max=3, help="The runs of this finding alone.")] = None,
    rate: Annotated[float | None, typer.Option(help="A learning rate for all methods in place of tuning.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder that gets findings.md, plots and figures, too.")] = None,
) -> None:
    """Reproduce the report's three findings on the gym: run by run, and on from where it was stopped. Several processes
    with one --out share the runs."""
    with plain_errors():
        from glm4v import findings

        folder = out or Path("runs/findings_quick" if quick else "runs/findings")
        typer.echo(findings.run(folder, demo, quick=quick, only=only, rate=rate, docs=docs))


@app.command("eval")
def evaluate(
    folder: Folder,
    problems: Annotated[Path, typer.Argument(help="JSONL of problems.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results [FOLDER/eval/NAME].")] = None,
    limit: Annotated[int | None, typer.Option(help="The first so many problems alone.")] = None,
    max_new_tokens: Tokens = 1024,
    temperature: Temperature = 0.0,
    thinking_budget: Budget = None,
    seed: Seed = 0,
) -> None:
    """Accuracy by domain and tier."""
    with plain_errors():
        from glm4v import Glm4v, Processor, eval
        from glm4v.data.files import read_problems
        from glm4v.model import best_device

        with progress("eval") as on_progress:
            evaluation = eval.evaluate(
                Glm4v.from_pretrained(folder, device=best_device()),
                Processor.from_pretrained(folder),
                read_problems(problems),
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                thinking_budget=thinking_budget,
                limit=limit,
                seed=seed,
                on_progress=on_progress,
            )
        rich.print(eval.table(evaluation.summary))
        typer.echo(evaluation.write(out or folder / "eval" / problems.stem))


@app.command()
def generate(
    folder: Folder,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    image: Annotated[list[Path] | None, typer.Option(help="A picture or video; may be given again.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the first picture with the answer's boxes drawn.")] = None,
    max_new_tokens: Tokens = 1024,
    temperature: Temperature = 0.0,
    thinking_budget: Budget = None,
    seed: Seed = 0,
) -> None:
    """Ask a question about pictures."""
    if save is not None and not image:
        raise typer.BadParameter("needs a picture to draw on: --image", param_hint="--save")
    with plain_errors():
        from glm4v.ask import ask, draw_boxes

        with progress("tokens") as on_progress:
            response = ask(
                folder,
                question,
                image or [],
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                thinking_budget=thinking_budget,
                seed=seed,
                on_progress=on_progress,
            )
        typer.echo(response)
        if save is not None and image:
            typer.echo(f"{save}: {draw_boxes(image[0], response, save)} boxes")


@app.command()
def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[str | None, typer.Option(help="The model's name for clients [the folder's].")] = None,
    max_tokens: Annotated[int, typer.Option(min=2, help="Of a request, prompt and answer together.")] = 8192,
    sequences: Annotated[int | None, typer.Option(min=1, help="Answers that are written at once.")] = None,
    min_pixels: Annotated[int | None, typer.Option(min=1, help="Of one image [what the folder says].")] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Of one image [what the folder says].")] = None,
    reload_from: Annotated[
        Path | None, typer.Option(help="Let clients load new weights from below this folder, as `glm4v rlcs` does.")
    ] = None,
) -> None:
    """Answer OpenAI's chat completions over HTTP, for users and for rollouts."""
    with plain_errors():
        from glm4v.generation.server import serve

        serve(
            folder,
            host,
            port,
            name=name,
            max_tokens=max_tokens,
            sequences=sequences,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            reload_from=reload_from,
            on_ready=lambda line: print(line, flush=True),
        )


@app.command()
def gym(
    out: Annotated[Path, typer.Argument(help="Folder for JSONL files and pictures, or the PNG of --preview.")],
    pretrain: Annotated[int, typer.Option(help="Captioned pictures a domain.")] = 2000,
    sft: Annotated[int, typer.Option(help="Worked examples a domain.")] = 400,
    rl: Annotated[int, typer.Option(help="Problems to reinforce on, a domain.")] = 2000,
    validation: Annotated[int, typer.Option(help="Problems to choose settings on, a domain.")] = 50,
    heldout: Annotated[int, typer.Option(help="Problems to report on, a domain.")] = 1000,
    domain: Annotated[list[str] | None, typer.Option(help="This domain alone; may be given again.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that draw.")] = 2,
    preview: Annotated[bool, typer.Option("--preview", help="Write a contact sheet of all domains instead.")] = False,
    seed: Seed = 0,
) -> None:
    """Write small procedural problems on real pixels."""
    with plain_errors():
        from glm4v import gym

        if preview:
            typer.echo(gym.preview(out, seed=seed))
            return
        counts = {"pretrain": pretrain, "sft": sft, "rl": rl, "validation": validation, "heldout": heldout}
        with progress("gym") as on_progress:
            gym.write(out, seed=seed, **counts, domains=domain, workers=workers, progress=on_progress)


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OP ...|all|model|growth|curriculum|demo|rewards]", help="Operators; nothing means all."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file; all, curriculum, demo and rewards go into benchmarks/results without it."),
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Earlier JSON file whose times are shown beside.")] = None,
    plot: Annotated[Path | None, typer.Option(help="HTML file of all figures.")] = None,
    seeds: Annotated[int, typer.Option(help="demo: how many, from 0 on.")] = 3,
    heldout: Annotated[int, typer.Option(help="demo: problems a domain.")] = 1000,
    device: Annotated[str, typer.Option(help="cpu, or cuda: operators and a slice of the 9B model on a GPU.")] = "cpu",
) -> None:
    """Measure operators against plain torch, the model against transformers, the demo against more SFT, rewards."""
    with plain_errors():
        from glm4v import benchmarks

        if names == ["demo"]:
            from glm4v.benchmarks import bench_demo

            bench_demo.run(range(seeds), heldout, out or bench_demo.RESULT)
        elif names == ["curriculum"]:
            from glm4v.benchmarks import bench_curriculum

            bench_curriculum.run(out=out or bench_curriculum.RESULT)
        elif names == ["rewards"]:
            from glm4v.benchmarks import bench_rewards

            bench_rewards.run(out or bench_rewards.RESULT)
        else:
            benchmarks.run(names or [], out, compare, plot, device)


@app.command()
def doctor() -> None:
    """Tell what is built, what this machine has, and the fix where something is broken."""
    with plain_errors():
        from glm4v import doctor

        raise typer.Exit(doctor.run())


@app.command("reward-check")
def reward_check(
    answers: Annotated[
        Path,
        typer.Argument(help="JSONL of answers: domain, prediction or response, truth, and perhaps question, label."),
    ],
    out: Annotated[Path | None, typer.Option(help="HTML page [ANSWERS with .html].")] = None,
) -> None:
    """Try verifiers on answers of your own: hits, disagreements with labels, the slowest."""
    with plain_errors():
        from glm4v.report import reward_check

        with progress("answers") as on_progress:
            checked = reward_check.read(answers, on_progress)
        rich.print(reward_check.table(checked))
        page = out or answers.with_suffix(".html")
        page.write_text(reward_check.html(checked, answers.name), encoding="utf-8")
        typer.echo(page)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder, or the demo's.")]) -> None:
    """Write report.html, one file that needs no network, into a run's folder."""
    with plain_errors():
        from glm4v import report

        typer.echo(report.build(run))


def _overrides(overrides: list[str] | None, resume: bool) -> list[str]:
    return [*(overrides or []), *(["resume=true"] if resume else [])]


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, and the function (done, total) that moves it."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can mend is told in one line without a traceback; Ctrl-C ends with the line of the run it stopped."""
    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        raise typer.Exit(130) from stop
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"glm4v: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the console script."""
    app()
