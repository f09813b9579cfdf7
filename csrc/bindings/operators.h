// What the binding files share: the heads of queries and keys, and the list of all bindings.
#pragma once

#include <array>

#include <pybind11/stl.h>

#include "view.h"

namespace glm4v {

// q [T, H, D], k [T, Hkv, D] and their outputs fit each other; returns D, 1 to 256.
int64_t expect_heads(const View& q, const View& k, const View& q_out, const View& k_out);
RopeHeads heads_of(const View& in, const View& out);

void bind_norms(py::module_& m);
void bind_vision(py::module_& m);
void bind_text(py::module_& m);
void bind_attention(py::module_& m);

#ifdef GLM4V_CUDA_BINDINGS
void bind_fused(py::module_& m);

inline void bind_cuda(py::module_& m) {
  m.attr("partials") = kPartials;
  m.attr("compiler") = GLM4V_CUDA_COMPILER;
  m.attr("source_hash") = GLM4V_SOURCE_HASH;
  bind_norms(m);
  bind_vision(m);
  bind_text(m);
  bind_attention(m);
  bind_fused(m);
}
#endif

}  // namespace glm4v
