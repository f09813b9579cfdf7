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
OPTIONS = ("GLM4V_STANDINS", "GLM4V_SANITIZE")  # environment variables handed on to CMake


class CMakeBuild(build_ext):
    """Runs CMake once for all extension modules and leaves them where setuptools expects them."""

    def build_extension(self, extension: Extension) -> None:
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        build = ROOT / "build" / ("sanitize" if os.environ.get("GLM4V_SANITIZE") else "release")
        subprocess.run(
            [
                "cmake", "-S", ROOT, "-B", build, "-G", "Ninja",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
                *(f"-D{name}={os.environ.get(name, 'OFF')}" for name in OPTIONS),
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
    ext_modules=[Extension("glm4v._cpu", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
