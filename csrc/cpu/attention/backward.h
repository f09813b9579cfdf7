// The gradient of attention, one block of rows (queries) and keys at a time (FlashAttention-2, arXiv 2307.08691,
// algorithm 2): probabilities are computed again from the saved log-sum-exp.
//   P = exp(scale * Q K^T - log_sum_exp)   dP = dO V^T   dS = P * (dP - delta) * scale   delta = rowsum(dO * O)
//   dV = P^T dO   dK = dS^T Q   dQ = dS K
#pragma once

#include "../kernels.h"
#include "../scratch.h"
#include "multiply.h"
#include "softmax.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kBlockKeys = 4 * kTile;  // laid out once, used by all rows of the block
constexpr int kBlockRows = 8 * kTile;

// One sequence and key/value head: where rows (query token x group) and keys lie.
template <typename T>
struct Sequence {
  Sequence(const PackedAttentionBackward& backward, int64_t sequence, int64_t kv_head)
      : b(backward),
        a(backward.forward),
        kv_head(kv_head),
        group(a.heads / a.kv_heads),
        first_query(a.cu_seqlens_q[sequence]),
        first_key(a.cu_seqlens_k[sequence]),
        queries(a.cu_seqlens_q[sequence + 1] - first_query),
        keys(a.cu_seqlens_k[sequence + 1] - first_key) {}

  int64_t rows() const { return queries * group; }
  int64_t visible(int64_t row) const { return a.causal ? keys - queries + row / group + 1 : keys; }
  int64_t query(int64_t row) const { return first_query + row / group; }
  int64_t head(int64_t row) const { return kv_head * group + row % group; }

  const T* in_row(const TokenHeads& x, int64_t row) const {
    return static_cast<const T*>(x.data) + query(row) * x.token_stride + head(row) * a.head_dim;
  }
  const T* in_key(const TokenHeads& x, int64_t key) const {
    return static_cast<const T*>(x.data) + (first_key + key) * x.token_stride + kv_head * a.head_dim;
  }
  int64_t row_offset(int64_t row) const { return (query(row) * a.heads + head(row)) * a.head_dim; }
  int64_t key_offset(int64_t key) const { return ((first_key + key) * a.kv_heads + kv_head) * a.head_dim; }
  int64_t statistic(int64_t row) const { return head(row) * a.queries + query(row); }

  const PackedAttentionBackward& b;
  const PackedAttention& a;
  int64_t kv_head, group, first_query, first_key, queries, keys;
};

template <typename T>
class BackwardBlock {
 public:
  BackwardBlock(const Sequence<T>& sequence, int64_t first_key)
      : sequence_(sequence),
        first_key_(first_key),
        head_dim_(sequence.a.head_dim),
        padded_(round_up(head_dim_, W)),
        units_(units_of<T>(head_dim_)),
        keys_(kBlockKeys * units_),
        values_(kBlockKeys * units_),
        stacked_keys_(kBlockKeys / kDepth<T> * padded_),
        grad_keys_(kBlockKeys * padded_),
        grad_values_(kBlockKeys * padded_),
        queries_across_(units_ * kTile),
        grad_out_across_(units_ * kTile),
        queries_(kTile / kDepth<T> * padded_),
        grad_out_(kTile / kDepth<T> * padded_),
        grad_queries_(kTile * padded_) {}

