// packed_attention backward for sm_90a: one kernel for dK and dV by tiles of keys, one for dQ by tiles of queries. Each
// computes the scores again (7 matrix products where a single kernel has 5), but nothing is added to global memory by
// several blocks: gradients have the same bits on every call without an order among blocks, and dQ needs no float32
// copy. Both are the same walk: a block holds two tiles and streams pairs of tiles past them.
//                  held     streamed   P = exp2(s - log_sum_exp)   dS = P * (dP - delta)
//   of keys        K, V     Q, dO      dV += P^T dO                dK += dS^T Q
//   of queries     Q, dO    K, V                                   dQ += dS K
// with s = held1 streamed1^T and dP = held2 streamed2^T, so that P and dS leave the registers as operands of wgmma.
#include "../constants.h"
#include "attention_sm90.h"
#include "schedule_sm90.h"
#include "tile_sm90.h"

namespace glm4v::cuda {
namespace {

using namespace sm90;

struct BackwardArguments {
  TensorMap held[2], streamed[2];
  PackedAttentionBackward backward;
  Lengths lengths;
  TileList list;
  float scale_log2;
};

// Streamed tiles of as many rows as registers and shared memory allow.
constexpr int streamed_rows(int width, bool of_keys) {
  if (width == 256) return of_keys ? 64 : 48;
  if (width == 128) return of_keys ? 64 : 128;
  return of_keys ? 112 : 128;
}

// Heads of up to kD.
template <typename T, int kD, bool kOfKeys>
struct BackwardSm90 {
  static constexpr int kThreads = kThreadsOfKernel, kMinBlocks = 1, kRegisters = kLaunchRegisters, kArch = 90;
  // Registers hold dK and dV of 64 keys and 128 numbers: wider heads are halved between the consumers, which then both
  // compute all scores.
  static constexpr bool kHalves = kOfKeys && kD == 256;
  static constexpr int kWidth = kHalves ? 128 : kD;
  static constexpr int kHeld = kHalves ? 64 : 64 * kConsumers, kStreamed = streamed_rows(kD, kOfKeys);
  using Held = Tile<64, kD>;
  using Streamed = Tile<kStreamed, kD>;
  static constexpr int kPair = 2 * Streamed::kBytes, kHeldBytes = kHeld / 64 * Held::kBytes;
  static constexpr int kStages = 3 * kPair + 2 * kHeldBytes <= 224 * 1024 ? 3 : 2;

  struct Barriers {
    Barrier held_full, held_empty, full[kStages], empty[kStages];
    ItemRing items;
    float statistics[kOfKeys ? kStages : 1][2][kStreamed];  // of the streamed queries: log_sum_exp * log2(e), delta
  };
  static constexpr int kOfStreamed = 2 * kHeldBytes, kOfBarriers = kOfStreamed + kStages * kPair;
  static constexpr int kBytes = kOfBarriers + static_cast<int>(sizeof(Barriers));
  static_assert(kBytes <= kSharedOfBlock);

  struct Range {
    int first, last;
    DEVICE int count() const { return last > first ? last - first : 0; }
  };

  static DEVICE Visibility visibility(const BackwardArguments& a, const Item& item) {
    return {item.queries.count, item.keys.count, a.backward.forward.causal};
  }

  // Tiles that an item streams, for each head.
  static DEVICE Range tiles_of(const BackwardArguments& a, const Item& item) {
    const Visibility visible = visibility(a, item);
    const auto end = static_cast<int>(least((item.tile + 1) * kHeld, held_of(item).count));
    const int first = kOfKeys ? visible.first_query_of(item.tile * kHeld) / kStreamed : 0;
    return {first, ((kOfKeys ? item.queries.count : visible.keys_of(end - 1)) + kStreamed - 1) / kStreamed};
  }

  // Query heads whose gradients an item sums.
  static DEVICE Range heads_of(const BackwardArguments& a, const Item& item) {
    if (!kOfKeys) return {item.head, item.head + 1};
    const int parts = a.backward.parts, part = item.head % parts;
    const int group = a.backward.forward.heads / a.backward.forward.kv_heads, first = item.head / parts * group;
    return {first + group * part / parts, first + group * (part + 1) / parts};
  }

