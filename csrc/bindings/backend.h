// What differs between the modules that share these bindings: which memory tensors lie in, which element types there
// are, and how a kernel is run. glm4v._cuda takes the stream as first argument of every function; CPU kernels run
// without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>

#ifdef GLM4V_CUDA_BINDINGS
#include "../cuda/kernels.h"
#else
#include "../cpu/kernels.h"
#endif

namespace glm4v {

namespace py = pybind11;

#ifdef GLM4V_CUDA_BINDINGS

using cuda::attention_workspace, cuda::kernels, cuda::kPartials, cuda::patchify_scratch;
inline constexpr bool kHasFloat16 = true;
inline constexpr bool kReadsValues = false;  // what tensors hold: to read it would be to wait for the device
#ifdef GLM4V_EMULATOR                        // the emulator's device memory is the CPU's
inline constexpr const char *kIsHere = "is_cpu", *kHere = "the CPU's memory";
#else
inline constexpr const char *kIsHere = "is_cuda", *kHere = "a CUDA device's memory";
#endif

inline thread_local cuda::Stream stream = nullptr;  // of the call under way

template <typename Arguments>
void run(cuda::Error (*kernel)(const Arguments&, cuda::Stream), const Arguments& arguments) {
  if (const cuda::Error error = kernel(arguments, stream)) throw std::runtime_error(std::string("CUDA: ") + error);
}

template <typename... A>
void def(py::module_& m, const char* name, void (*f)(A...), const char* doc = "") {
  m.def(
      name,
      [f](uintptr_t on, A... arguments) {
        stream = reinterpret_cast<cuda::Stream>(on);
        f(arguments...);
      },
      doc);
}

#else

inline constexpr bool kHasFloat16 = false;
inline constexpr bool kReadsValues = true;

inline int64_t patchify_scratch(const Patchify&) { return 0; }
inline int64_t attention_workspace(const PackedAttention&) { return 0; }
inline constexpr const char *kIsHere = "is_cpu", *kHere = "the CPU's memory";

template <typename Arguments>
void run(void (*kernel)(const Arguments&), const Arguments& arguments) {
  py::gil_scoped_release release;
  kernel(arguments);
}

template <typename... A>
void def(py::module_& m, const char* name, void (*f)(A...), const char* doc = "") {
  m.def(name, f, doc);
}

#endif

}  // namespace glm4v
