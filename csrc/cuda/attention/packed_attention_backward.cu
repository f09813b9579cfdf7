// packed_attention's gradients for sm_80 and newer, from the saved log-sum-exp (FlashAttention-2, arXiv 2307.08691):
//   P = exp(scale * Q K^T - log_sum_exp)   dP = dO V^T   dS = P * (dP - delta)   delta = rowsum(dO * O)
//   dV = P^T dO   dK = scale * dS^T Q   dQ = scale * dS K
// Two kernels: one walks along queries for a tile of keys and keeps dK and dV, one walks along keys for a tile of
// queries and keeps dQ. Scores are computed twice, seven products in place of five, but every sum is made in registers
// in one order: the same bits every time, without atomics and without blocks that wait for each other.
#include "attention_sm90.h"
#include "epilogue.h"
#include "scheduler.h"
#include "shape.h"
#include "softmax.h"

namespace glm4v::cuda {
namespace {

// delta of a token's head: a warp has one.
template <typename T>
struct Delta {
  static constexpr int kThreads = 128, kMinBlocks = 8, kRegisters = 64, kArch = 80;

  static DEVICE void run(const PackedAttentionBackward& a) {
    const PackedAttention& f = a.forward;
    const int64_t index = block_index().x * (kThreads / 32) + warp_index();
    if (index >= f.queries * f.heads) return;
    const int64_t token = index / f.heads;
    const int head = static_cast<int>(index % f.heads);
    const T* const out = static_cast<const T*>(f.out) + index * f.head_dim;
    const T* const grad = row_of<T>(a.grad_out, token, head * f.head_dim);
    constexpr int kEach = 16 / sizeof(T);
    float sum = 0;
#pragma unroll 1
    for (int i = lane_index() * kEach; i < f.head_dim; i += 32 * kEach) {
      float o[kEach], g[kEach];
      load_constant(o, out + i);
      load_constant(g, grad + i);
      for (int j = 0; j < kEach; ++j) sum += o[j] * g[j];
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) a.delta[head * f.queries + token] = sum;
  }
};

// What both kernels have: a block's rows in two tiles, and two pairs of tiles of columns that take turns.
template <typename T, int kWidth>
struct Walk {
  static constexpr int kHeadBytes = kWidth * static_cast<int>(sizeof(T));
  static constexpr BackwardShape kShape = backward_shape(kHeadBytes);
  static constexpr int kM = kShape.rows_of_warp / 16, kN = kShape.columns / 8, kOutN = kWidth / 8;
  static constexpr int kThreads = 32 * kShape.warps, kShared = kShape.shared_bytes(kHeadBytes);
  static_assert(kShared <= kSharedOfEveryDevice);

  using Rows = Tile<T, kShape.rows(), kWidth>;
  using Columns = Tile<T, kShape.columns, kWidth>;

  static DEVICE Rows rows(int which) { return {static_cast<uint32_t>(which * Rows::kBytes)}; }
  static DEVICE Columns columns(int which, int turn) {
    return {static_cast<uint32_t>(2 * Rows::kBytes + (2 * turn + which) * Columns::kBytes)};
  }
  static DEVICE int first_row() { return warp_index() * kShape.rows_of_warp; }

  template <typename TileOf>
  static DEVICE void load(TileOf tile, const TokenHeads& from, int64_t token, int count, int head, int head_dim) {
    copy_rows<kThreads>(tile, thread_index(), row_of<T>(from, token, head * head_dim), from.token_stride, count,
                        head_dim);
  }
};

// What log_sum_exp subtracts from a score's exponent, for a row that has a query and saw a key; else all weights are 0.
DEVICE float shift_of(const PackedAttention& f, int head, int64_t token, bool there) {
  const float log_sum_exp = there ? f.log_sum_exp[head * f.queries + token] : -kInfinity;
  return log_sum_exp == -kInfinity ? kInfinity : log_sum_exp * kLog2E;
}

template <typename T, int kWidth>
struct QueryGradient : Walk<T, kWidth> {
  using W = Walk<T, kWidth>;
  static constexpr int kM = W::kM, kN = W::kN, kOutN = W::kOutN, kQueries = W::kShape.rows(), kKeys = W::kShape.columns;
  static constexpr int kMinBlocks = 2, kRegisters = 255, kArch = 80;