  static DEVICE int heads_of_items(const BackwardArguments& a) {
    return kOfKeys ? a.backward.forward.kv_heads * a.backward.parts : a.backward.forward.heads;
  }
  static DEVICE const Span& held_of(const Item& item) { return kOfKeys ? item.keys : item.queries; }
  static DEVICE const Span& streamed_of(const Item& item) { return kOfKeys ? item.queries : item.keys; }
  static DEVICE int held_head(const BackwardArguments& a, const Item& item) {
    return kOfKeys ? item.head / a.backward.parts : item.head;
  }
  static DEVICE int streamed_head(const BackwardArguments& a, int head) {
    return kOfKeys ? head : head / (a.backward.forward.heads / a.backward.forward.kv_heads);
  }

  static DEVICE void run(const BackwardArguments& a) {
    auto* const barriers = shared<Barriers>(kOfBarriers);
    if (thread_index() == 0) {
      barrier_init(&barriers->held_full, 1);
      barrier_init(&barriers->held_empty, kConsumerWarps);
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&barriers->full[i], kOfKeys ? 1 + 32 : 1);
        barrier_init(&barriers->empty[i], kConsumerWarps);
      }
      barriers->items.init(kConsumerWarps + (kOfKeys ? 1 : 0));
      barrier_init_fence();
    }
    sync_threads();
    if (thread_index() < kWarpgroup) {
      registers_down<kProducerRegisters>();
      if (warp_index() == 0) {
        if (elect_one()) fetch_tiles(a);
      } else if (kOfKeys && warp_index() == 1) {
        copy_statistics(a);
      }
    } else {
      registers_up<kConsumerRegisters>();
      Consumer(a, thread_index() / kWarpgroup - 1).run();
    }
  }

  // producer ----------------------------------------------------------------------------------------------------------

  // By one thread.
  static DEVICE void fetch_tiles(const BackwardArguments& a) {
    auto* const barriers = shared<Barriers>(kOfBarriers);
    Ring<ItemRing::kSlots> slots;
    Ring<kStages> ring;
    int held_parity = 1;
    barriers->items.publish(slots, a.list, a.lengths, heads_of_items(a));
    for (;; slots.advance()) {
      const Item& item = barriers->items.item[slots.stage];
      if (item.head < 0) return;
      const Range heads = heads_of(a, item), tiles = tiles_of(a, item);
      if (tiles.count() > 0) {
        barrier_wait(&barriers->held_empty, held_parity);
        held_parity ^= 1;
        fetch_held(a, item);
      }
      barriers->items.publish(slots.next(), a.list, a.lengths, heads_of_items(a));
      for (int head = heads.first; head < heads.last; ++head)
        for (int tile = tiles.first; tile < tiles.last; ++tile, ring.advance()) {
          Barrier* const full = &barriers->full[ring.stage];
          uint8_t* const pair = shared_memory() + kOfStreamed + ring.stage * kPair;
          const int token = static_cast<int>(streamed_of(item).first) + tile * kStreamed;
          barrier_wait(&barriers->empty[ring.stage], ring.parity ^ 1);
          barrier_arrive_expect(full, kPair);
          for (int i = 0; i < 2; ++i)
            Streamed::fetch(pair + i * Streamed::kBytes, &a.streamed[i], full, streamed_head(a, head), token);
        }
    }
  }

  static DEVICE void fetch_held(const BackwardArguments& a, const Item& item) {
    Barrier* const full = &shared<Barriers>(kOfBarriers)->held_full;
    const int token = static_cast<int>(held_of(item).first) + item.tile * kHeld;
    barrier_arrive_expect(full, 2 * kHeldBytes);
    for (int i = 0; i < 2; ++i)
      for (int row = 0; row < kHeld; row += 64)
        Held::fetch(shared_memory() + i * kHeldBytes + row / 64 * Held::kBytes, &a.held[i], full, held_head(a, item),
                    token + row);
  }

