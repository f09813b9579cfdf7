"""Everything that needs a GPU, in one command that installs nothing: make gpu-check.

    python tests/cuda/gpu_check.py [--device cpu] [--minutes 9]

Builds the package for the GPU that is here under build/gpu-package (with fused kernels where nvidia-cutlass is
installed or GLM4V_CUTLASS names a folder of its headers), runs the tests of instructions and of all kernels
on it, then the benchmarks, which write benchmarks/results/, and few shapes under compute-sanitizer. Each part's
output stays in build/gpu-check/ as soon as it is done, and what came of it in build/gpu-check/summary.json. Ends with 1
when a part failed. With --device cpu the emulator stands in the GPU's place: a rehearsal of the command, not a
measurement.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE, LOGS = ROOT / "build" / "gpu-package", ROOT / "build" / "gpu-check"


class Check:
    """Runs parts one after the other within a time, and keeps what came of each."""

    def __init__(self, device: str, minutes: float) -> None:
        self.device, self.deadline = device, time.monotonic() + 60 * minutes
        self.parts: dict[str, dict[str, object]] = {}
        path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
        self.environment = dict(os.environ, PYTHONPATH=path, GLM4V_STANDINS="OFF", GLM4V_CUDA_EMULATOR="ON")
        self.environment["GLM4V_CUDA"] = "on" if device == "cuda" else "off"
        LOGS.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: list[str], cwd: Path = PACKAGE, at_most: float = 600) -> bool:
        """One part; its output goes to the screen and to build/gpu-check/<name>.log."""
        seconds = min(at_most, self.deadline - time.monotonic())
        print(f"--- {name}: {' '.join(command)}", flush=True)
        if seconds <= 0:
            return self.note(name, "not run: no time left", 0)
        begin = time.monotonic()
        log = LOGS / f"{name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, cwd=cwd, env=self.environment, stdout=file, stderr=subprocess.STDOUT)
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                code = None
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), flush=True)
        result = "passed" if code == 0 else "cut off" if code is None else f"failed with {code}"
        return self.note(name, result, time.monotonic() - begin)

    def note(self, name: str, result: str, seconds: float) -> bool:
        self.parts[name] = {"result": result, "seconds": round(seconds, 1)}
        (LOGS / "summary.json").write_text(json.dumps(self.parts, indent=1) + "\n")
        print(f"--- {name}: {result} after {seconds:.0f} s", flush=True)
        return result == "passed"


def architecture() -> str:
    """Of the GPU here, as CMake names it: 90a for what has wgmma."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    major, minor = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(".")
    return "90a" if major == "9" else f"{major}{minor}"


def main() -> int:
    options = argparse.ArgumentParser(description="Builds, tests and measures the CUDA kernels on a GPU.")
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--minutes", type=float, default=9)
    given = options.parse_args()
    check = Check(given.device, given.minutes)
    python, place = sys.executable, "cuda" if given.device == "cuda" else "cuda emulator"
    plain = ["-p", "no:cacheprovider", "--rootdir", ".", "-c", str(ROOT / "pyproject.toml")]
    pytest = [python, "-m", "pytest", "-q", *plain]
    here = ["--place", place, "--place", f"{place} fused", "-m", "not slow"]
    sm_80 = ["--place", f"{place} sm_80", "-m", "not slow"]

    if given.device == "cuda":
        check.run("environment", ["nvidia-smi"], ROOT)
        check.environment["GLM4V_CUDA_ARCHS"] = architecture()
    if not check.run("build", [python, "setup.py", "--quiet", "build", "--build-lib", str(PACKAGE)], ROOT):
        return 1
    tests = PACKAGE / "tests"
    tests.unlink(missing_ok=True)
    tests.symlink_to(ROOT / "tests")
    if given.device == "cuda":
        check.run("build probes", ["cmake", "--build", str(ROOT / "build/release"), "--target", "_cuda_probes"], ROOT)
    attention = ["tests/ops/test_packed_attention.py", "tests/cuda/test_attention.py"]
    others = ["tests/ops", "tests/cuda/test_values.py", "--ignore", attention[0]]
    # each in a process of its own, since after a fault on a device nothing runs in that process any more
    good = check.run("instructions", [*pytest, *here, "tests/cuda/test_instructions.py"], at_most=60)
    good &= check.run("operators", [*pytest, *here, *others], at_most=120)
    good &= check.run("attention for sm_80", [*pytest, *sm_80, *attention], at_most=60)
    good &= check.run("attention", [*pytest, *here, *attention], at_most=60)
    if given.device == "cuda":
        good &= check.run("model", [*pytest, *here, "tests/cuda/test_model.py"], at_most=90)
    measure = f"from glm4v import benchmarks; benchmarks.run(device={given.device!r}"
    results = ROOT / "benchmarks" / "results"
    if given.device == "cuda":
        measured = check.run("benchmarks", [python, "-c", f"{measure})"], at_most=400)
        for file in (PACKAGE / "benchmarks" / "results").glob("operators-*.json"):
            shutil.copy(file, results)
    else:  # one operator shows that the command works
        measured = check.run("benchmarks", [python, "-c", f"{measure}, names=['swiglu'])"], at_most=400)
    if given.device == "cuda" and shutil.which("compute-sanitizer"):
        small = [*pytest, *here, "tests/ops", "-k", "forward_and_gradients", "-x"]
        for tool in ("memcheck", "racecheck"):
            sanitizer = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--target-processes", "all"]
            check.run(tool, [*sanitizer, *small], at_most=60)
    print(json.dumps(check.parts, indent=1))
    return 0 if good and measured else 1


if __name__ == "__main__":
    sys.exit(main())
