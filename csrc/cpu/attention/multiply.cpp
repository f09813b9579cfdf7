// Register blocks of the product of tiles: one broadcast element of A times a few vectors of B, summed in registers.
#include "multiply.h"

#include "multiply_tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

// Sums in registers: 6 x 4 vectors of 32, 6 x 2 of 16, which leaves room for the vectors of B and one of A.
constexpr int kRows = kRegisters ? kRegisterRows : 1;
constexpr int kVectors = kRegisters == 32 ? 4 : 2;

template <typename U, int R, int N>
void multiply_block(Left<U> a, Right<U> b, Result c, int depth) {
  F32 sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[r][n] = c.accumulate ? load(c.at + r * c.row + n * W) : F32{};
  for (int d = 0; d < depth; ++d) {
    decltype(load(b.at)) right[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) right[n] = load(b.at + d * b.depth + n * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const U left = a.at[r * a.row + d * a.depth];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[r][n] = multiply_add(sums[r][n], left, right[n]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) store(c.at + r * c.row + n * W, sums[r][n]);
}

// The largest block up to R x N that rows and vectors fill.
template <typename U, int R, int N>
void multiply_at_most(int rows, int vectors, Left<U> a, Right<U> b, Result c, int depth) {
  if constexpr (R > 1)
    if (rows < R) return multiply_at_most<U, R - 1, N>(rows, vectors, a, b, c, depth);
  if constexpr (N > 1)
    if (vectors < N) return multiply_at_most<U, R, N - 1>(rows, vectors, a, b, c, depth);
  multiply_block<U, R, N>(a, b, c, depth);
}

template <typename U>
void multiply_tile(int rows, int columns, int depth, Left<U> a, Right<U> b, Result c) {
  for (int column = 0; column < columns; column += kVectors * W)
    for (int row = 0; row < rows; row += kRows)
      multiply_at_most<U, kRows, kVectors>(rows - row, (columns - column) / W, {a.at + row * a.row, a.row, a.depth},
                                           {b.at + column, b.depth}, {c.at + row * c.row + column, c.row, c.accumulate},
                                           depth);
}

}  // namespace

void multiply(int rows, int columns, int depth, Left<float> a, Right<float> b, Result c) {
  multiply_tile(rows, columns, depth, a, b, c);
}

void multiply(int rows, int columns, int depth, Left<uint32_t> a, Right<uint32_t> b, Result c) {
  if constexpr (kTileRegisters)
    multiply_on_tiles(rows, columns, depth, a, b, c);
  else if constexpr (kNativeBf16)
    multiply_tile(rows, columns, depth, a, b, c);
}

TileRegisters::TileRegisters() {
  if constexpr (kTileRegisters) configure_tiles();
}

TileRegisters::~TileRegisters() {
  if constexpr (kTileRegisters) release_tiles();
}

}  // namespace glm4v::GLM4V_ISA