  // By one warp. Of queries behind the last one both are 0, which they multiply with a probability of 0.
  static DEVICE void copy_statistics(const BackwardArguments& a) {
    auto* const barriers = shared<Barriers>(kOfBarriers);
    Ring<kStages> ring;
    for (Ring<ItemRing::kSlots> slots;; slots.advance()) {
      barrier_wait(&barriers->items.full[slots.stage], slots.parity);
      const Item& item = barriers->items.item[slots.stage];
      if (item.head < 0) return;
      const Range heads = heads_of(a, item), tiles = tiles_of(a, item);
      for (int head = heads.first; head < heads.last; ++head)
        for (int tile = tiles.first; tile < tiles.last; ++tile, ring.advance()) {
          barrier_wait(&barriers->empty[ring.stage], ring.parity ^ 1);
          float* const to = barriers->statistics[ring.stage][0];
#pragma unroll 1
          for (int i = lane_index(); i < kStreamed; i += 32) {
            const int query = tile * kStreamed + i;
            const int64_t at = head * a.backward.forward.queries + item.queries.first + query;
            const bool exists = query < item.queries.count;
            to[i] = exists ? a.backward.forward.log_sum_exp[at] * kLog2E : 0.0f;
            to[kStreamed + i] = exists ? a.backward.delta[at] : 0.0f;
          }
          barrier_arrive(&barriers->full[ring.stage]);
        }
      sync_warp();
      release(&barriers->items.empty[slots.stage]);
    }
  }

  // consumers ---------------------------------------------------------------------------------------------------------

  struct Consumer {
    const BackwardArguments& a;
    const int consumer;
    Barriers* const barriers = shared<Barriers>(kOfBarriers);
    uint8_t* const memory = shared_memory();
    const int first_row = kHalves ? 0 : 64 * consumer;
    const uint64_t held = Held::rows(memory + first_row / 64 * Held::kBytes);
    const uint64_t by_rows = Streamed::rows(memory + kOfStreamed);
    const uint64_t by_columns =
        Streamed::columns(memory + kOfStreamed + (kHalves ? 2 * consumer * Streamed::kBoxBytes : 0));
    Ring<kStages> ring;
    int held_parity = 0;
    float first_gradient[kWidth / 2], second_gradient[kOfKeys ? kWidth / 2 : 8];  // dK or dQ; dV
    float s[kStreamed / 2], dp[kStreamed / 2];                                    // [64, kStreamed]
    uint32_t p[kStreamed / 16][4], ds[kStreamed / 16][4];
    float log_sum_exp[2], delta[2];  // of held queries

    DEVICE Consumer(const BackwardArguments& arguments, int index) : a(arguments), consumer(index) {}

    DEVICE void run() {
      for (Ring<ItemRing::kSlots> slots;; slots.advance()) {
        barrier_wait(&barriers->items.full[slots.stage], slots.parity);
        const Item& item = barriers->items.item[slots.stage];  // stays there: registers are scarce
        if (item.head < 0) return;
        compute(item);
        store(item);
        sync_warp();
        release(&barriers->items.empty[slots.stage]);
      }
    }

    DEVICE void compute(const Item& item) {
#pragma unroll
      for (int i = 0; i < kWidth / 2; ++i) first_gradient[i] = 0.0f;
      if constexpr (kOfKeys) {
#pragma unroll
        for (int i = 0; i < kWidth / 2; ++i) second_gradient[i] = 0.0f;
      }
      if (tiles_of(a, item).count() == 0) return;
      if constexpr (!kOfKeys) load_statistics(item);

      barrier_wait(&barriers->held_full, held_parity);
      held_parity ^= 1;
      int before = -1, tile = tiles_of(a, item).first;  // the stage of the tile before
      for (int left = tiles_of(a, item).count() * heads_of(a, item).count(); left > 0; --left, ring.advance()) {
        barrier_wait(&barriers->full[ring.stage], ring.parity);
        step(item, ring.stage, before, tile * kStreamed);
        before = ring.stage;
        if (++tile == tiles_of(a, item).last) tile = tiles_of(a, item).first;
      }
      wgmma_wait<0>();
      wgmma_hold(first_gradient);
      if constexpr (kOfKeys) wgmma_hold(second_gradient);
      release(&barriers->empty[before]);
      release(&barriers->held_empty);
    }

