// packed_attention, backward (FlashAttention-2, arXiv 2307.08691, algorithm 2): probabilities are computed again from
// the saved log-sum-exp.
//   P = exp(scale * Q K^T - log_sum_exp)   dP = dO V^T   dS = P * (dP - delta) * scale   delta = rowsum(dO * O)
//   dV = P^T dO   dK = dS^T Q   dQ = dS K
// The square of (rows of queries) x (keys) of a head is cut into blocks, and a wave is a diagonal of blocks: no two of
// them add to the same gradient, so threads need no atomics and every sum has one order.
#include "attention/multiply.h"
#include "attention/softmax.h"
#include "kernels.h"
#include "scratch.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kBlockTiles = 4;  // tiles of keys in a block: laid out once, used by all its queries
constexpr int kBlockKeys = kBlockTiles * kTile;
constexpr int kSquareRows = 512;

struct Block {
  int32_t sequence, kv_head;
  int64_t first_row, first_key;
};

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
  float* grad_row(int64_t row) const { return b.grad_q + (query(row) * a.heads + head(row)) * a.head_dim; }
  float* grad_key(float* grad, int64_t key) const {
    return grad + ((first_key + key) * a.kv_heads + kv_head) * a.head_dim;
  }
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
        units_(head_dim_ / kDepth<T>),
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

  void run(int64_t first_row) {
    count_ = static_cast<int>(least(sequence_.keys - first_key_, kBlockKeys));
    lay_out_keys();
    const int64_t end = least(first_row + kSquareRows, sequence_.rows());
    for (int64_t row = first_row; row < end; row += kTile) run_rows(row, static_cast<int>(least(end - row, kTile)));
    for (int j = 0; j < count_; ++j) {
      write(&grad_keys_[j * padded_], sequence_.grad_key(sequence_.b.grad_k, first_key_ + j));
      write(&grad_values_[j * padded_], sequence_.grad_key(sequence_.b.grad_v, first_key_ + j));
    }
  }

 private:
  static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

  void read(const float* gradient, float* tile) const {
    for_vectors(head_dim_, [&](int64_t i, int n) { store(tile + i, load_some(gradient + i, n)); });
  }
  void write(const float* tile, float* gradient) const {
    for_vectors(head_dim_, [&](int64_t i, int n) { store_some(gradient + i, load(tile + i), n); });
  }

  void lay_out_keys() {
    const T* row[kBlockKeys] = {};
    for (int j = 0; j < count_; ++j) row[j] = sequence_.in_key(sequence_.a.v, first_key_ + j);
    copy_rows(row, count_, head_dim_, values_.get());
    for (int j = 0; j < count_; ++j) row[j] = sequence_.in_key(sequence_.a.k, first_key_ + j);
    copy_rows(row, count_, head_dim_, keys_.get());
    stack_rows(row, count_, head_dim_, stacked_keys_.get(), padded_);
    for (int j = 0; j < count_; ++j) {
      read(sequence_.grad_key(sequence_.b.grad_k, first_key_ + j), &grad_keys_[j * padded_]);
      read(sequence_.grad_key(sequence_.b.grad_v, first_key_ + j), &grad_values_[j * padded_]);
    }
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
    if (sequence_.visible(first_row + count - 1) <= first_key_) return;
    lay_out_rows(first_row, count);
    for (int r = 0; r < count; ++r) read(sequence_.grad_row(first_row + r), &grad_queries_[r * padded_]);
    const int seen = static_cast<int>(least(visible_[count - 1], count_));  // keys of the block that any row sees
    for (int key = 0; key < seen; key += kTile) run_tile(key, static_cast<int>(least(seen - key, kTile)), count);
    for (int r = 0; r < count; ++r) write(&grad_queries_[r * padded_], sequence_.grad_row(first_row + r));
  }

  // Keys are the rows of the scores here and queries lie along the lanes: P^T and dS^T come out as the left operands of
  // dV and dK.
  void run_tile(int key, int keys, int rows) {
    const int lanes = round_up(rows, W), depth = (rows + kDepth<T> - 1) / kDepth<T>;
    alignas(64) float scores[kTile * kTile], grads[kTile * kTile];
    multiply(keys, lanes, units_, Left<Unit<T>>{&keys_[key * units_], units_, 1}, {queries_across_.get(), kTile},
             {scores, kTile, false});
    multiply(keys, lanes, units_, Left<Unit<T>>{&values_[key * units_], units_, 1}, {grad_out_across_.get(), kTile},
             {grads, kTile, false});
    differentiate(key, keys, lanes, scores, grads);
    const int row = kTile / kDepth<T>;
    multiply(keys, padded_, depth, Left<Unit<T>>{probabilities_, row, 1}, {grad_out_.get(), padded_},
             {&grad_values_[key * padded_], padded_, true});
    multiply(keys, padded_, depth, Left<Unit<T>>{grad_scores_, row, 1}, {queries_.get(), padded_},
             {&grad_keys_[key * padded_], padded_, true});
    multiply(rows, padded_, (keys + kDepth<T> - 1) / kDepth<T>, Left<Unit<T>>{grad_scores_down_, 1, kTile},
             {&stacked_keys_[key / kDepth<T> * padded_], padded_}, {grad_queries_.get(), padded_, true});
  }

  // S^T and dP^T to P^T and dS^T as left operands; dS^T also with the keys as depth.
  void differentiate(int key, int keys, int lanes, const float* scores, const float* grads) {
    const float scale = sequence_.a.scale * kLog2E;
    for (int j = 0; j < keys; j += kDepth<T>)
      for (int i = 0; i < lanes; i += W) {
        F32 grad[kDepth<T>] = {};
        for (int pair = 0; pair < kDepth<T> && j + pair < keys; ++pair) {
          const int at = (j + pair) * kTile + i;
          const F32 p = exp2_of_negative(load(scores + at) * scale - load(log_sum_exp_ + i));
          const F32 seen = load_visible(i) > key + j + pair ? p : F32{};
          grad[pair] = seen * (load(grads + at) - load(delta_ + i)) * sequence_.a.scale;
          store(elements<T>(probabilities_) + at, seen);
          store(elements<T>(grad_scores_) + at, grad[pair]);
        }
        Unit<T>* const down = grad_scores_down_ + j / kDepth<T> * kTile + i;
        if constexpr (kPairs<T>)
          store(down, pairs(rounded<T>(grad[0]), rounded<T>(grad[1])));
        else
          store(down, grad[0]);
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

template <typename T>
void sum_rows(const PackedAttentionBackward& b) {
  const PackedAttention& a = b.forward;
  parallel_for(a.queries, a.queries * a.heads * a.head_dim, [&](int64_t query) {
    for (int head = 0; head < a.heads; ++head) {
      const T* const grad =
          static_cast<const T*>(b.grad_out.data) + query * b.grad_out.token_stride + int64_t{head} * a.head_dim;
      const T* const out = static_cast<const T*>(a.out) + (query * a.heads + head) * a.head_dim;
      F32 products{};
      for_vectors(a.head_dim, [&](int64_t i, int n) { products += load_some(grad + i, n) * load_some(out + i, n); });
      b.delta[head * a.queries + query] = sum(products);
    }
  });
}

// Calls f for every block of diagonal `wave`: rows in ascending blocks, keys in descending ones.
template <typename T, typename F>
void for_blocks(const PackedAttentionBackward& b, int64_t wave, F&& f) {
  for (int64_t s = 0; s < b.forward.sequences; ++s)
    for (int64_t head = 0; head < b.forward.kv_heads; ++head) {
      const Sequence<T> sequence(b, s, head);
      for (int64_t i = 0; i <= wave && i * kSquareRows < sequence.rows(); ++i) {
        const int64_t first_key = (wave - i) * kBlockKeys;
        const int64_t last_row = (i + 1) * kSquareRows < sequence.rows() ? (i + 1) * kSquareRows : sequence.rows();
        if (first_key < sequence.keys && first_key < sequence.visible(last_row - 1))
          f(Block{static_cast<int32_t>(s), static_cast<int32_t>(head), i * kSquareRows, first_key});
      }
    }
}

template <typename T>
void backward(const PackedAttentionBackward& b) {
  const PackedAttention& a = b.forward;
  sum_rows<T>(b);
  int64_t waves = 0, work = 0;
  for (int64_t s = 0; s < a.sequences; ++s) {
    const Sequence<T> sequence(b, s, 0);
    const int64_t row_blocks = (sequence.rows() + kSquareRows - 1) / kSquareRows;
    const int64_t key_blocks = (sequence.keys + kBlockKeys - 1) / kBlockKeys;
    waves = row_blocks + key_blocks > waves ? row_blocks + key_blocks : waves;
    work += sequence.queries * sequence.keys * a.heads * a.head_dim;
  }
  for (int64_t wave = 0; wave < waves; ++wave) {
    int64_t count = 0;
    for_blocks<T>(b, wave, [&](const Block&) { ++count; });
    Scratch<Block> blocks(count);
    int64_t next = 0;
    for_blocks<T>(b, wave, [&](const Block& block) { blocks[next++] = block; });
    parallel_for_uneven(count, work, [&](int64_t i) {
      const Sequence<T> sequence(b, blocks[i].sequence, blocks[i].kv_head);
      BackwardBlock<T>(sequence, blocks[i].first_key).run(blocks[i].first_row);
    });
  }
}

}  // namespace

void packed_attention_backward(const PackedAttentionBackward& b) {
  b.forward.dtype == DType::f32 ? backward<float>(b) : backward<bf16>(b);
}

}  // namespace glm4v::GLM4V_ISA
