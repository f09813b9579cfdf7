// glm4v._cuda: the CUDA kernels for Python. Every function takes the stream (an integer) first, then what its namesake
// in glm4v._cpu takes.
#include "operators.h"

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "CUDA kernels of glm4v; glm4v.ops is the public face.";
  glm4v::bind_cuda(m);
}
