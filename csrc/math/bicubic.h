// Taps of bicubic interpolation: of the position table (a = -0.75, border clamped, as torch's grid_sample) and of image
// resizing (a = -0.5, antialiased, as PIL).
#pragma once

#include <cmath>

#include "math.h"

namespace glm4v::GLM4V_ISA {

// Keys' cubic convolution kernel at distance x.
GLM4V_SHARED double cubic(double x, double a) {
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

struct Taps {
  int index[4];
  float weight[4];
};

// The four taps along one axis of a table of `side` for patch `i` of `count`: the sample point is (i + 0.5) * side /
// count
// - 0.5 in table pixels; an index outside is clamped to the border, its weight kept.
GLM4V_SHARED Taps table_taps(int64_t i, int64_t count, int side) {
  const double point = (static_cast<double>(i) + 0.5) * side / static_cast<double>(count) - 0.5;
  const double base = std::floor(point);
  Taps taps{};
  for (int k = 0; k < 4; ++k) {
    const int index = static_cast<int>(base) - 1 + k;
    taps.index[k] = index < 0 ? 0 : (index >= side ? side - 1 : index);
    taps.weight[k] = static_cast<float>(cubic(point - base + 1.0 - k, -0.75));
  }
  return taps;
}

}  // namespace glm4v::GLM4V_ISA
