// What the epilogues of linear_cross_entropy compute, on logits from memory and on those that never leave registers.
// With z the logits over the temperature, p = softmax(z), H its entropy:
//   d log p_t / dz_j = [j = t] - p_j        dH / dz_j = -p_j (log p_j + H)
#pragma once

#include "constants.h"
#include "device.h"

namespace glm4v::cuda {

inline constexpr int64_t kIgnore = -100;

DEVICE float exponential(float x) { return exp2_fast(x * kLog2E); }

// Of the numbers z seen so far: m = max z, s = sum e^(z - m), u = sum e^(z - m) (z - m).
struct Statistics {
  float m = -INFINITY, s = 0, u = 0;

  DEVICE void move_to(float maximum) {
    if (s != 0) {  // else m may be -inf
      const float scale = exponential(m - maximum);
      u = scale * (u + s * (m - maximum));
      s *= scale;
    }
    m = maximum;
  }

  template <int N>
  DEVICE void add(const float (&z)[N]) {
    float most = z[0];
#pragma unroll
    for (int j = 1; j < N; ++j) most = z[j] > most ? z[j] : most;
    if (most > m) move_to(most);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float e = exponential(z[j] - m);
      s += e;
      u += e * (z[j] - m);
    }
  }

  DEVICE void add(Statistics other) {
    const float most = other.m > m ? other.m : m;
    move_to(most);
    other.move_to(most);
    s += other.s;
    u += other.u;
  }

  // Those of kLanes neighbours in a warp together; every lane gets them.
  template <int kLanes = 32>
  DEVICE void add_lanes() {
#pragma unroll
    for (int mask = kLanes / 2; mask > 0; mask /= 2)
      add(Statistics{shuffle_xor(m, mask), shuffle_xor(s, mask), shuffle_xor(u, mask)});
  }
};

// The gradients of one row's logits.
struct RowGradient {
  float log_sum_exp, entropy, of_log_prob, of_entropy;

  static DEVICE RowGradient of_row(const CrossEntropy& a, int64_t row) {
    return {a.log_sum_exp[row], a.entropy[row], a.grad_log_probs[row] * a.inverse_temperature,
            a.grad_entropy[row] * a.inverse_temperature};
  }

  static DEVICE RowGradient of_nothing() { return {1e30f, 0, 0, 0}; }  // all are 0

  DEVICE float operator()(float z) const {
    const float log_p = z - log_sum_exp;
    return -exponential(log_p) * (of_log_prob + of_entropy * (log_p + entropy));
  }

  DEVICE float of_target(float z) const {
    const float log_p = z - log_sum_exp;
    return of_log_prob * -expm1f(log_p) - of_entropy * exponential(log_p) * (log_p + entropy);
  }
};

}  // namespace glm4v::cuda
