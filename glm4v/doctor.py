"""What `glm4v doctor` tells: the state of an installation on one screen, and what mends what is broken."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import glm4v
from glm4v.build_info import BUILD_COMMAND, is_stale


@dataclass(frozen=True)
class Finding:
    """One line of the screen; `fix` is set when something is broken."""

    name: str
    text: str
    fix: str | None = None


def examine() -> Iterator[Finding]:
    """All findings. Imports torch before the extension, as the package does."""
    yield Finding("glm4v", f"{glm4v.__version__} in {Path(glm4v.__file__).parent}")
    yield Finding("Python", f"{platform.python_version()}, {platform.machine()}")
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", str(error), "pip install torch==2.13.0")
        return
    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("transformers", f"{importlib.metadata.version('transformers')} (tested with 5.23.0)")
    yield from examine_extension()
    yield examine_openmp()
    yield examine_cuda()
    yield examine_deepspeed()
    yield from (examine_extra(name, module) for name, module in EXTRAS)


def examine_extension() -> Iterator[Finding]:
    try:
        from glm4v.ops.library import native
        from glm4v.ops.linear import HAS_BF16_PRODUCTS, ONEDNN_IN_FLOAT32
    except ImportError as error:
        yield Finding("extension", str(error), BUILD_COMMAND)
        return
    stale = is_stale(native.source_hash)
    state = "older than csrc/" if stale else "up to date"
    yield Finding("extension", f"{native.compiler}, {state}", BUILD_COMMAND if stale else None)
    variants = native.variants()
    here = ", ".join(name for name, (_, runs) in variants.items() if runs)
    elsewhere = ", ".join(name for name, (_, runs) in variants.items() if not runs)
    yield Finding(
        "instruction sets", f"{native.isa()} in use; {here} run here; not on this machine: {elsewhere or '-'}"
    )
    way = "bf16 instructions" if HAS_BF16_PRODUCTS else "blocks widened to float32 (no bf16 instructions)"
    yield Finding("float32 products", "oneDNN" if ONEDNN_IN_FLOAT32 else "torch's choice")
    yield Finding("bfloat16 products", way)


def openmp_runtimes() -> list[str]:
    """Paths of the OpenMP runtimes mapped into this process."""
    names = ("libgomp", "libiomp", "libomp")
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split()[-1] for line in lines if "/" in line}
    return sorted(path for path in paths if Path(path).name.startswith(names))


def examine_openmp() -> Finding:
    runtimes = openmp_runtimes()
    if len(runtimes) == 1:
        return Finding("OpenMP", runtimes[0])
    fix = "import torch before any other package that brings an OpenMP runtime; check LD_PRELOAD"
    return Finding("OpenMP", f"{len(runtimes)} runtimes mapped: {', '.join(runtimes)}", fix)


def examine_cuda() -> Finding:
    """Whether kernels are built and, where no GPU is used, why."""
    import torch

    nvcc, driver = shutil.which("nvcc"), Path("/proc/driver/nvidia/version").exists()
    here = f"nvcc {'found' if nvcc else 'not found'}, driver {'found' if driver else 'not found'}"
    fix = f"GLM4V_CUDA=on {BUILD_COMMAND}"
    if importlib.util.find_spec("glm4v._cuda") is None:
        text = f"kernels are not built: on a GPU plain torch serves every operator ({here})"
        return Finding("CUDA", text, fix if driver and torch.cuda.is_available() else None)
    module = importlib.import_module("glm4v._cuda")
    if is_stale(module.source_hash):
        return Finding("CUDA", "kernels are older than csrc/", fix)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU is used: torch finds none ({here})"
    return Finding("CUDA", f"kernels are built by {module.compiler}; {gpu}")


def examine_deepspeed() -> Finding:
    if importlib.util.find_spec("deepspeed") is None:
        return Finding("DeepSpeed", "not installed: one process only (pip install 'glm4v[distributed]')")
    probe = subprocess.run(
        [sys.executable, "-c", "import deepspeed"],
        env={**os.environ, "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "cpu")},
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        last = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("DeepSpeed", f"does not import: {last}", "pip install --force-reinstall deepspeed")
    return Finding("DeepSpeed", f"{importlib.metadata.version('deepspeed')}, imports")


EXTRAS = [("video", "av"), ("gym", "sklearn"), ("gym", "skimage"), ("report", "matplotlib"), ("report", "tensorboard")]


def examine_extra(extra: str, module: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, f"not installed (pip install 'glm4v[{extra}]')")
    return Finding(module, "installed")


def run() -> int:
    """Prints the screen; returns 1 when something is broken, else 0."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 1))
    broken = []
    for finding in examine():
        mark = "[red]✗[/]" if finding.fix else "[green]✓[/]"
        table.add_row(mark, f"[bold]{finding.name}[/]", finding.text)
        if finding.fix:
            broken.append(finding)
    console = Console()
    console.print(table)
    for finding in broken:
        console.print(f"[red]{finding.name} is broken.[/] Fix: {finding.fix}", soft_wrap=True)
    return 1 if broken else 0
