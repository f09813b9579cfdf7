// Which tile of which packed sequence a block has, found from cu_seqlens by the block itself: no list to be made on the
// device before, nothing that the host has to know. Sequence s owns the slots from rows_before(s) / kTile + s on. These
// are never fewer than its tiles, since dropping two remainders costs less than the one that every sequence gets on top:
// at most one slot a sequence stays empty, and its block ends at once.
#pragma once

#include "../device.h"

namespace glm4v::cuda {

// Tokens of one sequence among all.
struct Span {
  int64_t first;
  int count;
};

// What cu_seqlens says of a sequence, clamped so that nothing outside of `total` tokens is ever touched.
DEVICE Span span_of(const int32_t* cu_seqlens, int64_t sequence, int64_t total) {
  const auto clamped = [&](int64_t x, int64_t low) { return x < low ? low : x > total ? total : x; };
  const int64_t first = clamped(cu_seqlens[sequence], 0);
  return {first, static_cast<int>(clamped(cu_seqlens[sequence + 1], first) - first)};
}

// Slots for `tokens` tokens in all, each of which makes `rows` rows.
template <int kTile>
GLM4V_SHARED int64_t slots_of(int64_t tokens, int64_t sequences, int64_t rows = 1) {
  return tokens * rows / kTile + sequences;
}

struct Place {
  int64_t sequence;
  int64_t first;  // row of the sequence; at or after its last for an empty slot
};

// Every warp of the block looks for itself, 32 sequences at a time: one load for up to 32 of them, two for up to 1024.
template <int kTile>
DEVICE Place place_of(int64_t slot, const int32_t* cu_seqlens, int64_t sequences, int64_t rows = 1) {
  const auto first_slot = [&](int64_t sequence) { return cu_seqlens[sequence] * rows / kTile + sequence; };
  int64_t low = 0, high = sequences;  // the last sequence whose first slot is not after this one is in [low, high)
  while (high - low > 1) {
    const int64_t step = (high - low + 31) / 32, probe = low + lane_index() * step;
    const uint32_t not_after = ballot(probe < high && first_slot(probe) <= slot);
    low += highest_bit(not_after | 1) * step;
    high = least(high, low + step);
  }
  return {low, (slot - first_slot(low)) * kTile};
}

}  // namespace glm4v::cuda
