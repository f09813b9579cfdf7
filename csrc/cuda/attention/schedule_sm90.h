// Which tile a block works on next. A small kernel lists the tiles of all sequences, those with most work first; the
// persistent kernels after it take (tile, head) items from that list by a counter, so that no block waits while others
// have a queue, and no length is needed on the host.
#pragma once

#include "../ptx.h"
#include "mask.h"
#include "scheduler.h"

namespace glm4v::cuda::sm90 {

// Which buffer of a ring comes next and in which parity its barriers are.
template <int kStages>
struct Ring {
  int stage = 0, parity = 0;
  DEVICE void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
  DEVICE Ring next() const {
    Ring ring = *this;
    ring.advance();
    return ring;
  }
};

struct Lengths {
  const int32_t *cu_seqlens_q, *cu_seqlens_k;  // [sequences + 1]
  int64_t sequences, queries, keys;

  DEVICE Span queries_of(int64_t sequence) const { return span_of(cu_seqlens_q, sequence, queries); }
  DEVICE Span keys_of(int64_t sequence) const { return span_of(cu_seqlens_k, sequence, keys); }
};

// One tile of one sequence for one head.
struct Item {
  int head;  // below 0: there are no more
  int tile;
  Span queries, keys;  // of the sequence
};

// Scratch of (4 + 2 * capacity) int32: the counter, the number of tiles, two unused, then a sequence and a tile each.
struct TileList {
  int32_t* scratch;
  int64_t capacity;

  static int64_t bytes(int64_t capacity) { return 16 + 8 * capacity; }

  DEVICE int* counter() const { return scratch; }
  DEVICE int* count() const { return scratch + 1; }
  DEVICE int32_t* entry(int64_t i) const { return scratch + 4 + 2 * i; }
};

// The next item of `heads` items a tile. Called by one thread.
DEVICE Item next_item(const TileList& list, const Lengths& lengths, int heads) {
  const int i = atomic_add(list.counter(), 1);
  if (i >= *list.count() * heads) return {-1, 0, {}, {}};
  const Word<8> entry = read_constant<8>(list.entry(i / heads));
  const auto sequence = static_cast<int>(entry.part[0]), tile = static_cast<int>(entry.part[1]);
  return {i % heads, tile, lengths.queries_of(sequence), lengths.keys_of(sequence)};
}

struct ListTilesArguments {
  Lengths lengths;
  TileList list;
  int tile;       // tokens of one
  bool of_keys;   // tiles of keys, else of queries
  bool backward;  // the last tile of a sequence first: under a causal mask it has most keys
};

// Every thread finds the place of one sequence's tiles: after those of all sequences with more work.
struct ListTiles {
  static constexpr int kThreads = 256, kMinBlocks = 1, kRegisters = 64, kArch = 80;

  struct Load {
    int work, tiles;
  };

  static DEVICE Load load_of(const ListTilesArguments& a, int64_t i) {
    if (i >= a.lengths.sequences) return {-1, 0};
    const int queries = a.lengths.queries_of(i).count, keys = a.lengths.keys_of(i).count;
    return {a.of_keys ? queries : keys, ((a.of_keys ? keys : queries) + a.tile - 1) / a.tile};
  }

  static DEVICE void run(const ListTilesArguments& a) {
    auto* const others = shared<Load>(0);
    const int64_t mine = block_index().x * kThreads + thread_index();
    const Load load = load_of(a, mine);
    int64_t first = 0, total = 0;
    for (int64_t chunk = 0; chunk < a.lengths.sequences; chunk += kThreads) {
      others[thread_index()] = load_of(a, chunk + thread_index());
      sync_threads();
      for (int j = 0; j < kThreads; ++j) {
        const Load other = others[j];
        total += other.tiles;
        if (other.work > load.work || (other.work == load.work && chunk + j < mine)) first += other.tiles;
      }
      sync_threads();
    }
    if (mine == 0) {
      *a.list.counter() = 0;
      *a.list.count() = static_cast<int>(least(total, a.list.capacity));
    }
    for (int lane = 0; lane < 32; ++lane) {  // a warp together writes one sequence after the other
      const int tiles = shuffle(load.tiles, lane), sequence = shuffle(static_cast<int>(mine), lane);
      const int64_t at = shuffle(first, lane);
      for (int i = lane_index(); i < tiles && at + i < a.list.capacity; i += 32) {
        const int tile = a.backward ? tiles - 1 - i : i;
        write<8>(a.list.entry(at + i), Word<8>{static_cast<uint32_t>(sequence), static_cast<uint32_t>(tile)});
      }
    }
  }
};

inline Error list_tiles(const ListTilesArguments& a, Stream stream) {
  const int64_t blocks = (a.lengths.sequences + ListTiles::kThreads - 1) / ListTiles::kThreads;
  return launch<ListTiles>({blocks}, ListTiles::kThreads * static_cast<int64_t>(sizeof(ListTiles::Load)), stream, a);
}

// How a producer hands items to the consumers: while they work on one and it fetches for the next, it looks for a
// third. Items stay in shared memory, since registers are scarce on both sides.
struct ItemRing {
  static constexpr int kSlots = 3;
  Barrier full[kSlots], empty[kSlots];
  Item item[kSlots];

  DEVICE void init(int consumer_warps) {
    for (int i = 0; i < kSlots; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], consumer_warps);
    }
  }

  // By one thread.
  DEVICE void publish(Ring<kSlots> at, const TileList& list, const Lengths& lengths, int heads) {
    barrier_wait(&empty[at.stage], at.parity ^ 1);
    item[at.stage] = next_item(list, lengths, heads);
    barrier_arrive(&full[at.stage]);
  }
};

}  // namespace glm4v::cuda::sm90
