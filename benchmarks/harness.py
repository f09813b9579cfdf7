"""Ours against a peer: both in one process on the same data, alternately; the ratio, its spread, the ceiling's share.

The ceiling of a row is what the machine was measured to do just before: matrix products at `products[dtype]` for its
FLOPs, or copies at `copy` for its bytes, whichever takes longer.

With one thread (OMP_NUM_THREADS=1) the clock is the processor time of this process, so that other programs matter
little; with several it is the wall's, and the machine has to be quiet. On a GPU (where torch's default device is one)
it is the device's own, by events on its stream: the device is kept busy until the host is HEAD seconds a call ahead, so
that what is timed is kernels, not the host's way to them.

Freed memory stays with the process (native.keep_freed_memory), as in training: else every large result of either side
would pay more for its pages than for its figures.
"""

import ctypes
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from glm4v import ops
from glm4v.benchmarks.shapes import LAYER_9B, Sizes
from glm4v.ops.library import native

SHORTEST = 0.004  # seconds of one timing; quicker work is repeated within it, so that the clock does not matter
ROUNDS = (3, 15)  # of timing, ours and the peer in each: at least, at most
LONG = 20.0  # seconds after which two rounds are enough
BUDGETS = {"cpu": 1.0, "cuda": 0.15}  # seconds for a row's rounds; a GPU's times vary little
HEAD, MOST_HEAD = 5e-4, 0.05
CYCLES = 2e9  # of a GPU in a second, about

WIDE = 160  # columns of tables where there is no terminal

