// Tiles of queries, keys and values in shared memory. The 16-byte pieces of a row are permuted by the row's number, so
// that neither eight rows of one piece (what ldmatrix reads) nor one row's pieces (what a copy writes) share a bank.
#pragma once

#include "../ptx.h"

namespace glm4v::cuda {

template <typename T, int kRowsOfTile, int kWidth>
struct Tile {
  static constexpr int kRows = kRowsOfTile, kColumns = kWidth, kRowBytes = kWidth * sizeof(T);
  static constexpr int kEach = 16 / sizeof(T), kPieces = kWidth / kEach, kBytes = kRows * kRowBytes;
  static_assert(kPieces >= 8 && kRowBytes <= 1024);

  uint32_t start;  // offset in shared memory, a multiple of 1024

  DEVICE uint32_t offset(int row, int piece) const {
    return start + static_cast<uint32_t>(row * kRowBytes + (piece ^ (row & 7)) * 16);
  }
  DEVICE T* piece(int row, int piece) const { return shared<T>(offset(row, piece)); }
  DEVICE T* at(int row, int column) const { return piece(row, column / kEach) + column % kEach; }

  // From the piece at `offset`, `rows` rows on, a multiple of 8, and `pieces` pieces on, whose bits the piece there
  // does not have. Written so that the steps of an unrolled loop share few registers and need no multiplications.
  static DEVICE T* step(uint32_t offset, int rows, int pieces) {
    return shared<T>((offset ^ static_cast<uint32_t>(pieces % 8 * 16)) +
                     static_cast<uint32_t>(rows * kRowBytes + pieces / 8 * 128));
  }
};

template <typename T>
DEVICE const T* row_of(const TokenHeads& tensor, int64_t token, int column) {
  return static_cast<const T*>(tensor.data) + token * tensor.token_stride + column;
}

// kThreads threads, `thread` of them this one, start to copy `count` rows (all, if there are more) of `head_dim`
// numbers; `from` and all rows `stride` numbers apart lie at multiples of 16 bytes. The rest of the tile becomes 0.
template <int kThreads, typename T, int kRows, int kWidth>
DEVICE void copy_rows(Tile<T, kRows, kWidth> tile, int thread, const T* from, int64_t stride, int count, int head_dim) {
  using Rows = Tile<T, kRows, kWidth>;
  constexpr int kStep = kThreads / Rows::kPieces;  // rows that the threads copy at once
  static_assert(kThreads % Rows::kPieces == 0 && kRows % kStep == 0);
  const int row = thread / Rows::kPieces, piece = thread % Rows::kPieces;
  const T* source = from + row * stride + piece * Rows::kEach;
  if (piece * Rows::kEach >= head_dim) count = 0;
#pragma unroll 16
  for (int r = 0; r < kRows; r += kStep) {
    copy_async(tile.piece(r + row, piece), source, r + row < count ? 16 : 0);
    source += kStep * stride;
  }
}

}  // namespace glm4v::cuda
