// Small kernels, one for each group of instructions of ptx.h: tests compare the emulator with what the PTX
// documentation says, and on a GPU the device with the emulator.
#pragma once

#include "../../csrc/operators.h"

namespace glm4v::cuda {

struct MatrixProbe {  // load: in [8 * count, 8] of 16 bits -> registers [32, count]; store: the way back, count 4
  const void* in;
  void* out;
  int count;
  bool transposed, store;
};

struct MmaProbe {  // d [32, 4] += with the registers a [32, 4], b [32, 2] of 32 lanes
  DType dtype;
  const void *a, *b;
  float* d;
};

struct CopyProbe {  // in [bytes] -> out [rows, 512], zeros after the end
  const uint8_t* in;
  uint8_t* out;
  int64_t bytes, rows;
};

struct TmaProbe {  // box of source at `from` -> its bytes in shared memory as they lie
  const void* source;
  void* bytes;
  int rank, swizzle;
  int64_t size[4];  // innermost first
  int box[4], from[4];
};

struct WgmmaProbe {  // out [64, n] += a [64, 64] * b [64, n], in memory a [64, 64] or its transpose, b [n, 64] or [64,
                     // n]
  DType dtype;
  int n, swizzle;
  bool a_in_registers, a_mn_major, b_mn_major;
  const void *a, *b;
  float* out;
};

struct RolesProbe {  // two consumer warpgroups write in turns what a producer warpgroup hands them: out [2 * rounds,
                     // 128]
  int rounds;
  float* out;
};

#define GLM4V_FOR_EACH_PROBE(PROBE)  \
  PROBE(probe_matrices, MatrixProbe) \
  PROBE(probe_mma, MmaProbe)         \
  PROBE(probe_copy, CopyProbe)       \
  PROBE(probe_tma, TmaProbe)         \
  PROBE(probe_wgmma, WgmmaProbe)     \
  PROBE(probe_roles, RolesProbe)

}  // namespace glm4v::cuda
