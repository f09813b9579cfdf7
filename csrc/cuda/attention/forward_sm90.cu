// packed_attention forward for sm_90a, organised as FlashAttention-3 (arXiv 2407.08608): a producer warpgroup fetches
// with TMA, two consumer warpgroups of 64 query rows each multiply with wgmma. While one consumer's products run the
// other computes its soft-max: they take turns by named barriers. Inside a consumer, too, the next scores are under
// way while the soft-max of the last ones is computed.
#include "../constants.h"
#include "attention_sm90.h"
#include "schedule_sm90.h"
#include "tile_sm90.h"

namespace glm4v::cuda {
namespace {

using namespace sm90;

struct ForwardArguments {
  TensorMap q, k, v;
  PackedAttention attention;
  Lengths lengths;
  TileList list;
  float scale_log2;
};

// Heads of up to kD.
template <typename T, int kD, int kTileOfKeys>
struct ForwardSm90 {
  static constexpr int kThreads = kThreadsOfKernel, kMinBlocks = 1, kRegisters = kLaunchRegisters, kArch = 90;
  static constexpr int kQueries = 64 * kConsumers, kKeys = kTileOfKeys, kStages = 2;
  using Q = Tile<64, kD>;  // one for each consumer
  using K = Tile<kKeys, kD>;
  using V = K;

  struct Barriers {
    Barrier q_full[kConsumers], q_empty[kConsumers];
    Barrier k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
    ItemRing items;
  };
  static constexpr int kOfQ = 0, kOfK = kOfQ + kConsumers * Q::kBytes, kOfV = kOfK + kStages * K::kBytes,
                       kOfBarriers = kOfV + kStages * V::kBytes;
  static constexpr int kBytes = kOfBarriers + static_cast<int>(sizeof(Barriers));
  static_assert(kBytes <= kSharedOfBlock);

  // Tiles of keys that the item's queries see, counted from the sequence's first key.
  static DEVICE int key_tiles(const ForwardArguments& a, const Item& item) {
    const int end = static_cast<int>(least((item.tile + 1) * kQueries, item.queries.count));
    return (visibility(a, item).keys_of(end - 1) + kKeys - 1) / kKeys;
  }

  static DEVICE Visibility visibility(const ForwardArguments& a, const Item& item) {
    return {item.queries.count, item.keys.count, a.attention.causal};
  }

  static DEVICE void run(const ForwardArguments& a) {
    auto* const barriers = shared<Barriers>(kOfBarriers);
    if (thread_index() == 0) {
      for (int c = 0; c < kConsumers; ++c) {
        barrier_init(&barriers->q_full[c], 1);
        barrier_init(&barriers->q_empty[c], kConsumerWarps / kConsumers);
      }
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&barriers->k_full[i], 1);
        barrier_init(&barriers->v_full[i], 1);
        barrier_init(&barriers->k_empty[i], kConsumerWarps);
        barrier_init(&barriers->v_empty[i], kConsumerWarps);
      }
      barriers->items.init(kConsumerWarps);
      barrier_init_fence();
    }
    sync_threads();
    if (thread_index() < kWarpgroup) {
      registers_down<kProducerRegisters>();
      if (warp_index() == 0 && elect_one()) produce(a);
    } else {
      registers_up<kConsumerRegisters>();
      Consumer(a, thread_index() / kWarpgroup - 1).run();
    }
  }

  // producer: one thread ----------------------------------------------------------------------------------------------

  static DEVICE void fetch(uint8_t* tiles, const TensorMap* map, Barrier* full, Barrier* empty, Ring<kStages>& ring,
                           int head, int token) {
    barrier_wait(empty + ring.stage, ring.parity ^ 1);
    barrier_arrive_expect(full + ring.stage, K::kBytes);
    K::fetch(tiles + ring.stage * K::kBytes, map, full + ring.stage, head, token);
    ring.advance();
  }

  static DEVICE void produce(const ForwardArguments& a) {
    auto* const barriers = shared<Barriers>(kOfBarriers);
    uint8_t* const memory = shared_memory();
    const int heads = a.attention.heads;
    Ring<ItemRing::kSlots> slots;
    Ring<kStages> k_ring, v_ring;
    int q_parity = 1;
    barriers->items.publish(slots, a.list, a.lengths, heads);
    for (;; slots.advance()) {
      const Item& item = barriers->items.item[slots.stage];
      if (item.head < 0) return;
      const int tiles = key_tiles(a, item);
      if (tiles > 0) {
        for (int c = 0; c < kConsumers; ++c) {
          barrier_wait(&barriers->q_empty[c], q_parity);
          barrier_arrive_expect(&barriers->q_full[c], Q::kBytes);
          Q::fetch(memory + kOfQ + c * Q::kBytes, &a.q, &barriers->q_full[c], item.head,
                   static_cast<int>(item.queries.first) + item.tile * kQueries + 64 * c);
        }
        q_parity ^= 1;
      }
      const int kv_head = item.head / (heads / a.attention.kv_heads);
      for (int n = tiles; n >= 0; --n) {  // values come a tile later than their keys
        const int token = static_cast<int>(item.keys.first) + n * kKeys;
        if (n > 0) fetch(memory + kOfK, &a.k, barriers->k_full, barriers->k_empty, k_ring, kv_head, token - kKeys);
        if (n == tiles) barriers->items.publish(slots.next(), a.list, a.lengths, heads);
        if (n < tiles) fetch(memory + kOfV, &a.v, barriers->v_full, barriers->v_empty, v_ring, kv_head, token);
      }
    }
  }

