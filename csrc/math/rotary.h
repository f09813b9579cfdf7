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

// Cosine and sine of `turns` turns. The nearest quarter is taken off; the rest, at most an eighth of a turn either way,
// goes through the Taylor polynomials of sine and cosine, whose first neglected terms are below 3e-8 there.
GLM4V_SHARED void cos_sin(double turns, float& cosine, float& sine) {
  const double quarters = turns * 4.0;
  const double nearest = std::rint(quarters);
  const float x = static_cast<float>(quarters - nearest) * 1.57079633f;
  const float x2 = x * x;
  const float s =
      x * (1.0f + x2 * (-1.66666667e-1f + x2 * (8.33333333e-3f + x2 * (-1.98412698e-4f + x2 * 2.75573e-6f))));
  const float c = 1.0f + x2 * (-0.5f + x2 * (4.16666667e-2f + x2 * (-1.38888889e-3f + x2 * 2.48015873e-5f)));
  const double turn = nearest - 4.0 * std::floor(nearest * 0.25);  // 0, 1, 2 or 3 quarters
  const bool odd = turn == 1.0 || turn == 3.0;
  const float a = odd ? s : c, b = odd ? c : s;
  cosine = (turn == 1.0 || turn == 2.0) ? -a : a;
  sine = turn >= 2.0 ? -b : b;
}

}  // namespace glm4v::GLM4V_ISA
