// The running soft-max of one row over tiles of keys (Milakov and Gimelshein, arXiv 1805.02867), in powers of two.
#pragma once

#include "tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// T: the type of the attention's values, which says how precise a probability has to be.
template <typename T>
struct RunningSoftmax {
  float maximum = -kInfinity;  // of score * scale, as everything here in units of ln 2

  // scores [columns] of a tile, of which the first `visible` count: leaves 2^(score * scale - maximum) in
  // `probabilities` (0 for the others). `sums` [width] are everything summed before, a row of values and then W lanes
  // that together hold the sum of probabilities: they are brought to the new maximum, and the lanes added to.
  template <typename P>
  void add(const float* scores, int visible, int columns, float scale, P* probabilities, float* sums, int width) {
    if (visible == kTile)
      add_tile<true>(scores, kTile, kTile, scale, probabilities, sums, width);
    else
      add_tile<false>(scores, visible, columns, scale, probabilities, sums, width);
  }

 private:
  // kWhole: every key of the tile is seen, so that the loops unroll and the scores stay in registers.
  template <bool kWhole, typename P>
  void add_tile(const float* scores, int visible, int columns, float scale, P* probabilities, float* sums, int width) {
    if (visible <= 0) {
      for (int i = 0; i < columns; i += W) store(probabilities + i, F32{});
      return;
    }
    const auto at = [&](int i) {
      const F32 scaled = load(scores + i * W) * scale;
      if constexpr (kWhole) return scaled;
      return i * W + lanes() < visible ? scaled : set1(-kInfinity);
    };
    const int vectors = kWhole ? kTile / W : columns / W;
    F32 top = set1(-kInfinity);
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) top = max(top, at(i));
    if (any_above(top, maximum)) raise(max(top), sums, width);
    F32 added{};
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      const F32 p = exp2_of_negative<T>(at(i) - maximum);
      added += p;
      store(probabilities + i * W, p);
    }
    float* const lanes_of_sum = sums + width - W;
    store(lanes_of_sum, load(lanes_of_sum) + added);
  }

  void raise(float highest, float* sums, int width) {
    const F32 factor = exp2_of_negative<float>(set1(maximum - highest));
    maximum = highest;
    for (int i = 0; i < width; i += W) store(sums + i, load(sums + i) * factor);
  }
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
