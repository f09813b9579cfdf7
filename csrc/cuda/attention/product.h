// Products of a warp on tiles in shared memory, sums in float: tensor cores (mma.sync m16n8k16) for bf16 and fp16,
// ordinary multiplications for float, whose sums lie in the same registers, so that everything else is written once.
//
// A warp's matrix [16 * kM, 8 * kN] is `float d[kM][kN][4]`: with lane = 4 * g + t, d[m][n][i] is row
// 16 m + g + 8 (i / 2), column 8 n + 2 t + i % 2.
#pragma once

#include "tile.h"

namespace glm4v::cuda {

template <int kM, int kN>
DEVICE void clear(float (&d)[kM][kN][4]) {
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][n][i] = 0;
}

template <int kM, int kN>
DEVICE void scale_all(float (&d)[kM][kN][4], float scale) {
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][n][i] *= scale;
}

// Leaves of row r the columns before end(r) and makes the others -infinity.
template <int kM, int kN, typename End>
DEVICE void hide_from(float (&d)[kM][kN][4], End&& end) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int end_here = end(16 * m + 8 * half + g) - 2 * t;
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          if (8 * n + i >= end_here) d[m][n][2 * half + i] = -INFINITY;
    }
}

// d[i, j] += left[left_row + i] . right[right_row + j], over the whole width.
template <typename T, int kM, int kN, int kLeftRows, int kRightRows, int kWidth>
DEVICE void add_products(float (&d)[kM][kN][4], Tile<T, kLeftRows, kWidth> left, int left_row,
                         Tile<T, kRightRows, kWidth> right, int right_row) {
  if constexpr (sizeof(T) == 2) {
    static_assert(kN % 2 == 0);
    const int r = lane_index() % 8, odd = lane_index() / 8 % 2, high = lane_index() / 16;
    const uint32_t from_left = left.offset(left_row + 8 * odd + r, high);
    const uint32_t from_right = right.offset(right_row + 8 * high + r, odd);
#pragma unroll 4  // all at once, ptxas loads so far ahead that it spills other registers
    for (int k = 0; k < kWidth / 16; ++k) {
      uint32_t a[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) load_matrices(a[m], left.step(from_left, 16 * m, 2 * k));
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
        uint32_t b[4];
        load_matrices(b, right.step(from_right, 8 * n, 2 * k));
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16x8x16<T>(d[m][n], a[m], b[0], b[1]);
          mma_16x8x16<T>(d[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  } else {
    const int g = lane_index() / 4, t = lane_index() % 4;
    const uint32_t from_left = left.offset(left_row + g, 0);
    const uint32_t from_right[2] = {right.offset(right_row + 2 * t, 0), right.offset(right_row + 2 * t + 1, 0)};
#pragma unroll 1
    for (int k = 0; k < kWidth / 4; ++k) {
      float a[kM][2][4];
#pragma unroll
      for (int m = 0; m < kM; ++m)
        for (int half = 0; half < 2; ++half) load(a[m][half], left.step(from_left, 16 * m + 8 * half, k));
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        float b[2][4];
        for (int which = 0; which < 2; ++which) load(b[which], right.step(from_right[which], 8 * n, k));
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) d[m][n][i] += a[m][i / 2][j] * b[i % 2][j];
      }
    }
  }
}

// d[i, :] += sum over j of weight[i, j] * rows[first_row + j, :]. For bf16 and fp16 the weights are rounded to T.
template <typename T, int kM, int kK, int kN, int kRows, int kWidth>
DEVICE void add_weighted_rows(float (&d)[kM][kN][4], const float (&weight)[kM][kK][4], Tile<T, kRows, kWidth> rows,
                              int first_row) {
  static_assert(8 * kN == kWidth);
  if constexpr (sizeof(T) == 2) {
    static_assert(kK % 2 == 0);
    const int r = lane_index() % 8, odd = lane_index() / 8 % 2, high = lane_index() / 16;
    const uint32_t from = rows.offset(first_row + 8 * odd + r, high);
#pragma unroll
    for (int k = 0; k < kK; k += 2) {
      uint32_t a[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          a[m][i] = pack<T>(weight[m][k + i / 2][2 * (i % 2)], weight[m][k + i / 2][2 * (i % 2) + 1]);
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
        uint32_t b[4];
        load_matrices<true>(b, rows.step(from, 8 * k, n));
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16x8x16<T>(d[m][n], a[m], b[0], b[1]);
          mma_16x8x16<T>(d[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  } else {
    const int t = lane_index() % 4;
#pragma unroll
    for (int k = 0; k < kK; ++k)
#pragma unroll 1
      for (int j = 0; j < 8; ++j) {
        float w[kM][2];
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            w[m][half] =
                shuffle(j % 2 ? weight[m][k][2 * half + 1] : weight[m][k][2 * half], lane_index() / 4 * 4 + j / 2);
        const uint32_t from = rows.offset(first_row + 8 * k + j, t / 2) + t % 2 * 8;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          float b[2];
          load(b, rows.step(from, 0, 2 * n));
#pragma unroll
          for (int m = 0; m < kM; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) d[m][n][i] += w[m][i / 2] * b[i % 2];
        }
      }
  }
}

}  // namespace glm4v::cuda