  // consumers ---------------------------------------------------------------------------------------------------------

  struct Consumer {
    const ForwardArguments& a;
    const int consumer;
    Barriers* const barriers = shared<Barriers>(kOfBarriers);
    uint8_t* const memory = shared_memory();
    const uint64_t q = Q::rows(memory + kOfQ + consumer * Q::kBytes), k = K::rows(memory + kOfK),
                   v = V::columns(memory + kOfV);
    Ring<kStages> k_ring, v_ring;
    int q_parity = 0;
    float o[kD / 2];            // [64, kD]
    float s[kKeys / 2];         // [64, kKeys] scores, then probabilities
    uint32_t p[kKeys / 16][4];  // the same as an operand
    float maximum[2], sum[2], factor[2];
    int seen[2];  // keys that the two rows see

    DEVICE Consumer(const ForwardArguments& arguments, int index) : a(arguments), consumer(index) {}

    DEVICE void run() {
      if (consumer == 1) named_barrier_arrive(kTurn, 2 * kWarpgroup);  // the first turn is consumer 0's
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
      const int first_row = item.tile * kQueries + 64 * consumer;
      const Visibility visible = visibility(a, item);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        seen[r] = visible.keys_of(first_row + accumulator_row(2 * r));
        maximum[r] = -kInfinity, sum[r] = 0.0f;
      }
#pragma unroll
      for (int i = 0; i < kD / 2; ++i) o[i] = 0.0f;
      const int tiles = key_tiles(a, item), seen_by_all = visible.keys_of(first_row);
      if (tiles == 0) return;

      barrier_wait(&barriers->q_full[consumer], q_parity);
      barrier_wait(&barriers->k_full[k_ring.stage], k_ring.parity);
      scores();
      wgmma_wait<0>();
      wgmma_hold(s);
      release(&barriers->k_empty[k_ring.stage]);
      k_ring.advance();
      soften((tiles - 1) * kKeys, seen_by_all);
      pack_operand<T>(p, s);
      if (tiles * kKeys > item.keys.count) {
        barrier_wait(&barriers->v_full[v_ring.stage], v_ring.parity);
        V::clear(memory + kOfV + v_ring.stage * V::kBytes, item.keys.count - (tiles - 1) * kKeys);
        cleared(consumer);
      }

      for (int n = tiles - 2; n >= 0; --n) {
        barrier_wait(&barriers->k_full[k_ring.stage], k_ring.parity);
        named_barrier_sync(kTurn + consumer, 2 * kWarpgroup);
        scores();
        barrier_wait(&barriers->v_full[v_ring.stage], v_ring.parity);
        add_values();
        named_barrier_arrive(kTurn + 1 - consumer, 2 * kWarpgroup);
        wgmma_wait<1>();
        wgmma_hold(s);
        release(&barriers->k_empty[k_ring.stage]);
        k_ring.advance();
        soften(n * kKeys, seen_by_all);
        wgmma_wait<0>();
        wgmma_hold(o);
        release(&barriers->v_empty[v_ring.stage]);
        v_ring.advance();
#pragma unroll
        for (int i = 0; i < kD / 2; ++i) o[i] *= factor[i / 2 % 2];
        pack_operand<T>(p, s);
      }
      release(&barriers->q_empty[consumer]);
      q_parity ^= 1;
      barrier_wait(&barriers->v_full[v_ring.stage], v_ring.parity);
      add_values();
      wgmma_wait<0>();
      wgmma_hold(o);
      release(&barriers->v_empty[v_ring.stage]);
      v_ring.advance();
    }

    DEVICE void scores() {
      wgmma_fence();
      multiply_rows<T, Q, K, kD>(s, q, k + k_ring.stage * (K::kBytes / 16));
      wgmma_commit();
    }
    DEVICE void add_values() {
      wgmma_hold(o);
      wgmma_hold(p);
      wgmma_fence();
      multiply_columns<T, V>(o, p, v + v_ring.stage * (V::kBytes / 16));
      wgmma_commit();
    }

