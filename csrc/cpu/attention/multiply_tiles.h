// The product of multiply.h on tile registers: blocks of up to 2 x 2 tiles of sums, so that a product does not wait for
// the one before it, and each tile of A and B is used twice.
#pragma once

#include "../tile_registers.h"
#include "multiply.h"
#include "tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

// Calls f<m, n>() for each of M x N tiles.
template <int M, int N, typename F>
inline __attribute__((always_inline)) void for_tiles(F&& f) {
  f.template operator()<0, 0>();
  if constexpr (N == 2) f.template operator()<0, 1>();
  if constexpr (M == 2) f.template operator()<1, 0>();
  if constexpr (M == 2 && N == 2) f.template operator()<1, 1>();
}

template <int M, int N>
void multiply_block(Left<uint32_t> a, Right<uint32_t> b, Result c, int depth) {
  constexpr int kLeft = 4, kRight = 6;  // numbers of the first tiles of A and B, after those of the sums
  const auto sums = [&](int m, int n) { return c.at + m * kTileRows * c.row + n * kTileLanes; };
  for_tiles<M, N>(
      [&]<int m, int n> { c.accumulate ? load_tile<2 * m + n>(sums(m, n), c.row) : zero_tile<2 * m + n>(); });
  for (int d = 0; d < depth; d += kTileLanes) {
    for_tiles<M, 1>([&]<int m, int> { load_tile<kLeft + m>(a.at + m * kTileRows * a.row + d, a.row); });
    for_tiles<1, N>([&]<int, int n> { load_tile<kRight + n>(b.at + d * b.depth + n * kTileLanes, b.depth); });
    for_tiles<M, N>([&]<int m, int n> { multiply_add_tiles<2 * m + n, kLeft + m, kRight + n>(); });
  }
  for_tiles<M, N>([&]<int m, int n> { store_tile<2 * m + n>(sums(m, n), c.row); });
}

// A tile's lanes are the depth: lays A [rows, depth] out so, of up to kTile rows that lie side by side.
inline Left<uint32_t> turn(int rows, int depth, Left<uint32_t> a, uint32_t* out) {
  constexpr int kStride = kTile / 2;
  for (int row = 0; row < rows; row += W)
    for (int d = 0; d < depth; d += W) {
      U32 block[W];
      for (int i = 0; i < W; ++i) block[i] = load(a.at + row + (d + i) * a.depth);
      transpose(block);
      for (int i = 0; i < W; ++i) store(out + (row + i) * kStride + d, block[i]);
    }
  return {out, kStride, 1};
}

inline void multiply_on_tiles(int rows, int columns, int depth, Left<uint32_t> a, Right<uint32_t> b, Result c) {
  alignas(64) uint32_t turned[kTile * kTile / 2];
  if (a.depth != 1) a = turn(rows, depth, a, turned);
  for (int row = 0; row < rows; row += 2 * kTileRows)
    for (int column = 0; column < columns; column += 2 * kTileLanes) {
      const bool two_rows = rows - row > kTileRows, two_columns = columns - column > kTileLanes;
      const auto block = two_rows ? (two_columns ? multiply_block<2, 2> : multiply_block<2, 1>)
                                  : (two_columns ? multiply_block<1, 2> : multiply_block<1, 1>);
      block({a.at + row * a.row, a.row, 1}, {b.at + column, b.depth},
            {c.at + row * c.row + column, c.row, c.accumulate}, depth);
    }
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
