// How an operator's results reach memory: through the cache, where whoever reads them next finds them, or past it where
// they would not fit, which saves reading every line before it is written.
#pragma once

#include <cstdint>

#include "rows.h"
#include "simd.h"

namespace glm4v::GLM4V_ISA {
namespace {

struct Cached {
  static constexpr bool kStreams = false;

  void put(float* p, F32 v, int n) const { store_some(p, v, n); }
  void put(bf16* p, Pairs v, int n) const { store_lanes(p, v, n); }
  void put(bf16* p, U32 pairs, int n) const { store_elements(p, pairs, n); }
};

// One for a piece of work: what it has put is there for other threads when it ends.
struct Streamed {
  static constexpr bool kStreams = true;

  Streamed() = default;
  Streamed(const Streamed&) = delete;
  Streamed& operator=(const Streamed&) = delete;
  ~Streamed() { fence(); }

  void put(float* p, F32 v, int) const { stream(p, v); }
  void put(bf16* p, Pairs v, int) const { stream_pairs(p, rounded_pairs(v.even, v.odd)); }
  void put(bf16* p, U32 pairs, int) const { stream_pairs(p, pairs); }
};

// Fewer bytes of results in all may still be in the cache when they are read. Measured on 2 cores that share 32 MB:
// from 13 to 18 MB on, with as much to be read, streaming is 1.0 to 1.4 times as fast.
constexpr int64_t kStreamedBytes = int64_t{12} << 20;

// Whether to stream `results`, which have `bytes` bytes in all: there have to be enough of them, and whatever is put in
// a row, a multiple of `row_bytes`, has to begin and end with a line.
template <typename... Pointers>
inline bool streams(int64_t bytes, int64_t row_bytes, Pointers... results) {
  constexpr int kLine = 64;
  return bytes >= kStreamedBytes && row_bytes % kLine == 0 &&
         ((reinterpret_cast<uintptr_t>(results) % kLine == 0) && ...);
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
