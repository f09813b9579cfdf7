"""Mistakes planted in the kernels' sources, each of which the emulator's tests have to catch."""

import json
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "release"

# source, what stands there, the mistake, the run in test_emulator.py that has to fail
MUTANTS = {
    "off-by-one tail": ("csrc/cuda/rms_norm.cu", "i < columns; i +=", "i < columns - 1; i +=", "norms"),
    "missing barrier": (
        "csrc/cuda/rms_norm.cu",
        "+ lane_index()] = sum;\n    sync_threads();",
        "+ lane_index()] = sum;",
        "norms",
    ),
    "mask off by one": (
        "csrc/cuda/attention/packed_attention.cu",
        "keys_of(work.first + first_row + row) - key;",
        "keys_of(work.first + first_row + row) - key + 1;",
        "attention",
    ),
    "values not waited for": (
        "csrc/cuda/attention/packed_attention.cu",
        "copy_wait<1>();",
        "copy_wait<2>();",
        "attention",
    ),
    "gradient of another turn's keys": (
        "csrc/cuda/attention/packed_attention_backward.cu",
        "add_weighted_rows<T>(grad_q, scores, W::columns(0, turn), 0);",
        "add_weighted_rows<T>(grad_q, scores, W::columns(0, turn ^ 1), 0);",
        "attention",
    ),
    "a key too few": ("csrc/cuda/attention/paged_attention.cu", "end)) - key; });", "end)) - key - 1; });", "decoding"),
    "swapped fragment index": (
        "tests/emulator/probes.cu",
        "out[(row + 8 * (i / 2 % 2)) * N + 8 * (i / 4) + column + i % 2] = d[i]",
        "out[(row + 8 * (i % 2)) * N + 8 * (i / 4) + column + i / 2 % 2] = d[i]",
        "products",
    ),
    "wrong phase": ("tests/emulator/probes.cu", "barrier_wait(arrived, 0);", "barrier_wait(arrived, 1);", "products"),
    "wrong number of stages": (
        "tests/emulator/probes.cu",
        "copy_wait<kStages - 2>()",
        "copy_wait<kStages - 1>()",
        "copies",
    ),
    "wait for one product too few": (
        "csrc/cuda/attention/forward_sm90.cu",
        "wgmma_wait<0>();\n        wgmma_hold(o);",
        "wgmma_wait<1>();\n        wgmma_hold(o);",
        "attention_sm90",
    ),
    "mask of one key too few": (
        "csrc/cuda/attention/backward_sm90.cu",
        "accumulator_column(i) >= high",
        "accumulator_column(i) > high",
        "attention_sm90",
    ),
    "statistics of what lies beyond the vocabulary": (
        "csrc/cuda/fused/linear_cross_entropy.cu",
        "accumulator_column(i) >= columns) d[i]",
        "accumulator_column(i) > columns) d[i]",
        "fused_entropies",
    ),
    "gradient of a neighbour's target": (
        "csrc/cuda/fused/linear_cross_entropy.cu",
        "accumulator_column(i) == target) d[i] = of_target",
        "accumulator_column(i) + 1 == target) d[i] = of_target",
        "fused_entropies",
    ),
    "slices of other channels added": (
        "csrc/cuda/fused/patch_embed.cu",
        "d[2 * i + 4 + j]",
        "d[2 * i + 5 + j]",
        "fused_patches",
    ),
    "none": ("tests/emulator/probes.cu", "kStages = 3", "kStages = 4", "copies"),
}

# Runs in a process of its own with the mutated module in the place of the built one.
CHECK = """
import importlib.util, sys
import glm4v
spec = importlib.util.spec_from_file_location("glm4v._cuda_emulator", sys.argv[1])
glm4v._cuda_emulator = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(glm4v._cuda_emulator)
from tests.cuda import test_emulator
print("caught" if test_emulator.is_caught(getattr(test_emulator, sys.argv[2]), seeds=8) else "missed")
"""


def build(source: str, old: str, new: str, folder: Path) -> Path:
    """The emulator's module with one source changed; the other objects are those of the build."""
    text = (ROOT / source).read_text()
    assert old in text, f"{source} has changed: choose the mutant anew"
    name = Path(source).name
    (folder / name).write_text(text.replace(old, new))
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    (command,) = (c for c in commands if c["file"].endswith(f"emulated/{name}.cpp"))
    compile_it = shlex.split(command["command"])
    own = compile_it.index("-o") + 1
    compile_it[own : compile_it.index("-c") + 2] = [
        str(folder / "mutant.o"), "-O0", "-x", "c++", "-I", str((ROOT / source).parent), "-c", str(folder / name)
    ]  # fmt: skip
    subprocess.run(compile_it, cwd=BUILD, check=True)
    objects = [o for o in (BUILD / "CMakeFiles/_cuda_emulator.dir").rglob("*.o") if o.name != f"{name}.cpp.o"]
    module = folder / f"_cuda_emulator{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compile_it[0], "-shared", "-o", module, folder / "mutant.o", *objects], check=True)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant, tmp_path):
    """The change called "none" is no mistake and has to pass, so that the others are known to fail for their own."""
    *change, run = MUTANTS[mutant]
    module = build(*change, tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", CHECK, module, run], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ("missed" if mutant == "none" else "caught"), result.stderr