  static DEVICE void run(const PackedAttentionBackward& a) {
    const PackedAttention& f = a.forward;
    const QueryTile work = query_tile<kQueries>(f, block_index().x);
    if (work.count == 0) return;
    const auto load_keys = [&](int key, int turn) {
      const int64_t token = work.keys.first + key;
      W::load(W::columns(0, turn), f.k, token, work.keys.count - key, work.kv_head, f.head_dim);
      W::load(W::columns(1, turn), f.v, token, work.keys.count - key, work.kv_head, f.head_dim);
    };
    const int first_row = W::first_row();
    const int seen = work.visible.keys_of(work.first + work.count - 1);
    const int unmasked = work.visible.keys_of(work.first + first_row);
    const float scale_log2 = f.scale * kLog2E;
    float grad_q[kM][kOutN][4];
    clear(grad_q);

    if (seen > 0) {
      W::load(W::rows(0), f.q, work.token(work.first), work.count, work.head, f.head_dim);
      W::load(W::rows(1), a.grad_out, work.token(work.first), work.count, work.head, f.head_dim);
      load_keys(0, 0);
      copy_commit();
      float shift[kM][2], delta[kM][2];
      for (int m = 0; m < kM; ++m)
        for (int half = 0; half < 2; ++half) {
          const int row = first_row + 16 * m + 8 * half + lane_index() / 4;
          const int64_t token = work.token(work.first + row);
          shift[m][half] = shift_of(f, work.head, token, row < work.count);
          delta[m][half] = row < work.count ? a.delta[work.head * f.queries + token] : 0;
        }
      int turn = 0;
#pragma unroll 1
      for (int key = 0; key < seen; key += kKeys, turn ^= 1) {
        copy_wait<0>();
        sync_threads();  // this turn's tiles are there, and nobody reads the other's any more
        if (key + kKeys < seen) load_keys(key + kKeys, turn ^ 1);
        copy_commit();
        float scores[kM][kN][4], grads[kM][kN][4];
        clear(scores);
        clear(grads);
        add_products<T>(scores, W::rows(0), first_row, W::columns(0, turn), 0);
        add_products<T>(grads, W::rows(1), first_row, W::columns(1, turn), 0);
        if (key + kKeys > unmasked)
          hide_from(scores, [&](int row) { return work.visible.keys_of(work.first + first_row + row) - key; });
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int n = 0; n < kN; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              const float weight = exp2_fast(scores[m][n][i] * scale_log2 - shift[m][i / 2]);
              scores[m][n][i] = weight * (grads[m][n][i] - delta[m][i / 2]);
            }
        add_weighted_rows<T>(grad_q, scores, W::columns(0, turn), 0);
      }
    }
    scale_all(grad_q, f.scale);
    store_rows(grad_q, W::rows(0), first_row, f.head_dim, [&](int r) -> T* {
      const int row = first_row + r;
      if (row >= work.count) return nullptr;
      return static_cast<T*>(a.q.out) + (work.token(work.first + row) * f.heads + work.head) * f.head_dim;
    });
  }
};

// A tile of one head's keys, and the query heads whose part of the gradients this block makes.
struct KeyTile {
  int kv_head, part, first_head, last_head, first, count;
  Span queries, keys;
  Visibility visible;
};

// Parts of one tile come one after the other; then the tiles of a sequence from its first on, which most queries see
// under a causal mask: long work first.
template <int kTile>
DEVICE KeyTile key_tile(const PackedAttentionBackward& a, int64_t index) {
  const PackedAttention& f = a.forward;
  const auto slots = static_cast<uint32_t>(slots_of<kTile>(f.keys, f.sequences));
  const auto parts = static_cast<uint32_t>(a.parts), i = static_cast<uint32_t>(index);
  const int group = f.heads / f.kv_heads, heads = (group + a.parts - 1) / a.parts;
  const int kv_head = static_cast<int>(i / parts / slots), part = static_cast<int>(i % parts);
  const Place place = place_of<kTile>(i / parts % slots, f.cu_seqlens_k, f.sequences);
  const Span queries = span_of(f.cu_seqlens_q, place.sequence, f.queries);
  const Span keys = span_of(f.cu_seqlens_k, place.sequence, f.keys);
  const bool inside = place.first >= 0 && place.first < keys.count;
  const int first = inside ? static_cast<int>(place.first) : 0;
  return {.kv_head = kv_head,
          .part = part,
          .first_head = kv_head * group + static_cast<int>(least(part * heads, group)),
          .last_head = kv_head * group + static_cast<int>(least((part + 1) * heads, group)),
          .first = first,
          .count = inside ? static_cast<int>(least(kTile, keys.count - first)) : 0,
          .queries = queries,
          .keys = keys,
          .visible = {queries.count, keys.count, f.causal}};
}

// Scores and their gradients lie with keys as rows, so that both are operands of the products that follow as they are
// in the registers. Where these do not hold two gradients, blocks of y = 0 make dK and those of y = 1 dV.
template <typename T, int kWidth>
struct KeyGradient : Walk<T, kWidth> {
  using W = Walk<T, kWidth>;
  static constexpr int kM = W::kM, kN = W::kN, kOutN = W::kOutN, kKeys = W::kShape.rows(), kQueries = W::kShape.columns;
  static constexpr bool kTogether = kWidth <= 128;
  static constexpr int kMinBlocks = 2, kRegisters = 255, kArch = 80;

