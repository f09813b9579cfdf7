"""Compiles all CUDA kernels for every architecture and reads what ptxas says of them: make cuda-check.

    python tests/cuda/check.py

Fails on spills, on wgmma instructions that are serialised, and on registers above the budget that each kernel states
as kRegisters (it stands in the entry's name, see csrc/cuda/device.h). What ptxas said stays in build/cuda/*.ptxas, the
table in build/cuda/registers.txt.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "cuda"

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


@dataclass(frozen=True)
class Kernel:
    """One entry function of one architecture."""

    name: str
    arch: str
    registers: int
    budget: int
    spilled: int  # bytes

    @property
    def fault(self) -> str:
        if self.spilled:
            return f"spills {self.spilled} bytes"
        return f"above its budget of {self.budget}" if self.registers > self.budget else ""


def keep_ptxas(command: list[str]) -> int:
    """Runs a compiler command; what it says goes beside its output, so that what is built already is known too."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    output = Path(command[command.index("-o") + 1])
    if output.suffix == ".o":
        (BUILD / f"{output.name.removesuffix('.cu.o')}.ptxas").write_text(done.stderr)
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done.returncode


def build() -> None:
    python = Path(sys.executable)
    launcher = f"{python};{Path(__file__).resolve()};--keep-ptxas"
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", f"-DPython_EXECUTABLE={python}", "-DGLM4V_CUDA=on",
                 f"-DCMAKE_CUDA_COMPILER_LAUNCHER={launcher}", "-DCMAKE_CUDA_FLAGS=-Xptxas=-v"]  # fmt: skip
    for command in (configure, ["cmake", "--build", BUILD, "--target", "_cuda", "_cuda_probes"]):
        subprocess.run(command, check=True)


def read_kernels() -> list[Kernel]:
    kernels = []
    for path in sorted(BUILD.glob("*.ptxas")):
        for found in ENTRY.finditer(path.read_text()):
            demangled = subprocess.run(["c++filt", found["name"]], capture_output=True, text=True, check=True).stdout
            name, budget = re.match(r"void glm4v::cuda::entry<(.*), \w+::?.*?, (\d+)>\(", demangled).groups()
            spilled = int(found["stores"]) + int(found["loads"])
            kernels.append(Kernel(name, found["arch"], int(found["registers"]), int(budget), spilled))
    return kernels


def serialised() -> list[str]:
    """Warnings that wgmma instructions wait for each other because registers of theirs are touched in between."""
    lines = [line for path in BUILD.glob("*.ptxas") for line in path.read_text().splitlines()]
    return [line for line in lines if "wgmma" in line and "serialized" in line]


def main() -> int:
    if not shutil.which("nvcc") and not Path("/usr/local/cuda/bin/nvcc").exists():
        print("cuda-check: nvcc was not found; it compiles the kernels, so nothing was checked", file=sys.stderr)
        return 1
    build()
    kernels = read_kernels()
    lines = [f"{k.registers:4} of {k.budget:3}  {k.arch}  {k.name}  {k.fault}".rstrip() for k in kernels]
    (BUILD / "registers.txt").write_text("\n".join(lines) + "\n")
    faults = [line for line, kernel in zip(lines, kernels, strict=True) if kernel.fault] + serialised()
    if not any("fused::Gemm" in kernel.name for kernel in kernels):
        faults.append("no fused kernels were built: pip install --no-deps nvidia-cutlass==4.2.0.0")
    print("\n".join(faults or lines))
    print(f"cuda-check: {len(kernels)} entry functions, {len(faults)} faults")
    return 1 if faults or not kernels else 0


if __name__ == "__main__":
    sys.exit(keep_ptxas(sys.argv[2:]) if sys.argv[1:2] == ["--keep-ptxas"] else main())
