// Scalar mathematics shared by the CPU and CUDA kernels: plain functions for host and device with internal linkage, so
// that each instruction set gets its own copy. Included inside a variant's translation unit, never across them.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GLM4V_SHARED static __host__ __device__ __forceinline__
#else
#define GLM4V_SHARED [[maybe_unused]] static inline
#endif
