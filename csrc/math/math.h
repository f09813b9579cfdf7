// Scalar mathematics shared by the CPU and CUDA kernels: plain functions for host and device with internal linkage, so
// that each instruction set gets its own copy. Included inside a variant's translation unit, never across them.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GLM4V_SHARED static __host__ __device__ __forceinline__
#else
#define GLM4V_SHARED [[maybe_unused]] static inline
#endif

namespace glm4v::GLM4V_ISA {

// As std::min, whose instantiations would be weak symbols that the variants share.
GLM4V_SHARED int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

GLM4V_SHARED int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace glm4v::GLM4V_ISA
