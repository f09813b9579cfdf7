// Attention of a few rows (queries of one key/value head) to all keys they see: the main loop over tiles of keys,
// shared by packed and paged attention, so that a token has the same bits in both (FlashAttention-2, arXiv 2307.08691).
#pragma once

#include "../scratch.h"
#include "multiply.h"
#include "softmax.h"
#include "tiles.h"

namespace glm4v::GLM4V_ISA {
namespace {

// Rows taken together: 32 register blocks share the cost of laying out a tile of keys.
constexpr int kQueryRows = 192;

// Of these, rows whose scores are computed at once: as many register blocks read each panel of keys or values from the
// second-level cache once.
template <typename T>
constexpr int kScoreRows = kStep<T> > 1 ? kStep<T> : 4 * kRegisterRows;

template <typename T>
struct QueryRows {
  int count = 0;
  const T* query[kQueryRows];
  T* out[kQueryRows];
  float* log_sum_exp[kQueryRows];  // null where nobody asks
  int64_t keys[kQueryRows];        // how many keys a row sees, the first ones; never less than the row before
};

template <typename T>
class ForwardTile {
 public:
  ForwardTile(int head_dim, float scale)
      : head_dim_(head_dim),
        padded_(round_up(head_dim, W)),
        units_(units_of<T>(head_dim)),
        scale_(scale * kLog2E),
        queries_(kQueryRows * units_),
        keys_(units_ * kTile),
        values_(kTile / kDepth<T> * padded_),
        width_(padded_ + W),
        sums_(kQueryRows * width_) {}

  // locate(first, count, keys, values) says where the keys and values from `first` on lie.
  template <typename Locate>
  void attend(const QueryRows<T>& rows, Locate&& locate) {
    const TileRegisters tile_registers;
    fetch(0, static_cast<int>(least(rows.keys[rows.count - 1], kTile)), locate);
    copy_rows(rows.query, rows.count, head_dim_, queries_.get());
    for (int r = 0; r < rows.count; ++r) softmax_[r] = {};
    for (int i = 0; i < rows.count * width_; i += W) store(&sums_[i], F32{});
    const int64_t keys = rows.keys[rows.count - 1];
    for (int64_t first = 0; first < keys; first += kTile) {
      const int count = static_cast<int>(least(keys - first, kTile));
      fetch(first + kTile, static_cast<int>(least(keys - first - kTile, kTile)), locate);
      lay_out(first, count, locate);
      for (int r = 0; r < rows.count; r += kScoreRows<T>) attend_block(rows, r, first, count);
    }
    for (int r = 0; r < rows.count; ++r) finish(rows, r);
  }

 private:
  // Asks for the next tile while this one is computed: a decoded token has little to do on each.
  template <typename Locate>
  void fetch(int64_t first, int count, Locate&& locate) {
    if (count <= 0) return;
    const T *keys[kTile], *values[kTile];
    locate(first, count, keys, values);
    for (int j = 0; j < count; ++j)
      for (int i = 0; i < head_dim_; i += 64 / static_cast<int>(sizeof(T)))
        __builtin_prefetch(keys[j] + i), __builtin_prefetch(values[j] + i);
  }

  template <typename Locate>
  void lay_out(int64_t first, int count, Locate&& locate) {
    const T *keys[kTile], *values[kTile];
    locate(first, count, keys, values);
    transpose_rows(keys, count, head_dim_, keys_.get());
    stack_rows(values, count, head_dim_, values_.get(), padded_);
  }

  // One block of rows against one tile of keys; scores and probabilities stay in the first-level cache.
  void attend_block(const QueryRows<T>& rows, int first_row, int64_t first_key, int tile_keys) {
    const int count = static_cast<int>(least(rows.count - first_row, kScoreRows<T>));
    const auto visible = [&](int r) {
      const int64_t seen = rows.keys[first_row + r] - first_key;
      return static_cast<int>(seen < tile_keys ? seen : tile_keys);
    };
    const int most = visible(count - 1);
    if (most <= 0) return;
    const int columns = round_up(most, kLaneStep<T>);
    alignas(64) float scores[kScoreRows<T> * kTile];
    alignas(64) Unit<T> probabilities[kScoreRows<T> * kTile / kDepth<T>];

    multiply(count, columns, units_, Left<Unit<T>>{&queries_[first_row * units_], units_, 1}, {keys_.get(), kTile},
             {scores, kTile, false});
    for (int r = 0; r < count; ++r)
      softmax_[first_row + r].add(scores + r * kTile, visible(r), columns, scale_,
                                  elements<T>(probabilities) + r * kTile, &sums_[(first_row + r) * width_], width_);
    multiply(count, padded_, (most + kDepth<T> - 1) / kDepth<T>, Left<Unit<T>>{probabilities, kTile / kDepth<T>, 1},
             {values_.get(), padded_}, {&sums_[first_row * width_], width_, true});
  }

  void finish(const QueryRows<T>& rows, int r) {
    const float* const sums = &sums_[r * width_];
    const float sum = glm4v::GLM4V_ISA::sum(load(sums + padded_));
    const bool empty = rows.keys[r] <= 0;
    const float inverse = empty ? 0 : 1 / sum;
    for_vectors(head_dim_, [&](int64_t i, int n) { store_some(rows.out[r] + i, load(sums + i) * inverse, n); });
    if (rows.log_sum_exp[r])
      *rows.log_sum_exp[r] = empty ? -kInfinity : softmax_[r].maximum * kLn2 + __builtin_logf(sum);
  }

  int head_dim_, padded_, units_;
  float scale_;
  Scratch<Unit<T>> queries_, keys_, values_;
  int width_;            // of a row of sums: values, then W lanes of the sum of probabilities
  Scratch<float> sums_;  // [kQueryRows, width]
  RunningSoftmax<T> softmax_[kQueryRows];
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
