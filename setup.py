"""Builds glm4v's extension modules with CMake and ninja; everything else stands in pyproject.toml."""

import os
import re
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "glm4v/__init__.py").read_text())[1]
# Environment variables handed on to CMake, which says what they mean, and their defaults.
OPTIONS = {
    "GLM4V_CUDA": "auto",
    "GLM4V_CUDA_ARCHS": "80;90a",
    "GLM4V_CUTLASS": "auto",
    "GLM4V_CUDA_EMULATOR": "OFF",
    "GLM4V_STANDINS": "OFF",
    "GLM4V_SANITIZE": "OFF",
}


class CMakeBuild(build_ext):
    """Runs CMake once for all extension modules and leaves them where setuptools expects them."""

    def build_extension(self, extension: Extension) -> None:
        if extension.optional:  # built beside the first where CMake finds it wanted
            return
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        build = ROOT / "build" / ("sanitize" if os.environ.get("GLM4V_SANITIZE") else "release")
        subprocess.run(
            [
                "cmake", "-S", ROOT, "-B", build, "-G", "Ninja",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
                *(f"-D{name}={os.environ.get(name, default)}" for name, default in OPTIONS.items()),
            ],
            check=True,
        )  # fmt: skip
        subprocess.run(["cmake", "--build", build], check=True)


setup(
    version=VERSION,
    packages=[*find_packages(include=["glm4v", "glm4v.*"]), "glm4v.benchmarks"],
    package_dir={"glm4v.benchmarks": "benchmarks"},
    package_data={
        "glm4v": ["py.typed", "recipes/*.yaml"],
        "glm4v.gym": ["tokenizer/*"],
        "glm4v.rewards": ["data/*.txt"],
        "glm4v.benchmarks": ["results/*.json"],
    },
    ext_modules=[
        Extension("glm4v._cpu", sources=[]),
        Extension("glm4v._cuda", sources=[], optional=True),
        Extension("glm4v._cuda_emulator", sources=[], optional=True),
    ],
    cmdclass={"build_ext": CMakeBuild},
)
