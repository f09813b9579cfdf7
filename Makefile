# Every target sets up what it needs in .venv and builds the extension first; a second run installs and builds nothing anew.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Stand-ins for vector widths that this machine may lack, so that tests run every operator's tiling.
export GLM4V_STANDINS := ON
# CUDA kernels executed on the CPU, so that tests run them without a GPU.
export GLM4V_CUDA_EMULATOR := ON

SOURCES := CMakeLists.txt setup.py $(shell find csrc tests/emulator -type f)

.PHONY: demo test test-quick lint sanitize cuda-check gpu-check bench build clean

demo: build
	$(BIN)/glm4v demo

test: build
	$(BIN)/python -m pytest -q

test-quick: build
	$(BIN)/python -m pytest -q -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy glm4v
	$(BIN)/python benchmarks/readme.py --check
	$(BIN)/clang-format --dry-run -Werror $(shell find csrc tests/emulator -name '*.h' -o -name '*.cpp' -o -name '*.cu')

sanitize: .venv/installed
	tests/sanitize.sh

# Compiles the CUDA kernels for every architecture; needs nvcc and no GPU.
cuda-check: .venv/installed
	$(BIN)/python tests/cuda/check.py

# Builds for the GPU that is here, tests and measures on it, with the python found first on PATH and nothing installed.
gpu-check:
	python3 tests/cuda/gpu_check.py

bench: build
	$(BIN)/glm4v bench all

build: .venv/built

.venv/built: .venv/installed pyproject.toml $(SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

.venv/installed: requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps nvidia-cutlass==4.2.0.0
	touch $@

clean:
	rm -rf .venv build *.egg-info glm4v/*.so