  static DEVICE void run(const PackedAttentionBackward& a) {
    const KeyTile work = key_tile<kKeys>(a, block_index().x);
    if (work.count == 0) return;
    float grad_k[kM][kOutN][4];
    clear(grad_k);
    if constexpr (kTogether) {
      float grad_v[kM][kOutN][4];
      clear(grad_v);
      walk<true, true>(a, work, grad_k, grad_v);
      write_out(a, work, a.v, W::rows(1), grad_v, 1.0f);
      write_out(a, work, a.k, W::rows(0), grad_k, a.forward.scale);
    } else if (block_index().y == 0) {
      walk<true, false>(a, work, grad_k, grad_k);
      write_out(a, work, a.k, W::rows(0), grad_k, a.forward.scale);
    } else {
      walk<false, true>(a, work, grad_k, grad_k);
      write_out(a, work, a.v, W::rows(1), grad_k, 1.0f);
    }
  }

  template <bool kMakesK, bool kMakesV>
  static DEVICE void walk(const PackedAttentionBackward& a, const KeyTile& work, float (&grad_k)[kM][kOutN][4],
                          float (&grad_v)[kM][kOutN][4]) {
    const PackedAttention& f = a.forward;
    const int first_row = W::first_row(), first_key = work.first + first_row;
    const int start = work.visible.first_query_of(work.first) / kQueries * kQueries;
    if (start >= work.queries.count || work.first_head == work.last_head) return;
    const float scale_log2 = f.scale * kLog2E;
    const auto load_queries = [&](int head, int query, int turn) {
      const int64_t token = work.queries.first + query;
      W::load(W::columns(0, turn), f.q, token, work.queries.count - query, head, f.head_dim);
      W::load(W::columns(1, turn), a.grad_out, token, work.queries.count - query, head, f.head_dim);
    };

    W::load(W::rows(0), f.k, work.keys.first + work.first, work.count, work.kv_head, f.head_dim);
    W::load(W::rows(1), f.v, work.keys.first + work.first, work.count, work.kv_head, f.head_dim);
    load_queries(work.first_head, start, 0);
    copy_commit();
    int turn = 0, head = work.first_head, query = start;
#pragma unroll 1
    while (head < work.last_head) {
      int next = query + kQueries, next_head = head;
      if (next >= work.queries.count) next = start, ++next_head;
      copy_wait<0>();
      sync_threads();  // this turn's tiles are there, and nobody reads the other's any more
      if (next_head < work.last_head) load_queries(next_head, next, turn ^ 1);
      copy_commit();

      float shift[kN][2], delta[kN][2];  // of this lane's columns
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int q = query + 8 * n + lane_index() % 4 * 2 + i;
          const bool there = q < work.queries.count;
          shift[n][i] = shift_of(f, head, work.queries.first + q, there);
          if (kMakesK) delta[n][i] = there ? a.delta[head * f.queries + work.queries.first + q] : 0;
        }
      float weights[kM][kN][4];
      clear(weights);
      add_products<T>(weights, W::rows(0), first_row, W::columns(0, turn), 0);
      if (first_key + W::kShape.rows_of_warp > work.visible.keys_of(query)) hide(weights, work, first_key, query);
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) weights[m][n][i] = exp2_fast(weights[m][n][i] * scale_log2 - shift[n][i % 2]);
      if constexpr (kMakesV) add_weighted_rows<T>(grad_v, weights, W::columns(1, turn), 0);
      if constexpr (kMakesK) {
        float grads[kM][kN][4];
        clear(grads);
        add_products<T>(grads, W::rows(1), first_row, W::columns(1, turn), 0);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int n = 0; n < kN; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) weights[m][n][i] *= grads[m][n][i] - delta[n][i % 2];
        add_weighted_rows<T>(grad_k, weights, W::columns(0, turn), 0);
      }
      turn ^= 1, head = next_head, query = next;
    }
  }

  // Scores of queries that do not see their key become -infinity.
  static DEVICE void hide(float (&scores)[kM][kN][4], const KeyTile& work, int first_key, int first_query) {
    const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int end = work.visible.keys_of(first_query + 8 * n + 2 * t + i) - first_key - g;
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            if (16 * m + 8 * half >= end) scores[m][n][2 * half + i] = -kInfinity;
      }
  }

  static DEVICE void write_out(const PackedAttentionBackward& a, const KeyTile& work, const Gradient& to,
                               typename W::Rows staging, float (&grad)[kM][kOutN][4], float scale) {
    const PackedAttention& f = a.forward;
    const int first_row = W::first_row();
    const auto offset = [&](int r) {
      return ((work.keys.first + work.first + first_row + r) * f.kv_heads + work.kv_head) * f.head_dim;
    };
    scale_all(grad, scale);
    if (to.sum) {
      float* const part = to.sum + work.part * (f.keys * f.kv_heads * f.head_dim);
      store_floats(grad, f.head_dim, [&](int r) { return first_row + r < work.count ? part + offset(r) : nullptr; });
    } else {
      store_rows(grad, staging, first_row, f.head_dim,
                 [&](int r) { return first_row + r < work.count ? static_cast<T*>(to.out) + offset(r) : nullptr; });
    }
  }
};

