// Counter-based random numbers: SplitMix64 (Steele, Lea, Flood 2014), a pure function of a stream and a step.
#pragma once

#include "math.h"

namespace glm4v::GLM4V_ISA {

// In [0, 1), a multiple of 2^-52: u * total stays below total, so that the last token cannot be overrun.
GLM4V_SHARED double uniform(int64_t stream, int64_t step) {
  uint64_t z = static_cast<uint64_t>(stream) + (static_cast<uint64_t>(step) + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return static_cast<double>((z ^ (z >> 31)) >> 12) * 0x1p-52;
}

}  // namespace glm4v::GLM4V_ISA
