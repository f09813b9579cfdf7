// Which tile of which packed sequence a block has, found from cu_seqlens by the block itself: no list to be made on the
// device before, nothing that the host has to know. Sequence s owns the slots from rows_before(s) / kTile + s on. These
// are never fewer than its tiles, since dropping two remainders costs less than the one that every sequence gets on
// top: at most one slot a sequence stays empty, and its block ends at once.
#pragma once

#include "mask.h"

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
  int64_t first;  // row of the sequence; of an empty slot outside of it
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

// A tile of one head's queries.
struct QueryTile {
  int head, kv_head, first, count;  // queries from `first` of the sequence on, `count` of them, 0 in an empty slot
  Span queries, keys;
  Visibility visible;

  DEVICE int64_t token(int query) const { return queries.first + query; }
};

template <int kTile>
int64_t query_tiles(const PackedAttention& a) {
  return a.sequences ? slots_of<kTile>(a.queries, a.sequences) * a.heads : 0;
}

// Heads that share keys come one after the other, so that these are read from memory once; then the tiles of a sequence
// from its last on, which sees the most keys under a causal mask: long work first.
template <int kTile>
DEVICE QueryTile query_tile(const PackedAttention& a, int64_t index) {
  const auto slots = static_cast<uint32_t>(slots_of<kTile>(a.queries, a.sequences));
  const auto group = static_cast<uint32_t>(a.heads / a.kv_heads), i = static_cast<uint32_t>(index);
  const uint32_t kv_head = i / group / slots, slot = slots - 1 - i / group % slots;
  const Place place = place_of<kTile>(slot, a.cu_seqlens_q, a.sequences);
  const Span queries = span_of(a.cu_seqlens_q, place.sequence, a.queries);
  const Span keys = span_of(a.cu_seqlens_k, place.sequence, a.keys);
  const bool inside = place.first >= 0 && place.first < queries.count;
  const int first = inside ? static_cast<int>(place.first) : 0;
  return {.head = static_cast<int>(kv_head * group + i % group),
          .kv_head = static_cast<int>(kv_head),
          .first = first,
          .count = inside ? static_cast<int>(least(kTile, queries.count - first)) : 0,
          .queries = queries,
          .keys = keys,
          .visible = {queries.count, keys.count, a.causal}};
}

}  // namespace glm4v::cuda