    DEVICE void load_statistics(const Item& item) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int own = item.tile * kHeld + first_row + accumulator_row(2 * r);
        const bool exists = own < item.queries.count;
        const int64_t at = item.head * a.backward.forward.queries + item.queries.first + own;
        log_sum_exp[r] = exists ? a.backward.forward.log_sum_exp[at] * kLog2E : 0.0f;
        delta[r] = exists ? a.backward.delta[at] : 0.0f;
      }
    }

    DEVICE void clear(int stage, int first) {
      uint8_t* const pair = memory + kOfStreamed + stage * kPair;
      Streamed::clear(pair, first);
      Streamed::clear(pair + Streamed::kBytes, first);
      cleared(consumer);
    }

    // One pair of streamed tiles. The products with the gradients are still under way when it returns: the next step,
    // whose scores are queued behind them, releases their tiles. dP is asked for only then, since registers would not
    // hold it, the scores and the operands of products under way at once; it runs while the scores are exponentiated.
    DEVICE void step(const Item& item, int stage, int before, int first) {
      if (first + kStreamed > streamed_of(item).count) clear(stage, streamed_of(item).count - first);
      const uint64_t pair = stage * (kPair / 16);
      wgmma_fence();
      multiply_rows<T, Held, Streamed, kD>(s, held, by_rows + pair);
      wgmma_commit();
      wgmma_wait<0>();
      wgmma_hold(s);
      wgmma_hold(first_gradient);
      if (before >= 0) release(&barriers->empty[before]);
      wgmma_fence();
      multiply_rows<T, Held, Streamed, kD>(dp, held + kHeldBytes / 16, by_rows + pair + Streamed::kBytes / 16);
      wgmma_commit();

      weigh(stage);
      if (is_masked(item, first)) mask(item, first);
      if constexpr (kOfKeys) {
        pack_operand<T>(p, s);
        wgmma_hold(p);
        wgmma_hold(second_gradient);
        wgmma_fence();
        multiply_columns<T, Streamed>(second_gradient, p, by_columns + pair + Streamed::kBytes / 16);
        wgmma_commit();
        wgmma_wait<1>();
      } else {
        wgmma_wait<0>();
      }
      wgmma_hold(dp);
      differentiate(stage);
      pack_operand<T>(ds, dp);
      wgmma_hold(ds);
      wgmma_hold(first_gradient);
      wgmma_fence();
      multiply_columns<T, Streamed>(first_gradient, ds, by_columns + pair);
      wgmma_commit();
    }

    // For i and i + 1 of the accumulators.
    DEVICE void statistics(int which, int stage, int i, float& x, float& y) {
      if constexpr (kOfKeys) {
        const Word<8> both = read<8>(&barriers->statistics[stage][which][accumulator_column(i)]);
        x = bits_float(both.part[0]), y = bits_float(both.part[1]);
      } else {
        x = y = which ? delta[i / 2 % 2] : log_sum_exp[i / 2 % 2];
      }
    }

    // Scores become probabilities.
    DEVICE void weigh(int stage) {
#pragma unroll
      for (int i = 0; i < kStreamed / 2; i += 2) {
        float x, y;
        statistics(0, stage, i, x, y);
        s[i] = exp2_fast(s[i] * a.scale_log2 - x);
        s[i + 1] = exp2_fast(s[i + 1] * a.scale_log2 - y);
      }
    }

    // Whether some row does not see some of the tile's columns.
    DEVICE bool is_masked(const Item& item, int first) const {
      const Visibility visible = visibility(a, item);
      const int row = item.tile * kHeld + first_row, last = first + kStreamed;
      return kOfKeys ? first < visible.first_query_of(row + 63) || last > item.queries.count
                     : last > visible.keys_of(row);
    }

    DEVICE void mask(const Item& item, int first) {
      const Visibility visible = visibility(a, item);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = item.tile * kHeld + first_row + accumulator_row(2 * r);
        const int low = (kOfKeys ? visible.first_query_of(row) : 0) - first;
        const int high = (kOfKeys ? item.queries.count : visible.keys_of(row)) - first;
#pragma unroll
        for (int i = 0; i < kStreamed / 2; ++i)
          if (i / 2 % 2 == r && (accumulator_column(i) < low || accumulator_column(i) >= high)) s[i] = 0.0f;
      }
    }

    // Gradients of probabilities become gradients of scores, but for the scale.
    DEVICE void differentiate(int stage) {
#pragma unroll
      for (int i = 0; i < kStreamed / 2; i += 2) {
        float x, y;
        statistics(1, stage, i, x, y);
        dp[i] = s[i] * (dp[i] - x);
        dp[i + 1] = s[i + 1] * (dp[i + 1] - y);
      }
    }

    DEVICE void store(const Item& item) {
      const PackedAttention& forward = a.backward.forward;
      const int row = item.tile * kHeld + first_row + accumulator_row(0), rows = held_of(item).count - row;
      const int heads = kOfKeys ? forward.kv_heads : forward.heads, from = kHalves ? kWidth * consumer : 0;
      const int64_t token = held_of(item).first + row, stride = static_cast<int64_t>(heads) * forward.head_dim;
      const int64_t at = token * stride + static_cast<int64_t>(held_head(a, item)) * forward.head_dim + from;
      const float scale[2] = {forward.scale, forward.scale}, one[2] = {1.0f, 1.0f};
      const int columns = forward.head_dim - from;
      const auto write = [&](const auto& x, const Gradient& gradient, const float (&factor)[2]) {
        if (kOfKeys && gradient.sum)
          store_rows(x, factor, gradient.sum + item.head % a.backward.parts * forward.keys * stride + at, stride, rows,
                     columns);
        else
          store_rows(x, factor, static_cast<T*>(gradient.out) + at, stride, rows, columns);
      };
      write(first_gradient, kOfKeys ? a.backward.k : a.backward.q, scale);
      if constexpr (kOfKeys) write(second_gradient, a.backward.v, one);
    }
  };
};

