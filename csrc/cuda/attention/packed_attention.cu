// packed_attention for sm_80 and newer: a block has a tile of one head's queries and walks along its keys with a
// running soft-max (FlashAttention-2, arXiv 2307.08691). Agrees with glm4v/ops/reference.py. Values come while their
// keys are multiplied, and the next keys while values are; both loads start where no scores have to be kept in
// registers.
#include "attention_sm90.h"
#include "epilogue.h"
#include "scheduler.h"
#include "shape.h"
#include "softmax.h"

namespace glm4v::cuda {
namespace {

template <typename T, int kWidth>
struct Forward {
  static constexpr int kHeadBytes = kWidth * static_cast<int>(sizeof(T));
  static constexpr ForwardShape kShape = forward_shape(kHeadBytes);
  static constexpr int kM = kShape.rows_of_warp / 16, kN = kShape.keys / 8, kOutN = kWidth / 8;
  static constexpr int kShared = kShape.shared_bytes(kHeadBytes), kQueries = kShape.queries();
  static_assert(kShared <= kSharedOfEveryDevice);
  static constexpr int kThreads = 32 * kShape.warps, kMinBlocks = 2, kRegisters = 255, kArch = 80;

  using Queries = Tile<T, kQueries, kWidth>;
  using Keys = Tile<T, kShape.keys, kWidth>;

  // Two tiles of keys take turns; there is one of values.
  static DEVICE Keys keys_of(int turn) { return {static_cast<uint32_t>(Queries::kBytes + turn * Keys::kBytes)}; }
  static DEVICE Keys values() { return {Queries::kBytes + 2 * Keys::kBytes}; }

  // Starts to load keys or values from `first` of the sequence on, if any query sees that.
  static DEVICE void load(Keys tile, const PackedAttention& a, const TokenHeads& from, const QueryTile& work, int first,
                          int seen) {
    if (first < seen)
      copy_rows<kThreads>(tile, thread_index(), row_of<T>(from, work.keys.first + first, work.kv_head * a.head_dim),
                          from.token_stride, work.keys.count - first, a.head_dim);
    copy_commit();
  }

  static DEVICE void run(const PackedAttention& a) {
    const QueryTile work = query_tile<kQueries>(a, block_index().x);
    if (work.count == 0) return;
    const Queries queries{0};
    const int first_row = warp_index() * kShape.rows_of_warp;
    const int seen = work.visible.keys_of(work.first + work.count - 1);  // by the last query
    const float scale_log2 = a.scale * kLog2E;

    float out[kM][kOutN][4];
    clear(out);
    RunningSoftmax<kM> softmax;
    softmax.start();

    if (seen > 0) {
      copy_rows<kThreads>(queries, thread_index(), row_of<T>(a.q, work.token(work.first), work.head * a.head_dim),
                          a.q.token_stride, work.count, a.head_dim);
      load(keys_of(0), a, a.k, work, 0, seen);
      const int unmasked = work.visible.keys_of(work.first + first_row);
      int turn = 0;
#pragma unroll 1
      for (int key = 0; key < seen; key += kShape.keys, turn ^= 1) {
        copy_wait<0>();
        sync_threads();  // keys are there, and nobody reads values any more
        load(values(), a, a.v, work, key, seen);
        load(keys_of(turn ^ 1), a, a.k, work, key + kShape.keys, seen);
        float scores[kM][kN][4];
        clear(scores);
        add_products<T>(scores, queries, first_row, keys_of(turn), 0);
        if (key + kShape.keys > unmasked)
          hide_from(scores, [&](int row) { return work.visible.keys_of(work.first + first_row + row) - key; });
        softmax.weigh(scores, out, scale_log2);
        copy_wait<1>();
        sync_threads();  // values are there
        add_weighted_rows<T>(out, scores, values(), 0);
      }
    }
    softmax.finish();
    write_out(a, work, queries, first_row, out, softmax, scale_log2);
  }

  static DEVICE void write_out(const PackedAttention& a, const QueryTile& work, Queries staging, int first_row,
                               float (&out)[kM][kOutN][4], const RunningSoftmax<kM>& softmax, float scale_log2) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float normaliser = softmax.normaliser(m, half);
#pragma unroll
        for (int n = 0; n < kOutN; ++n) out[m][n][2 * half] *= normaliser, out[m][n][2 * half + 1] *= normaliser;
        const int row = first_row + 16 * m + 8 * half + lane_index() / 4;
        if (lane_index() % 4 == 0 && row < work.count)
          a.log_sum_exp[work.head * a.queries + work.token(work.first + row)] =
              softmax.log2_sum(m, half, scale_log2) * kLn2;
      }
    store_rows(out, staging, first_row, a.head_dim, [&](int r) -> T* {
      const int row = first_row + r;
      if (row >= work.count) return nullptr;
      return static_cast<T*>(a.out) + (work.token(work.first + row) * a.heads + work.head) * a.head_dim;
    });
  }
};

template <typename T, int kWidth>
Error launch_forward(const PackedAttention& a, Stream stream) {
  using Kernel = Forward<T, kWidth>;
  return launch<Kernel>({query_tiles<Kernel::kQueries>(a)}, Kernel::kShared, stream, a);
}

}  // namespace

Error packed_attention(const PackedAttention& a, Stream stream) {
  if (takes_sm90(a)) return packed_attention_sm90(a, stream);
  return for_float(a.dtype, [&](auto element) {
    return for_width(a.head_dim, [&](auto width) { return launch_forward<decltype(element), width>(a, stream); });
  });
}

}  // namespace glm4v::cuda
