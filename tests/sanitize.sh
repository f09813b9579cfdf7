#!/usr/bin/env bash
# Operator tests, those of CUDA kernels in the emulator, and 100,000 fuzzed calls of the bindings under AddressSanitizer and
# UndefinedBehaviorSanitizer, on a copy of the package built for it under build/sanitize-package. Left out: tests marked
# slow, among them those that start a compiler, which does not run below a preloaded sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
package=$root/build/sanitize-package

mkdir -p build
export GLM4V_SANITIZE=ON GLM4V_STANDINS=OFF GLM4V_CUDA=off GLM4V_CUDA_EMULATOR=ON
python setup.py --quiet build --build-lib "$package" >build/sanitize.log 2>&1 ||
  { cat build/sanitize.log; exit 1; }
ln -sfn "$root/tests" "$package/tests"

# leaks are not looked for: the interpreter itself keeps memory until it exits
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export OMP_NUM_THREADS=2
libraries="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
cd "$package"
LD_PRELOAD=$libraries python -c "from glm4v.ops.library import native; assert native.__file__.startswith('$package/')"
# the fuzz beside the tests, which mostly use one core
LD_PRELOAD=$libraries python -m tests.fuzz 100000 >"$root/build/fuzz.log" 2>&1 &
fuzz=$!
trap 'kill $fuzz 2>/dev/null || true' EXIT
LD_PRELOAD=$libraries python -m pytest -q -c "$root/pyproject.toml" --rootdir "$package" -p no:cacheprovider \
  -m "not slow" tests/ops tests/cuda
wait $fuzz || { cat "$root/build/fuzz.log"; exit 1; }
cat "$root/build/fuzz.log"
echo "sanitize: passed"
