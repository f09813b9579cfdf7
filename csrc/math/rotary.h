// Angles of rotary position embeddings. The angle of frequency i at position p is p * theta^(-2i / dim); it is reduced
// to a fraction of a turn in double, so that large positions lose nothing, and evaluated in float (error 1e-7).
#pragma once

#include <cmath>

#include "math.h"

namespace glm4v::GLM4V_ISA {

// Turns (of 2 pi) per position of frequency i, theta^(-2i / dim) / (2 pi).
GLM4V_SHARED double rotary_turns(double theta, int i, int dim) {
  return std::pow(theta, -2.0 * i / dim) * 0.15915494309189535;
}

// `turns` turns as an angle `rest` of at most an eighth of a turn either way, and 0, 1, 2 or 3 quarters before it.
GLM4V_SHARED void reduce_turns(double turns, float& rest, float& quarter) {
  const double quarters = turns * 4.0;
  const double nearest = std::rint(quarters);
  rest = static_cast<float>(quarters - nearest) * 1.57079633f;
  quarter = static_cast<float>(nearest - 4.0 * std::floor(nearest * 0.25));
}

// Sine and cosine of such a rest, for floats or vectors of them: Taylor polynomials whose first neglected terms are
// below 3e-8.
template <typename F>
GLM4V_SHARED F sine_of_rest(F x) {
  const F x2 = x * x;
  return x * (1.0f + x2 * (-1.66666667e-1f + x2 * (8.33333333e-3f + x2 * (-1.98412698e-4f + x2 * 2.75573e-6f))));
}

template <typename F>
GLM4V_SHARED F cosine_of_rest(F x) {
  const F x2 = x * x;
  return 1.0f + x2 * (-0.5f + x2 * (4.16666667e-2f + x2 * (-1.38888889e-3f + x2 * 2.48015873e-5f)));
}

}  // namespace glm4v::GLM4V_ISA
