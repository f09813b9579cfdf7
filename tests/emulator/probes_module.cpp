// glm4v._cuda_probes: the probes on a GPU, for the comparison of the device with the emulator.
#include "../../csrc/bindings/operators.h"

namespace glm4v {
void bind_probes(py::module_& m);
}

PYBIND11_MODULE(_cuda_probes, m) {
  m.attr("source_hash") = GLM4V_SOURCE_HASH;
  glm4v::bind_probes(m);
}
