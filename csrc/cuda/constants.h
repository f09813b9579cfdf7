// Numbers that several kernels need.
#pragma once

namespace glm4v::cuda {

inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f, kInfinity = __builtin_inff();

}  // namespace glm4v::cuda
