"""The folder of a run (recipe, metrics, samples, checkpoints, model), its progress display, and how it is stopped."""

import json
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from glm4v.train.recipe import Recipe

console = Console()


class RunFolder:
    """`<out>`: recipe.yaml, metrics.jsonl, samples/step_*.jsonl, checkpoints/step_*/, model/, and TensorBoard's files.

    Args:
        path: the folder; made when missing.
        recipe: written to recipe.yaml as resolved.
        resume: go on in a folder that already holds a run.
        rank: of this process; only rank 0 writes.

    Raises:
        FileExistsError: the folder holds a run and `resume` is false.
    """

    def __init__(self, path: str | Path, recipe: Recipe, resume: bool = False, rank: int = 0):
        self.path = Path(path)
        self.recipe = recipe
        self.writes = rank == 0
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self._board: Any = None
        if not self.writes:
            return
        if not resume and self.metrics.exists() and self.metrics.stat().st_size:
            raise FileExistsError(
                f"out: {self.path} already holds a run; add --resume to go on, or choose another out="
            )
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        self.metrics.touch()
        self._board = _tensorboard(self.path / "tensorboard")

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return f"glm4v {self.recipe.command} {self.path / 'recipe.yaml'} --resume"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line {"step", "time" (seconds since the epoch), name: number} to metrics.jsonl; TensorBoard too."""
        if not self.writes:
            return
        numbers = {name: float(value) for name, value in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3)} | numbers) + "\n")
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)

    def sample(self, step: int, record: Mapping[str, Any]) -> None:
        """Append one record to samples/step_<step>.jsonl, for people to read."""
        if not self.writes:
            return
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        with (folder / f"step_{step:06d}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record), ensure_ascii=False) + "\n")

    def rewind(self, step: int) -> None:
        """Forget metrics and samples after `step`: a resumed run writes them again."""
        if not self.writes:
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self.metrics.write_text("".join(kept), encoding="utf-8")
        for file in (self.path / "samples").glob("step_*.jsonl"):
            if int(file.stem.removeprefix("step_")) > step:
                file.unlink()

    def close(self) -> None:
        """Flush TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard writer, or None and a line that says so where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        console.print("TensorBoard is not installed: metrics.jsonl alone is written (pip install 'glm4v\\[report]')")
        return None
    return SummaryWriter(str(folder))


class StepDisplay:
    """A progress bar over steps with a line of figures; where output is no terminal, a line every ten seconds."""

    def __init__(self, title: str, steps: int, done: int = 0, rank: int = 0):
        self._title, self._steps, self._last = title, steps, 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=rank > 0 or not console.is_terminal,
            transient=False,
        )
        self._task = self._bar.add_task(title, total=steps, completed=done, figures="")
        self._prints = rank == 0 and not console.is_terminal

    def __enter__(self) -> "StepDisplay":
        self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.stop()

    def update(self, done: int, figures: str) -> None:
        """`done` steps are done; `figures` is what to read beside the bar, such as "loss 0.41  12,000 tokens/s"."""
        self._bar.update(self._task, completed=done, figures=figures)
        now = time.monotonic()
        if self._prints and (now - self._last > 10 or done == self._steps):
            self._last = now
            console.print(f"{self._title} {done}/{self._steps}  {figures}", highlight=False)


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop and did so after saving; the message tells how to go on."""


class InterruptWatch:
    """While open, Ctrl-C and SIGTERM set `requested` instead of ending the process; a second one ends it at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "InterruptWatch":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers there alone
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        console.print("stopping: this step is finished and saved first (again to stop at once)")
