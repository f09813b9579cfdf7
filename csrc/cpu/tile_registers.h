// The only door to the processor's tile registers (Intel AMX): eight tiles of 16 rows of 16 lanes, a lane a float or a
// pair of bf16. A second body in vectors lets tests execute what is written on tiles where no processor has them.
#pragma once

#include "simd.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kTileRows = 16, kTileLanes = 16;

#if defined(__AMX_BF16__)

// Assembly in place of GCC's intrinsics: these take a tile's number as text, not as a constant, and do not say that a
// load reads memory.

// To be called on every thread before it touches a tile; until released, the system saves the tiles with the thread.
inline void configure_tiles() {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const configuration;
  static_assert(sizeof configuration == 64);
  asm volatile("ldtilecfg %0" ::"m"(configuration) : "memory");
}

inline void release_tiles() { asm volatile("tilerelease" ::: "memory"); }

template <int kTileNumber>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTileNumber));
}

// `stride`: from row to row, in lanes.
template <int kTileNumber, typename Lane>
inline void load_tile(const Lane* p, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride * 4), "i"(kTileNumber) : "memory");
}

template <int kTileNumber>
inline void store_tile(float* p, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride * 4), "i"(kTileNumber) : "memory");
}

// sums += left right: lanes of `left` and rows of `right` are the depth, in pairs of bf16.
template <int kSums, int kLeft, int kRight>
inline void multiply_add_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kLeft), "i"(kRight));
}

#else

struct Tiles {
  bool configured = false;
  uint32_t lanes[8][kTileRows][kTileLanes] = {};

  uint32_t* row(int tile, int r) {
    if (!configured) __builtin_trap();  // as the processor
    return lanes[tile][r];
  }
};
constinit thread_local Tiles tiles;

inline void configure_tiles() { tiles = {.configured = true, .lanes = {}}; }

inline void release_tiles() { tiles.configured = false; }

template <int kTileNumber>
inline void zero_tile() {
  for (int r = 0; r < kTileRows; ++r) __builtin_memset(tiles.row(kTileNumber, r), 0, 4 * kTileLanes);
}

template <int kTileNumber, typename Lane>
inline void load_tile(const Lane* p, int64_t stride) {
  for (int r = 0; r < kTileRows; ++r) __builtin_memcpy(tiles.row(kTileNumber, r), p + r * stride, 4 * kTileLanes);
}

template <int kTileNumber>
inline void store_tile(float* p, int64_t stride) {
  for (int r = 0; r < kTileRows; ++r) __builtin_memcpy(p + r * stride, tiles.row(kTileNumber, r), 4 * kTileLanes);
}

// As TDPBF16PS: the lower and the upper halves of the pairs are summed apart, then both are added.
template <int kSums, int kLeft, int kRight>
inline void multiply_add_tiles() {
  constexpr uint32_t kLower = 0xffff, kUpper = 0xffff0000;
  for (int r = 0; r < kTileRows; ++r)
    for (int lane = 0; lane < kTileLanes; lane += W) {
      F32 lower{}, upper{};
      for (int d = 0; d < kTileLanes; ++d) {
        const uint32_t left = tiles.row(kLeft, r)[d];
        const U32 right = load(tiles.row(kRight, d) + lane);
        lower = multiply_add(lower, left & kLower, right & kLower);
        upper = multiply_add(upper, left & kUpper, right & kUpper);
      }
      uint32_t* const sums = tiles.row(kSums, r) + lane;
      store(sums, (U32)flush(flush((F32)load(sums)) + flush(lower + upper)));
    }
}

#endif

}  // namespace
}  // namespace glm4v::GLM4V_ISA