  // Adds what these rows and keys give to their gradients. The first block to come to a row or key begins its sum, the
  // last one rounds it to the gradient's type.
  void run(int64_t first_row) {
    const TileRegisters tile_registers;
    count_ = static_cast<int>(least(sequence_.keys - first_key_, kBlockKeys));
    const int64_t end = least(first_row + kBlockRows, sequence_.rows());
    const bool first = first_row == 0 || sequence_.visible(first_row - 1) <= first_key_, last = end == sequence_.rows();
    lay_out_keys();
    for (int j = 0; j < count_; ++j) {
      const int64_t offset = sequence_.key_offset(first_key_ + j);
      begin(first, sequence_.b.k, offset, &grad_keys_[j * padded_]);
      begin(first, sequence_.b.v, offset, &grad_values_[j * padded_]);
    }
    for (int64_t row = first_row; row < end; row += kTile) run_rows(row, static_cast<int>(least(end - row, kTile)));
    for (int j = 0; j < count_; ++j) {
      const int64_t offset = sequence_.key_offset(first_key_ + j);
      finish(last, sequence_.b.k, offset, &grad_keys_[j * padded_]);
      finish(last, sequence_.b.v, offset, &grad_values_[j * padded_]);
    }
  }

 private:
  void begin(bool first, const Gradient& gradient, int64_t offset, float* sums) const {
    for_vectors(head_dim_,
                [&](int64_t i, int n) { store(sums + i, first ? F32{} : load_some(gradient.sum + offset + i, n)); });
  }

  void finish(bool last, const Gradient& gradient, int64_t offset, const float* sums) const {
    for_vectors(head_dim_, [&](int64_t i, int n) {
      if (last)
        store_some(static_cast<T*>(gradient.out) + offset + i, load(sums + i), n);
      else
        store_some(gradient.sum + offset + i, load(sums + i), n);
    });
  }

  void lay_out_keys() {
    const T* row[kBlockKeys] = {};
    for (int j = 0; j < count_; ++j) row[j] = sequence_.in_key(sequence_.a.v, first_key_ + j);
    copy_rows(row, count_, head_dim_, values_.get());
    for (int j = 0; j < count_; ++j) row[j] = sequence_.in_key(sequence_.a.k, first_key_ + j);
    copy_rows(row, count_, head_dim_, keys_.get());
    stack_rows(row, count_, head_dim_, stacked_keys_.get(), padded_);
  }

  void lay_out_rows(int64_t first_row, int count) {
    const T* row[kTile];
    for (int r = 0; r < count; ++r) row[r] = sequence_.in_row(sequence_.b.grad_out, first_row + r);
    transpose_rows(row, count, head_dim_, grad_out_across_.get());
    stack_rows(row, count, head_dim_, grad_out_.get(), padded_);
    for (int r = 0; r < count; ++r) row[r] = sequence_.in_row(sequence_.a.q, first_row + r);
    transpose_rows(row, count, head_dim_, queries_across_.get());
    stack_rows(row, count, head_dim_, queries_.get(), padded_);
    for (int r = 0; r < kTile; ++r) {
      const int64_t at = r < count ? sequence_.statistic(first_row + r) : 0;
      log_sum_exp_[r] = r < count ? sequence_.a.log_sum_exp[at] * kLog2E : 0;
      delta_[r] = r < count ? sequence_.b.delta[at] : 0;
      visible_[r] = r < count ? static_cast<int32_t>(sequence_.visible(first_row + r) - first_key_) : 0;
    }
  }

  void run_rows(int64_t first_row, int count) {
    const int64_t visible = sequence_.visible(first_row + count - 1);  // to any of these rows
    const bool first = first_key_ == 0, last = visible <= first_key_ + kBlockKeys;
    if (!first && visible <= first_key_) return;
    lay_out_rows(first_row, count);
    for (int r = 0; r < count; ++r)
      begin(first, sequence_.b.q, sequence_.row_offset(first_row + r), &grad_queries_[r * padded_]);
    const int seen = static_cast<int>(least(visible - first_key_, count_));
    for (int key = 0; key < seen; key += kTile)
      run_tile(key, static_cast<int>(least(round_up(seen - key, kStep<T>), kTile)), count);
    for (int r = 0; r < count; ++r)
      finish(last, sequence_.b.q, sequence_.row_offset(first_row + r), &grad_queries_[r * padded_]);
  }

