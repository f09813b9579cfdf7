// The running soft-max of one row over tiles of keys (Milakov and Gimelshein, arXiv 1805.02867), in powers of two.
#pragma once

#include "tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

struct RunningSoftmax {
  float maximum = -kInfinity;  // of score * scale, as everything here in units of ln 2
  float sum = 0;

  // scores [columns] of a tile, of which the first `visible` count: leaves 2^(score * scale - maximum) in
  // `probabilities` (0 for the others) and returns what everything summed before is to be multiplied by.
  template <typename P>
  float add(const float* scores, int visible, int columns, float scale, P* probabilities) {
    if (visible <= 0) {
      for (int i = 0; i < columns; i += W) store(probabilities + i, F32{});
      return 1;
    }
    return visible == kTile ? add_tile<true>(scores, kTile, kTile, scale, probabilities)
                            : add_tile<false>(scores, visible, columns, scale, probabilities);
  }

  float log_sum_exp() const { return maximum * kLn2 + __builtin_logf(sum); }

 private:
  // kWhole: every key of the tile is seen, so that the loops unroll and the scores stay in registers.
  template <bool kWhole, typename P>
  float add_tile(const float* scores, int visible, int columns, float scale, P* probabilities) {
    F32 scaled[kTile / W] = {};
    F32 top = set1(-kInfinity);
#pragma GCC unroll 4
    for (int i = 0; i < (kWhole ? kTile / W : columns / W); ++i) {
      scaled[i] = load(scores + i * W) * scale;
      if constexpr (!kWhole) scaled[i] = i * W + lanes() < visible ? scaled[i] : set1(-kInfinity);
      top = max(top, scaled[i]);
    }
    const float before = maximum, highest = max(top);
    if (highest > maximum) maximum = highest;
    F32 added{};
#pragma GCC unroll 4
    for (int i = 0; i < (kWhole ? kTile / W : columns / W); ++i) {
      const F32 p = exp2_of_negative(scaled[i] - maximum);
      added += p;
      store(probabilities + i * W, p);
    }
    const float factor = maximum == before ? 1 : exp2_of_negative(set1(before - maximum))[0];
    sum = sum * factor + glm4v::GLM4V_ISA::sum(added);
    return factor;
  }
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
