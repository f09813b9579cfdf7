// glm4v._cpu: the CPU kernels for Python. Arguments become views, sizes are checked, the kernel is called without the
// GIL.
#include <cstdlib>  // says whether this is glibc

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "../cpu/threads.h"
#include "operators.h"

namespace {

bool keep_freed_memory() {
#ifdef __GLIBC__
  return mallopt(M_MMAP_MAX, 0) && mallopt(M_TRIM_THRESHOLD, -1);
#else
  return false;
#endif
}

bool made_by_amd() {
#ifdef __x86_64__
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  using namespace glm4v;
  m.doc() = "CPU kernels of glm4v; glm4v.ops is the public face.";
  m.attr("partials") = kPartials;
  m.attr("amd") = made_by_amd();
  m.attr("compiler") = GLM4V_COMPILER;
  m.attr("source_hash") = GLM4V_SOURCE_HASH;
  m.def("isa", [] { return kernels().isa; }, "The instruction set in use.");
  m.def(
      "use_isa", [](const std::string& isa) { return use_isa(isa.c_str()); },
      "Use this instruction set from now on; False when the binary or the machine lacks it.");
  m.def("native_bf16", [] { return kernels().native_bf16; });
  m.def("threads", max_threads, "Threads a kernel may use now.");
  m.def(
      "variants",
      [] {
        py::dict all;
        const Variants v = variants();
        for (int i = 0; i < v.count; ++i)
          all[v.first[i].kernels->isa] = py::make_tuple(v.first[i].kernels->width, v.first[i].runs_here);
        return all;
      },
      "Instruction sets in this binary: name -> (floats in a vector, whether this machine runs it).");
  m.def(
      "check_cu_seqlens",
      [](py::object cu_seqlens, int64_t tokens, const std::string& name) {
        expect_cu_seqlens(view(cu_seqlens, name.c_str()), tokens);
      },
      "Raises where cu_seqlens does not hold this many tokens.");
  m.def("keep_freed_memory", keep_freed_memory,
        "Freed memory of any size stays with the process for its next allocation instead of going back to the system "
        "page by page. False where the C library is not glibc.");
  bind_norms(m);
  bind_vision(m);
  bind_text(m);
  bind_attention(m);
}