// Adds the parts of k's (y = 0) or v's gradient, eight numbers a thread.
template <typename T>
struct AddParts {
  static constexpr int kThreads = 128, kMinBlocks = 8, kRegisters = 64, kArch = 80, kEach = 8;

  static DEVICE void run(const PackedAttentionBackward& a) {
    const Gradient& gradient = block_index().y == 0 ? a.k : a.v;
    const int64_t count = a.forward.keys * a.forward.kv_heads * a.forward.head_dim;
    const int64_t at = (block_index().x * kThreads + thread_index()) * kEach;
    if (at >= count) return;
    float sum[kEach] = {};
    for (int part = 0; part < a.parts; ++part) {
      float more[kEach];
      load_constant(more, gradient.sum + part * count + at);
      for (int i = 0; i < kEach; ++i) sum[i] += more[i];
    }
    store(static_cast<T*>(gradient.out) + at, sum);
  }

  static int64_t blocks(const PackedAttentionBackward& a) {
    const int64_t count = a.forward.keys * a.forward.kv_heads * a.forward.head_dim;
    return (count + kThreads * kEach - 1) / (kThreads * kEach);
  }
};

template <typename T, int kWidth>
Error launch_gradients(const PackedAttentionBackward& a, Stream stream) {
  const PackedAttention& f = a.forward;
  using Queries = QueryGradient<T, kWidth>;
  using Keys = KeyGradient<T, kWidth>;
  if (const Error error = launch<Queries>({query_tiles<Queries::kQueries>(f)}, Queries::kShared, stream, a))
    return error;
  const int64_t key_tiles = f.sequences ? slots_of<Keys::kKeys>(f.keys, f.sequences) * f.kv_heads * a.parts : 0;
  return launch<Keys>({key_tiles, Keys::kTogether ? 1 : 2}, Keys::kShared, stream, a);
}

template <typename T>
Error launch_backward(const PackedAttentionBackward& a, Stream stream) {
  const int64_t rows = a.forward.queries * a.forward.heads, warps = Delta<T>::kThreads / 32;
  if (const Error error = launch<Delta<T>>({(rows + warps - 1) / warps}, 0, stream, a)) return error;
  const auto launch_sm80 = [&](auto width) { return launch_gradients<T, width>(a, stream); };
  const Error error =
      takes_sm90(a) ? packed_attention_backward_sm90(a, stream) : for_width(a.forward.head_dim, launch_sm80);
  if (error) return error;
  return a.k.sum ? launch<AddParts<T>>({AddParts<T>::blocks(a), 2}, 0, stream, a) : nullptr;
}

}  // namespace

Error packed_attention_backward(const PackedAttentionBackward& a, Stream stream) {
  return for_float(a.forward.dtype, [&](auto element) { return launch_backward<decltype(element)>(a, stream); });
}

}  // namespace glm4v::cuda
