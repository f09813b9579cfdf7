# Every target sets up what it needs in .venv and builds the extension first; a second run installs and builds nothing anew.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Stand-ins for vector widths that this machine may lack, so that tests run every operator's tiling.
export GLM4V_STANDINS := ON

SOURCES := CMakeLists.txt setup.py $(shell find csrc -type f)

.PHONY: demo test test-quick lint sanitize bench build clean

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
	$(BIN)/clang-format --dry-run -Werror $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

sanitize: .venv/installed
	tests/sanitize.sh

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
	touch $@

clean:
	rm -rf .venv build *.egg-info glm4v/*.so