console = Console(width=None if sys.stdout.isatty() else WIDE)
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row: the same work done twice. bytes: moved to and from memory at the least; flops: multiply-add is two."""

    operator: str
    direction: str  # "forward" (with its graph recorded, as in training), "backward", or what it is
    dtype: torch.dtype
    shape: str
    peer: str
    ours: Work
    theirs: Work
    bytes: float
    flops: float = 0.0


@dataclass(frozen=True)
class Machine:
    """Where it was measured; rates in GB/s (read and written) and GFLOP/s, at the thread count in use."""

    processor: str  # a CPU or a GPU
    instruction_set: str
    threads: int
    clock: str  # "processor", "wall" or "device"
    torch: str
    copy: float
    products: dict[str, float]


@dataclass(frozen=True)
class Row:
    """What was measured of a case: seconds are medians, ratio is the peer's time over ours, paired a round.

    bytes and flops are the case's count; memory is the most that ours and the peer held beyond their inputs, in bytes,
    results included: the growth of the resident set, None where the system does not tell.
    """

    operator: str
    direction: str
    dtype: str
    shape: str
    peer: str
    seconds: float
    peer_seconds: float
    ratio: float
    ratio_low: float  # quartiles over rounds
    ratio_high: float
    share_of_ceiling: float
    bytes: float
    flops: float
    memory: int | None
    peer_memory: int | None


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# the machine --------------------------------------------------------------------------------------------------------


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def on_gpu() -> bool:
    """Whether new tensors lie on a GPU."""
    return torch.get_default_device().type == "cuda"


def describe_machine(side: int = 2048, copied: int = 1 << 28) -> Machine:
    """Measures products of side x side matrices (on a GPU four times that) in float32 and bfloat16, by the faster of
    torch's libraries that `ops.linear` takes, and a copy of so many bytes (eight times)."""
    side, copied = (4 * side, 8 * copied) if on_gpu() else (side, copied)
    products = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, dtype=dtype) for _ in range(2))
        products[name_of(dtype)] = 2 * side**3 / best(partial(ops.linear, a, b)) / 1e9
    source = torch.ones(copied // 4)
    target = torch.empty_like(source)
    copy = 2 * copied / best(lambda: target.copy_(source)) / 1e9
    if on_gpu():
        name, arch = torch.cuda.get_device_name(), "sm_{}{}".format(*torch.cuda.get_device_capability())
        return Machine(name, arch, torch.get_num_threads(), "device", torch.__version__, copy, products)
    kind = "processor" if clock() is time.process_time else "wall"
    return Machine(cpu_name(), native.isa(), torch.get_num_threads(), kind, torch.__version__, copy, products)


def best(work: Work, rounds: int = 7) -> float:
    """The shortest of several timings: a ceiling is what the machine can do undisturbed."""
    work()
    return min(timed(work, 1) for _ in range(rounds))


# timing -------------------------------------------------------------------------------------------------------------


def clock() -> Callable[[], float]:
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def timed(work: Work, calls: int) -> float:
    """Seconds of one of `calls` calls in a row."""
    if on_gpu():
        begin_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(int(CYCLES * min(HEAD * calls, MOST_HEAD)))
        begin_event.record()
        for _ in range(calls):
            work()
        end_event.record()
        end_event.synchronize()
        return begin_event.elapsed_time(end_event) / 1e3 / calls
    now = clock()
    begin = now()
    for _ in range(calls):
        work()
    return (now() - begin) / calls


def calls_for(seconds: float) -> int:
    """Repetitions in one timing of work that takes so long."""
    return max(1, math.ceil(SHORTEST / seconds))


def measure(case: Case, machine: Machine, budget: float | None = None) -> Row:
    """Times ours and the peer alternately, for about `budget` seconds, at least ROUNDS[0] times (twice where long)."""
    if budget is None:
        budget = BUDGETS[torch.get_default_device().type]
    memory = (extra_memory(case.ours), extra_memory(case.theirs))
    begin = time.perf_counter()
    first = (timed(case.ours, 1), timed(case.theirs, 1))
    calls = [calls_for(seconds) for seconds in first]
    ours, theirs = ([seconds] if calls == [1, 1] else [] for seconds in first)
    elapsed = time.perf_counter() - begin
    while len(ours) < (ROUNDS[0] if elapsed < LONG else 2) or (len(ours) < ROUNDS[1] and elapsed < budget):
        ours.append(timed(case.ours, calls[0]))
        theirs.append(timed(case.theirs, calls[1]))
        elapsed = time.perf_counter() - begin
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, ratio, high = quantiles(ratios, n=4)
    product = max(machine.products.values()) if case.dtype == torch.bfloat16 else machine.products["float32"]
    ceiling = max(case.bytes / machine.copy, case.flops / product) / 1e9
    return Row(
        case.operator, case.direction, name_of(case.dtype), case.shape, case.peer, median(ours), median(theirs),
        ratio, low, high, ceiling / median(ours), case.bytes, case.flops, *memory,
    )  # fmt: skip


# memory -------------------------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at the most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def start_peak() -> None:
    """VmHWM counts from here on; raises OSError where the system does not allow it."""
    Path("/proc/self/clear_refs").write_text("5")


def extra_memory(work: Work) -> int | None:
    """The most bytes that `work` held beyond what was there before; None where the system does not tell."""
    if on_gpu():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - held
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before counts again when it is used
        start_peak()
        before = resident("VmRSS")
    except (OSError, AttributeError):
        return None
    result = work()
    peak = resident("VmHWM")
    del result
    return max(0, peak - before)


# cases --------------------------------------------------------------------------------------------------------------


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def both_directions(
    operator: str,
    shape: str,
    peer: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Sequence[Tensor],
    moved: tuple[float, float],
    flops: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Case]:
    """The forward and the backward case of functions of differentiable `inputs`, one after the other.

    moved: bytes; moved and flops: (forward, backward).
    """
    leaves = [x.detach().requires_grad_() for x in inputs]
    dtype = leaves[0].dtype
    works = [lambda: ours(*leaves), lambda: theirs(*leaves)]
    yield Case(operator, "forward", dtype, shape, peer, works[0], works[1], moved[0], flops[0])
    outputs = [as_tuple(work()) for work in works]
    grads = [torch.randn_like(out) for out in outputs[0]]
    ours_back, theirs_back = (
        lambda out=out: torch.autograd.grad(out, leaves, grads, retain_graph=True) for out in outputs
    )
    yield Case(operator, "backward", dtype, shape, peer, ours_back, theirs_back, moved[1], flops[1])


def with_compiled(
    peer: str, theirs: Callable[..., Any], sizes: Sizes, dtype: torch.dtype
) -> list[tuple[str, Callable[..., Any]]]:
    """The peer, and at the sizes of the 9B model what torch.compile makes of it, too; on a GPU, where it takes long to
    do so, in bfloat16."""
    compiles = sizes.name == LAYER_9B.name and (dtype == torch.bfloat16 or not on_gpu())
    return [(peer, theirs), *([(f"{peer}, torch.compile", torch.compile(theirs, dynamic=False))] if compiles else [])]


# results ------------------------------------------------------------------------------------------------------------


def run(title: str, cases: Iterator[Case], machine: Machine) -> list[Row]:
    """Measures `cases` and prints them as a table, a line as soon as it is known."""
    rows = []
    with console.status(title) as status:
        for case in cases:
            status.update(f"{title}: {case.operator} {case.direction} {name_of(case.dtype)} {case.shape}")
            rows.append(measure(case, machine))
    console.print(table(title, rows))
    return rows


def table(title: str, rows: Sequence[Row]) -> Table:
    grid = Table(title=title, title_justify="left")
    for name in ("operator", "direction", "type", "shape"):
        grid.add_column(name)
    for name in ("time", "peer", "ratio", "quartiles", "of ceiling", "counted", "memory", "peer's"):
        grid.add_column(name, justify="right")
    for row in rows:
        colour = "red" if row.ratio_high < 1 else "green"
        counted = f"{row.flops / 1e9:.3g} GFLOP" if row.flops else f"{row.bytes / 1e6:.3g} MB"
        grid.add_row(
            row.operator, row.direction, row.dtype, row.shape, duration(row.seconds), duration(row.peer_seconds),
            f"[{colour}]{row.ratio:.2f}x[/]", f"{row.ratio_low:.2f} - {row.ratio_high:.2f}",
            f"{row.share_of_ceiling:.0%}", counted, megabytes(row.memory), megabytes(row.peer_memory),
        )  # fmt: skip
    return grid


def megabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e6:.3g} MB"


