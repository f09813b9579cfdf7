// The tiles of a product a [M, K] * b [N, K]^T whose results stay in registers for an epilogue: 128 x 256 of them, half
// of whose rows each of two warpgroups holds, 128 a thread, in wgmma's layout (accumulator_row, accumulator_column).
#pragma once

#include "../attention/tile_sm90.h"

namespace glm4v::cuda::fused {

inline constexpr int kTileRows = 128, kTileColumns = 256, kTileDepth = 64, kAccumulators = 128, kConsumers = 256;
inline constexpr int kClusterRows = 2;  // tiles one below the other that share what they read of b

// Of an epilogue's tile and thread: the row of accumulator 0 (accumulator 2 has the eighth below it), and the tile's
// first column. Tiles, rows and columns may lie beyond the product.
struct Place {
  int64_t row, tile_column;

  DEVICE int64_t column() const { return tile_column * kTileColumns; }
};

DEVICE Place place_of(int64_t tile_row, int64_t tile_column, int warpgroup) {
  return {tile_row * kTileRows + warpgroup * 64 + sm90::accumulator_row(0), tile_column};
}

GLM4V_SHARED constexpr int64_t tiles_of(int64_t length, int tile) { return (length + tile - 1) / tile; }

// How many tiles side by side are walked before the next ones below or beside them, so that what a wave of tiles reads
// stays in the L2 cache. CUTLASS fills the product up to whole such groups with tiles of nothing: of 8, 4 or 2 the most
// that waste no more than a sixteenth.
GLM4V_SHARED constexpr int group_of(int64_t rows, int64_t columns) {
  const int64_t high = tiles_of(rows, kTileRows * kClusterRows), wide = tiles_of(columns, kTileColumns);
  for (int group = 8; group > 1; group /= 2)
    if (16 * tiles_of(high, group) * tiles_of(wide, group) * group * group <= 17 * high * wide) return group;
  return 1;
}

static_assert(group_of(8192, 151552) == 8 && group_of(8192, 3072) == 4, "linear_cross_entropy of the 9B model");
static_assert(group_of(26004, 2 * 1536) == 4 && group_of(1, 1) == 1, "patch_embed of the 9B model, and a single tile");

// A matrix of bfloat16 whose rows start at multiples of 16 bytes, `stride` numbers apart.
struct Factors {
  Rows a, b;
  int64_t rows, columns, depth;
};

}  // namespace glm4v::cuda::fused
