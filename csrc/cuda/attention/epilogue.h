// A warp's rows from registers to global memory.
#pragma once

#include "product.h"

namespace glm4v::cuda {

// Rounds them to T by way of the warp's own rows of a tile, so that whole pieces of 16 bytes are written; row(r) gives
// an address at a multiple of 16 bytes, or null for rows that are not written.
template <typename T, int kM, int kN, int kRows, int kWidth, typename Row>
DEVICE void store_rows(float (&d)[kM][kN][4], Tile<T, kRows, kWidth> tile, int first_row, int head_dim, Row&& row) {
  using Rows = Tile<T, kRows, kWidth>;
  sync_warp();  // all lanes have read what lay there
  const int g = lane_index() / 4, column = lane_index() % 4 * 2;
  const uint32_t start = tile.offset(first_row + g, column / Rows::kEach) + column % Rows::kEach * sizeof(T);
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float two[2] = {d[m][n][2 * half], d[m][n][2 * half + 1]};
        store(tile.step(start, 16 * m + 8 * half, 8 * n / Rows::kEach), two);
      }
  sync_warp();
  for (int i = lane_index(); i < 16 * kM * Rows::kPieces; i += 32) {
    const int r = i / Rows::kPieces, piece = i % Rows::kPieces;
    T* const to = row(r);
    if (to && piece * Rows::kEach < head_dim)
      write<16>(to + piece * Rows::kEach, read<16>(tile.piece(first_row + r, piece)));
  }
}

// In float, two numbers at a time: four lanes write the 32 bytes that memory moves at least.
template <int kM, int kN, typename Row>
DEVICE void store_floats(float (&d)[kM][kN][4], int head_dim, Row&& row) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float* const to = row(16 * m + 8 * half + g);
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const float two[2] = {d[m][n][2 * half], d[m][n][2 * half + 1]};
        if (to && 8 * n < head_dim) store(to + 8 * n + 2 * t, two);
      }
    }
}

}  // namespace glm4v::cuda