def duration(seconds: float) -> str:
    """Three digits of seconds, ms or us."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def print_machine(machine: Machine) -> None:
    products = ", ".join(f"{rate:.0f} GFLOP/s {dtype}" for dtype, rate in machine.products.items())
    console.print(
        f"{machine.processor}, {machine.instruction_set}, {machine.threads} threads ({machine.clock} clock), "
        f"torch {machine.torch}; "
        f"products {products}, copy {machine.copy:.0f} GB/s"
    )


SAME = ("operator", "direction", "dtype", "shape", "peer")  # what a row has in common with its like in another run


def compare(new: dict[str, Any], old: dict[str, Any]) -> Table:
    """Rows that stand in two results, as `as_json` gives them: their times and ratios then and now."""
    conditions = ("processor", "instruction_set", "threads", "clock", "torch")
    differing = [name for name in conditions if old["machine"].get(name) != new["machine"][name]]
    caption = f"measured under another: {', '.join(differing)}" if differing else None
    grid = Table(title="compared", title_justify="left", caption=caption, caption_justify="left")
    for name in ("operator", "direction", "type", "shape"):
        grid.add_column(name)
    for name in ("then", "now", "then / now", "ratio then", "ratio now"):
        grid.add_column(name, justify="right")
    then = {tuple(row[name] for name in SAME): row for row in old["rows"]}
    for row in new["rows"]:
        if (earlier := then.get(tuple(row[name] for name in SAME))) is None:
            continue
        change = earlier["seconds"] / row["seconds"]
        colour = "red" if change < 0.95 else "green" if change > 1.05 else "default"
        grid.add_row(
            row["operator"], row["direction"], row["dtype"], row["shape"], duration(earlier["seconds"]),
            duration(row["seconds"]), f"[{colour}]{change:.2f}x[/]", f"{earlier['ratio']:.2f}x", f"{row['ratio']:.2f}x",
        )  # fmt: skip
    return grid


def rounded(value: Any) -> Any:
    """All floats in `value` to four digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def as_json(machine: Machine, rows: Sequence[Row]) -> dict[str, Any]:
    """The machine and the rows, figures to four digits."""
    return rounded({"machine": asdict(machine), "rows": [asdict(row) for row in rows]})