    // Scores of the keys from `first` on become probabilities relative to the new maximum; what was summed before has
    // to be multiplied by `factor`.
    DEVICE void soften(int first, int seen_by_all) {
      if (first + kKeys > seen_by_all) {
#pragma unroll
        for (int i = 0; i < kKeys / 2; ++i)
          if (first + accumulator_column(i) >= seen[i / 2 % 2]) s[i] = -kInfinity;
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float largest = maximum[r];
#pragma unroll
        for (int i = 2 * r; i < kKeys / 2; i += 4) largest = fmaxf(largest, fmaxf(s[i], s[i + 1]));
        largest = fmaxf(largest, shuffle_xor(largest, 1));
        largest = fmaxf(largest, shuffle_xor(largest, 2));
        const float anchor = largest == -kInfinity ? 0.0f : largest, shift = anchor * a.scale_log2;
        factor[r] = exp2_fast((maximum[r] - anchor) * a.scale_log2);  // 1 where both are equal
        maximum[r] = largest;
        sum[r] *= factor[r];
#pragma unroll
        for (int i = 2 * r; i < kKeys / 2; i += 4) {
          s[i] = exp2_fast(s[i] * a.scale_log2 - shift);
          s[i + 1] = exp2_fast(s[i + 1] * a.scale_log2 - shift);
          sum[r] += s[i] + s[i + 1];
        }
      }
    }

    DEVICE void store(const Item& item) {
      const PackedAttention& attention = a.attention;
      const int row = item.tile * kQueries + 64 * consumer + accumulator_row(0);
      const int rows = item.queries.count - row;
      const int64_t token = item.queries.first + row;
      float inverse[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        sum[r] += shuffle_xor(sum[r], 1);
        sum[r] += shuffle_xor(sum[r], 2);
        inverse[r] = sum[r] == 0.0f ? 0.0f : 1.0f / sum[r];
        if (lane_index() % 4 == 0 && 8 * r < rows)
          attention.log_sum_exp[item.head * attention.queries + token + 8 * r] =
              sum[r] == 0.0f ? -kInfinity : (maximum[r] * a.scale_log2 + log2_fast(sum[r])) * kLn2;
      }
      const int64_t stride = static_cast<int64_t>(attention.heads) * attention.head_dim;
      T* const out =
          static_cast<T*>(attention.out) + token * stride + static_cast<int64_t>(item.head) * attention.head_dim;
      store_rows(o, inverse, out, stride, rows, attention.head_dim);
    }
  };
};

template <typename Kernel>
Error launch_forward(const PackedAttention& a, Stream stream) {
  const TileList list{static_cast<int32_t*>(a.workspace), slots_of<Kernel::kQueries>(a.queries, a.sequences)};
  const Lengths lengths{a.cu_seqlens_q, a.cu_seqlens_k, a.sequences, a.queries, a.keys};
  ForwardArguments arguments{{}, {}, {}, a, lengths, list, a.scale * kLog2E};
  Error error = map_heads(arguments.q, a.dtype, a.q, a.queries, a.heads, a.head_dim, 64);
  if (!error) error = map_heads(arguments.k, a.dtype, a.k, a.keys, a.kv_heads, a.head_dim, Kernel::kKeys);
  if (!error) error = map_heads(arguments.v, a.dtype, a.v, a.keys, a.kv_heads, a.head_dim, Kernel::kKeys);
  if (!error) error = list_tiles({lengths, list, Kernel::kQueries, false, a.causal}, stream);
  const int64_t blocks = least(multiprocessors(), list.capacity * a.heads);
  return error ? error : launch<Kernel>({blocks}, Kernel::kBytes, stream, arguments);
}

// Tiles of keys as large as registers and shared memory allow; under a causal mask smaller ones waste less.
template <typename T>
Error choose_forward(const PackedAttention& a, Stream stream) {
  if (a.head_dim <= 64) return launch_forward<ForwardSm90<T, 64, 128>>(a, stream);
  if (a.head_dim > 128) return launch_forward<ForwardSm90<T, 256, 80>>(a, stream);
  if (a.causal) return launch_forward<ForwardSm90<T, 128, 128>>(a, stream);
  return launch_forward<ForwardSm90<T, 128, 176>>(a, stream);
}

}  // namespace

bool takes_sm90(const PackedAttention& a) {
  const bool narrow = a.dtype == DType::bf16 || a.dtype == DType::f16;
  const bool addressable =
      (a.queries / 64 + a.sequences) * a.heads < 1 << 30 && (a.keys / 64 + a.sequences) * a.heads < 1 << 30;
  return a.workspace && device_arch() == 90 && narrow && addressable && a.head_dim <= 256 && a.keys > 0 &&
         a.scale > 0.0f && takes_tma(a.q, a.heads, a.head_dim) && takes_tma(a.k, a.kv_heads, a.head_dim) &&
         takes_tma(a.v, a.kv_heads, a.head_dim) && whole_vectors(0, a.out);
}

Error packed_attention_sm90(const PackedAttention& a, Stream stream) {
  return a.dtype == DType::bf16 ? choose_forward<bf16>(a, stream) : choose_forward<fp16>(a, stream);
}

}  // namespace glm4v::cuda
