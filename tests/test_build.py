"""The built extension: instruction sets kept apart and chosen by name, one OpenMP runtime, what a broken build says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import glm4v
from glm4v.ops.library import native

PACKAGE = Path(glm4v.__file__).parent
ROOT = PACKAGE.parent


NAME_IT = "from glm4v.ops.library import native; print(native.isa())"
# An editable install's finder would bring the extension of the source tree back in.
WITHOUT_FINDER = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in f.__module__]; "
COMMAND_LINE = "from glm4v.cli import main; main()"


def python(code: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_weak_function_in_a_variant():
    """The linker keeps one copy of a weak function: compiled for wider vectors it kills a machine without them."""
    if not list(ROOT.glob("build/release/CMakeFiles/glm4v_*.dir")):
        pytest.fail("no variant objects under build/release: build in the source tree (make build)")
    for variant in native.variants():
        objects = sorted(ROOT.glob(f"build/release/CMakeFiles/glm4v_{variant}.dir/**/*.o"))
        assert objects, variant
        symbols = subprocess.run(["nm", "-C", *objects], capture_output=True, text=True, check=True).stdout
        assert [line for line in symbols.splitlines() if " W " in line or " V " in line] == []


def disassembly(variant: str) -> str:
    objects = sorted(ROOT.glob(f"build/release/CMakeFiles/glm4v_{variant}.dir/**/*.o"))
    command = ["objdump", "-d", "--no-show-raw-insn", *objects]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_portable_has_no_wider_instructions():
    """Its code may hold no AVX register names at all."""
    code = disassembly("portable")
    assert "%xmm" in code
    assert "%ymm" not in code
    assert "%zmm" not in code


def test_only_the_amx_variant_touches_tile_registers():
    assert "tdpbf16ps" in disassembly("amx_bf16")
    assert "%tmm" not in disassembly("avx512_bf16")


def test_instruction_set_by_name():
    assert python(NAME_IT, GLM4V_CPU_ISA="portable").stdout.strip() == "portable"
    wrong = python(NAME_IT, GLM4V_CPU_ISA="mmx")
    assert wrong.returncode != 0
    assert wrong.stderr.strip().splitlines()[-1].startswith("ImportError: GLM4V_CPU_ISA='mmx' is not in this binary")


def test_best_instruction_set_by_default():
    """Stand-ins, which only tests build, come last."""
    best = next(name for name, (_, here) in native.variants().items() if here)
    assert python(NAME_IT, GLM4V_CPU_ISA="").stdout.strip() == best
    assert not best.startswith("standin")


def test_missing_extension_names_the_command(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "glm4v", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    result = python(WITHOUT_FINDER + "from glm4v import ops", cwd=tmp_path, PYTHONPATH="")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: glm4v's CPU extension is missing")
    assert last.endswith("build it with: pip install -e . --no-build-isolation")
    doctor = python(WITHOUT_FINDER + COMMAND_LINE, "doctor", cwd=tmp_path, PYTHONPATH="")
    assert doctor.returncode == 1
    assert "pip install -e . --no-build-isolation" in doctor.stdout


def test_one_openmp_runtime():
    """In a process of its own: other tests draw with scikit-learn, whose wheel brings a runtime under another name."""
    code = "import glm4v.ops; from glm4v.doctor import openmp_runtimes; print(*openmp_runtimes(), sep='\\n')"
    assert len(python(code).stdout.split()) == 1


def test_doctor_finds_nothing_broken():
    doctor = python(COMMAND_LINE, "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "OpenMP" in doctor.stdout
