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

// Four taps in a row along one axis of a table of `side`, the first of which may lie outside: indices are clamped to
// the border, weights kept.
struct FourTaps {
  int first;
  float weight[4];
};

struct Taps {
  int index[4];
  float weight[4];
};

GLM4V_SHARED int clamp_tap(int index, int side) { return index < 0 ? 0 : (index >= side ? side - 1 : index); }

// For patch `i` of `count`: the sample point is (i + 0.5) * side / count - 0.5 in table pixels.
GLM4V_SHARED FourTaps four_taps(int64_t i, int64_t count, int side) {
  const double point = (static_cast<double>(i) + 0.5) * side / static_cast<double>(count) - 0.5;
  const double base = std::floor(point);
  FourTaps taps{static_cast<int>(base) - 1, {}};
  for (int k = 0; k < 4; ++k) taps.weight[k] = static_cast<float>(cubic(point - base + 1.0 - k, -0.75));
  return taps;
}

GLM4V_SHARED Taps table_taps(int64_t i, int64_t count, int side) {
  const FourTaps four = four_taps(i, count, side);
  Taps taps{};
  for (int k = 0; k < 4; ++k) {
    taps.index[k] = clamp_tap(four.first + k, side);
    taps.weight[k] = four.weight[k];
  }
  return taps;
}

// Resizing one axis as PIL: output i is made of `count` pixels from `first` on, weighted by their distance to `centre`.
struct Reach {
  int64_t first, count;
  double centre, stretch;
};

GLM4V_SHARED Reach resize_reach(int64_t i, int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = scale > 1.0 ? scale : 1.0;
  const double centre = (static_cast<double>(i) + 0.5) * scale, support = 2.0 * stretch;
  const int64_t low = static_cast<int64_t>(centre - support + 0.5), high = static_cast<int64_t>(centre + support + 0.5);
  const int64_t first = low < 0 ? 0 : low;
  return {first, (high > from ? from : high) - first, centre, stretch};
}

// The most pixels that an output is made of.
GLM4V_SHARED int64_t resize_width(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  return 2 * static_cast<int64_t>(std::ceil(2.0 * (scale > 1.0 ? scale : 1.0))) + 1;
}

// The weight of pixel k of a reach before all are divided by their total.
GLM4V_SHARED double resize_tap(const Reach& reach, int64_t k) {
  return cubic((static_cast<double>(k + reach.first) - reach.centre + 0.5) / reach.stretch, -0.5);
}

constexpr int kFractionBits = 22;  // of a fixed-point weight: 32 less 8 for the pixel and 2 for overshoot

GLM4V_SHARED int32_t fixed_weight(double tap, double total) {
  const double fixed = tap / total * (1 << kFractionBits);
  return static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
}

// Pillow 13 (its pull request 9549) resizes the height first where it loses more than twice the pixels the width loses.
GLM4V_SHARED bool height_first(int64_t height, int64_t width, int64_t out_height, int64_t out_width) {
  const int64_t rows_lost = height - out_height, columns_lost = width - out_width;
  return rows_lost > 2 * (columns_lost > 0 ? columns_lost : 0);
}

}  // namespace glm4v::GLM4V_ISA