  // Keys are the rows of the scores here and queries lie along the lanes: P^T and dS^T come out as the left operands of
  // dV and dK.
  void run_tile(int key, int keys, int rows) {
    const int lanes = round_up(rows, kLaneStep<T>), depth = (rows + kDepth<T> - 1) / kDepth<T>;
    alignas(64) float scores[kTile * kTile], grads[kTile * kTile];
    multiply(keys, lanes, units_, Left<Unit<T>>{&keys_[key * units_], units_, 1}, {queries_across_.get(), kTile},
             {scores, kTile, false});
    multiply(keys, lanes, units_, Left<Unit<T>>{&values_[key * units_], units_, 1}, {grad_out_across_.get(), kTile},
             {grads, kTile, false});
    if (keys == kTile && rows == lanes && visible_[0] >= key + keys)
      differentiate<true>(key, keys, lanes, scores, grads);
    else
      differentiate<false>(key, keys, lanes, scores, grads);
    const int row = kTile / kDepth<T>;
    multiply(keys, padded_, depth, Left<Unit<T>>{probabilities_, row, 1}, {grad_out_.get(), padded_},
             {&grad_values_[key * padded_], padded_, true});
    multiply(keys, padded_, depth, Left<Unit<T>>{grad_scores_, row, 1}, {queries_.get(), padded_},
             {&grad_keys_[key * padded_], padded_, true});
    multiply(rows, padded_, (keys + kDepth<T> - 1) / kDepth<T>, Left<Unit<T>>{grad_scores_down_, 1, kTile},
             {&stacked_keys_[key / kDepth<T> * padded_], padded_}, {grad_queries_.get(), padded_, true});
  }

  // S^T and dP^T to P^T and dS^T as left operands; dS^T also with the keys as depth. kWhole: every row sees every key.
  template <bool kWhole>
  void differentiate(int key, int keys, int lanes, const float* scores, const float* grads) {
    const float scale = sequence_.a.scale, scale_log2 = scale * kLog2E;
    for (int i = 0; i < lanes; i += W) {
      const F32 log_sum_exp = load(log_sum_exp_ + i), delta = load(delta_ + i);
      const I32 visible = load_visible(i) - key;
      for (int j = 0; j < keys; j += kDepth<T>) {
        F32 grad[kDepth<T>] = {};
        const int depth = kWhole || j + kDepth<T> <= keys ? kDepth<T> : 1;
        for (int pair = 0; pair < depth; ++pair) {
          const int at = (j + pair) * kTile + i;
          F32 p = exp2_of_negative<T>(load(scores + at) * scale_log2 - log_sum_exp);
          if constexpr (!kWhole) p = visible > j + pair ? p : F32{};
          grad[pair] = p * scale * (load(grads + at) - delta);  // in this order: the difference may vanish
          store(elements<T>(probabilities_) + at, p);
          store(elements<T>(grad_scores_) + at, grad[pair]);
        }
        Unit<T>* const down = grad_scores_down_ + j / kDepth<T> * kTile + i;
        if constexpr (kPairs<T>)
          store(down, rounded_pairs(grad[0], grad[1]));
        else
          store(down, grad[0]);
      }
    }
  }

  I32 load_visible(int i) const {
    I32 v;
    __builtin_memcpy(&v, visible_ + i, sizeof v);
    return v;
  }

  const Sequence<T>& sequence_;
  int64_t first_key_;
  int head_dim_, padded_, units_, count_ = 0;
  Scratch<Unit<T>> keys_, values_, stacked_keys_;
  Scratch<float> grad_keys_, grad_values_;
  Scratch<Unit<T>> queries_across_, grad_out_across_, queries_, grad_out_;
  Scratch<float> grad_queries_;
  alignas(64) float log_sum_exp_[kTile], delta_[kTile];
  alignas(64) int32_t visible_[kTile];  // keys of the block, from its first on, that a row sees
  alignas(64) Unit<T> probabilities_[kTile * kTile / kDepth<T>], grad_scores_[kTile * kTile / kDepth<T>];
  alignas(64) Unit<T> grad_scores_down_[kTile * kTile / kDepth<T>];
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
