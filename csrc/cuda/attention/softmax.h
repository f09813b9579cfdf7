// The running soft-max of a warp's rows (FlashAttention-2, arXiv 2307.08691) in the registers of product.h. Scores stay
// as the products left them; the scale, times log2(e), is folded into the exponent. A masked score is -infinity, and a
// tile that is masked whole changes no bit of its row, so that a token's result does not depend on how rows are tiled.
#pragma once

#include "../constants.h"
#include "product.h"

namespace glm4v::cuda {

DEVICE float larger(float a, float b) { return a > b ? a : b; }

template <int kM>
struct RunningSoftmax {
  float maximum[kM][2], sum[kM][2];  // of row g and row g + 8; sums over this lane's columns until finish()

  DEVICE void start() {
    for (int m = 0; m < kM; ++m)
      for (int half = 0; half < 2; ++half) maximum[m][half] = -kInfinity, sum[m][half] = 0;
  }

  // Scores become weights exp2(scale_log2 * (score - maximum so far)), and what was gathered so far is scaled to that.
  template <int kN, int kColumns>
  DEVICE void weigh(float (&scores)[kM][kN][4], float (&gathered)[kM][kColumns][4], float scale_log2) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = maximum[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n) most = larger(larger(scores[m][n][2 * half], scores[m][n][2 * half + 1]), most);
        most = larger(shuffle_xor(most, 1), most);
        most = larger(shuffle_xor(most, 2), most);
        const float anchor = most == -kInfinity ? 0.0f : most;  // of a row that has seen no key yet
        const float shift = anchor * scale_log2;
        const float fading = exp2_fast((maximum[m][half] - anchor) * scale_log2);  // 1 where both are equal
        maximum[m][half] = most;
        float total = sum[m][half] * fading;
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i)
            total += scores[m][n][i] = exp2_fast(scores[m][n][i] * scale_log2 - shift);
        sum[m][half] = total;
#pragma unroll
        for (int n = 0; n < kColumns; ++n) gathered[m][n][2 * half] *= fading, gathered[m][n][2 * half + 1] *= fading;
      }
  }

  // Sums over whole rows.
  DEVICE void finish() {
    for (int m = 0; m < kM; ++m)
      for (int half = 0; half < 2; ++half) {
        sum[m][half] += shuffle_xor(sum[m][half], 1);
        sum[m][half] += shuffle_xor(sum[m][half], 2);
      }
  }

  // What gathered rows are multiplied by: a row without keys stays 0.
  DEVICE float normaliser(int m, int half) const { return sum[m][half] == 0 ? 0.0f : 1.0f / sum[m][half]; }

  // log2 of the sum of exp2(scale_log2 * score); -infinity without keys.
  DEVICE float log2_sum(int m, int half, float scale_log2) const {
    return sum[m][half] == 0 ? -kInfinity : maximum[m][half] * scale_log2 + log2f(sum[m][half]);
  }
};

}  // namespace glm4v::cuda
