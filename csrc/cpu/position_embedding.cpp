// Adds the position table, bicubically adapted to each image's grid, to its patches. The interpolation is separable:
// table lines are first mixed down the column for one patch row, then 4 taps of that line serve each patch.
#include "../math/bicubic.h"
#include "../math/merge_order.h"
#include "grid.h"
#include "kernels.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kBlock = 64;     // channels at a time: a mixed line of a 24-wide table takes 6 KB of the first cache
constexpr int kMaxSide = 256;  // the bindings refuse larger tables

template <typename Patch>
inline void for_patches(const PatchRow& r, int side, Patch&& patch) {
  for (int64_t column = 0; column < r.width; ++column)
    patch(r.first_patch + merge_place(r.row, column, r.width), table_taps(column, r.width, side));
}

template <typename T>
void forward(const PositionEmbedding& a) {
  const T* table = static_cast<const T*>(a.table);
  parallel_for(a.grids.rows, a.grids.patches * a.columns * 8, [&](int64_t index) {
    const PatchRow r = patch_row(a.grids, index);
    const Taps down = table_taps(r.row, r.height, a.side);
    float line[kMaxSide * kBlock];  // the table mixed for this row: [side, channels of the block]
    for (int64_t start = 0; start < a.columns; start += kBlock) {
      const int64_t channels = a.columns - start < kBlock ? a.columns - start : kBlock;
      for (int x = 0; x < a.side; ++x)
        for_vectors(channels, [&](int64_t i, int n) {
          F32 mixed{};
          for (int k = 0; k < 4; ++k)
            mixed += down.weight[k] * load_some(table + (down.index[k] * a.side + x) * a.columns + start + i, n);
          store_some(line + x * kBlock + i, mixed, n);
        });
      for_patches(r, a.side, [&](int64_t patch, const Taps& across) {
        const T* x = static_cast<const T*>(a.x) + patch * a.columns + start;
        T* out = static_cast<T*>(a.out) + patch * a.columns + start;
        for_vectors(channels, [&](int64_t i, int n) {
          F32 position{};
          for (int k = 0; k < 4; ++k) position += across.weight[k] * load_some(line + across.index[k] * kBlock + i, n);
          store_some(out + i, load_some(x + i, n) + rounded<T>(position), n);
        });
      });
    }
  });
}

// Each thread owns channels and walks all rows in order: sums come out the same whatever the threads, without atomics.
template <typename T>
void backward(const PositionEmbedding& a) {
  const int64_t blocks = (a.columns + W - 1) / W;
  parallel_for(blocks, a.grids.patches * a.columns * 8, [&](int64_t block) {
    const int64_t start = block * W;
    const int n = static_cast<int>(a.columns - start < W ? a.columns - start : W);
    float* grad_table = a.grad_table + start;
    for (int64_t i = 0; i < int64_t{a.side} * a.side; ++i) store(grad_table + i * a.columns, F32{}, n);
    for (int64_t index = 0; index < a.grids.rows; ++index) {
      const PatchRow r = patch_row(a.grids, index);
      F32 line[kMaxSide];
      for (int x = 0; x < a.side; ++x) line[x] = F32{};
      for_patches(r, a.side, [&](int64_t patch, const Taps& across) {
        const F32 grad = load_some(static_cast<const T*>(a.x) + patch * a.columns + start, n);
        for (int k = 0; k < 4; ++k) line[across.index[k]] += across.weight[k] * grad;
      });
      const Taps down = table_taps(r.row, r.height, a.side);
      for (int k = 0; k < 4; ++k)
        for (int x = 0; x < a.side; ++x) {
          float* to = grad_table + (down.index[k] * a.side + x) * a.columns;
          store_some(to, load_some(to, n) + down.weight[k] * line[x], n);
        }
    }
  });
}

}  // namespace

void add_position_embedding(const PositionEmbedding& a) {
  a.dtype == DType::f32 ? forward<float>(a) : forward<bf16>(a);
}

void add_position_embedding_backward(const PositionEmbedding& a) {
  a.dtype == DType::f32 ? backward<float>(a) : backward<bf16>(a);
}

}  // namespace glm4v::GLM4V_ISA
