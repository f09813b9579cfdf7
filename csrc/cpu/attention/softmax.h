// The running soft-max of one row over tiles of keys (Milakov and Gimelshein, arXiv 1805.02867).
#pragma once

#include "tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();

struct RunningSoftmax {
  float maximum = -kInfinity;
  float sum = 0;

  // scores [columns] of a tile, of which the first `visible` count: leaves exp(score * scale - maximum) in
  // `probabilities` (0 for the others) and returns what everything summed before is to be multiplied by.
  template <typename P>
  float add(float* scores, int visible, int columns, float scale, P* probabilities) {
    if (visible <= 0) {
      for (int i = 0; i < columns; i += W) store(probabilities + i, F32{});
      return 1;
    }
    F32 top = set1(-kInfinity);
    for (int i = 0; i < columns; i += W) {
      const F32 score = i + lanes() < visible ? load(scores + i) * scale : set1(-kInfinity);
      store(scores + i, score);
      top = max(top, score);
    }
    const float before = maximum;
    const float highest = max(top);
    if (highest > maximum) maximum = highest;
    F32 added{};
    for (int i = 0; i < columns; i += W) {
      const F32 p = exp(load(scores + i) - maximum);
      added += p;
      store(probabilities + i, p);
    }
    const float factor = maximum == before ? 1 : exp(set1(before - maximum))[0];
    sum = sum * factor + glm4v::GLM4V_ISA::sum(added);
    return factor;
  }

  float log_sum_exp() const { return maximum + __builtin_logf(sum); }
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