template <typename T, int kD, bool kOfKeys>
Error launch_backward(const PackedAttentionBackward& b, Stream stream) {
  using Kernel = BackwardSm90<T, kD, kOfKeys>;
  const PackedAttention& a = b.forward;
  const Lengths lengths{a.cu_seqlens_q, a.cu_seqlens_k, a.sequences, a.queries, a.keys};
  const int64_t tokens = kOfKeys ? a.keys : a.queries;
  const TileList list{static_cast<int32_t*>(a.workspace), slots_of<Kernel::kHeld>(tokens, a.sequences)};
  BackwardArguments arguments{{}, {}, b, lengths, list, a.scale * kLog2E};
  Error error = nullptr;
  for (int i = 0; i < 2 && !error; ++i) {
    const TokenHeads &queries = i ? b.grad_out : a.q, &keys = i ? a.v : a.k;
    TensorMap(&of_queries)[2] = kOfKeys ? arguments.streamed : arguments.held;
    TensorMap(&of_keys)[2] = kOfKeys ? arguments.held : arguments.streamed;
    const int query_rows = kOfKeys ? Kernel::kStreamed : 64, key_rows = kOfKeys ? 64 : Kernel::kStreamed;
    error = map_heads(of_queries[i], a.dtype, queries, a.queries, a.heads, a.head_dim, query_rows);
    if (!error) error = map_heads(of_keys[i], a.dtype, keys, a.keys, a.kv_heads, a.head_dim, key_rows);
  }
  if (!error) error = list_tiles({lengths, list, Kernel::kHeld, kOfKeys, !kOfKeys && a.causal}, stream);
  const int64_t blocks = least(multiprocessors(), list.capacity * (kOfKeys ? a.kv_heads * b.parts : a.heads));
  return error ? error : launch<Kernel>({blocks}, Kernel::kBytes, stream, arguments);
}

// One after the other on the stream, so that one list of tiles after the other has the workspace.
template <typename T, int kD>
Error launch_both(const PackedAttentionBackward& b, Stream stream) {
  const Error error = launch_backward<T, kD, true>(b, stream);
  return error ? error : launch_backward<T, kD, false>(b, stream);
}

template <typename T>
Error choose_backward(const PackedAttentionBackward& b, Stream stream) {
  if (b.forward.head_dim <= 64) return launch_both<T, 64>(b, stream);
  if (b.forward.head_dim <= 128) return launch_both<T, 128>(b, stream);
  return launch_both<T, 256>(b, stream);
}

}  // namespace

bool takes_sm90(const PackedAttentionBackward& b) {
  return takes_sm90(b.forward) && takes_tma(b.grad_out, b.forward.heads, b.forward.head_dim) &&
         whole_vectors(0, b.q.out, b.k.out, b.v.out, b.k.sum, b.v.sum);
}

int64_t attention_workspace(const PackedAttention& a) {
  return TileList::bytes(slots_of<64>(a.queries > a.keys ? a.queries : a.keys, a.sequences));
}

Error packed_attention_backward_sm90(const PackedAttentionBackward& b, Stream stream) {
  return b.forward.dtype == DType::bf16 ? choose_backward<bf16>(b, stream) : choose_backward<fp16>(b, stream);
}

}  // namespace glm4v::cuda
