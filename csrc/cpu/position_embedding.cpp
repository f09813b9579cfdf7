// Adds the position table, bicubically adapted to each image's grid, to its patches. The interpolation is separable:
// table lines are first mixed down the column for one patch row, then 4 taps of that line serve each patch.
#include "../math/bicubic.h"
#include "../math/merge_order.h"
#include "grid.h"
#include "kernels.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kChannels = 256;  // at a time, at most: a mixed line of a 24-wide table takes 24 KB of the first cache
constexpr int kColumns = 64;    // patches of a row at a time: their taps are worked out once for all rows

struct Channels {
  int64_t first, count;
};

// The taps of some patches of a row, from column `first` on.
struct Across {
  Across(int64_t first_column, int64_t width, int side)
      : first(first_column), count(static_cast<int>(least(width - first, kColumns))) {
    for (int j = 0; j < count; ++j) taps[j] = table_taps(first + j, width, side);
  }

  // Calls patch(its place among all patches, its taps) for each of them in row `r`.
  template <typename Patch>
  void for_patches(const PatchRow& r, Patch&& patch) const {
    for (int j = 0; j < count; ++j) patch(r.first_patch + merge_place(r.row, first + j, r.width), taps[j]);
  }

  int64_t first;
  int count;
  Taps taps[kColumns];
};

// Calls body(row of patches, its taps down the table, some of its patches' taps across, channels) for everything. A
// thread has some channels of all rows, so that its part of the table stays in cache, and walks them in order.
template <typename Begin, typename Body>
void for_rows(const PositionEmbedding& a, Begin&& begin, Body&& body) {
  if (a.columns == 0) return;
  const int64_t share = (a.columns + max_threads() - 1) / max_threads();
  const int64_t block = least(kChannels, round_up(share, W));
  parallel_for((a.columns + block - 1) / block, a.grids.patches * a.columns * 8, [&](int64_t index) {
    const Channels channels{index * block, least(a.columns - index * block, block)};
    Scratch<float> line(a.side * kChannels);
    begin(channels);
    for (int64_t g = 0; g < a.grids.count; ++g) {
      const Grid& grid = a.grids.grid[g];
      for (int64_t column = 0; column < grid.width; column += kColumns) {
        const Across across(column, grid.width, a.side);
        for (int64_t row = grid.first_row; row < grid.first_row + grid.frames * grid.height; ++row) {
          const PatchRow r = patch_row(a.grids, row);
          body(channels, r, table_taps(r.row, r.height, a.side), across, line.get());
        }
      }
    }
  });
}

template <typename T>
void forward(const PositionEmbedding& a) {
  const auto begin = [](const Channels&) {};
  for_rows(a, begin, [&](const Channels& c, const PatchRow& r, const Taps& down, const Across& across, float* line) {
    const T* table = static_cast<const T*>(a.table) + c.first;
    for (int x = 0; x < a.side; ++x)  // the table mixed for this row: [side, channels]
      for_vectors(c.count, [&](int64_t i, int n) {
        F32 mixed{};
        for (int k = 0; k < 4; ++k)
          mixed += down.weight[k] * load_some(table + (down.index[k] * a.side + x) * a.columns + i, n);
        store(line + x * kChannels + i, mixed);
      });
    across.for_patches(r, [&](int64_t patch, const Taps& taps) {
      const T* x = static_cast<const T*>(a.x) + patch * a.columns + c.first;
      T* out = static_cast<T*>(a.out) + patch * a.columns + c.first;
      for_vectors(c.count, [&](int64_t i, int n) {
        F32 position{};
        for (int k = 0; k < 4; ++k) position += taps.weight[k] * load(line + taps.index[k] * kChannels + i);
        store_some(out + i, load_some(x + i, n) + rounded<T>(position), n);
      });
    });
  });
}

// Sums come out the same whatever the threads, without atomics: each channel has its own, in the order of the rows.
template <typename T>
void backward(const PositionEmbedding& a) {
  const auto begin = [&](const Channels& c) {
    for (int64_t i = 0; i < int64_t{a.side} * a.side; ++i)
      for_vectors(c.count, [&](int64_t j, int n) { store_some(a.grad_table + c.first + i * a.columns + j, F32{}, n); });
  };
  for_rows(a, begin, [&](const Channels& c, const PatchRow& r, const Taps& down, const Across& across, float* line) {
    for (int i = 0; i < a.side * kChannels; i += W) store(line + i, F32{});  // the gradient of the mixed line
    across.for_patches(r, [&](int64_t patch, const Taps& taps) {
      const T* grad = static_cast<const T*>(a.x) + patch * a.columns + c.first;
      for_vectors(c.count, [&](int64_t i, int n) {
        const F32 g = load_some(grad + i, n);
        for (int k = 0; k < 4; ++k) {
          float* const at = line + taps.index[k] * kChannels + i;
          store(at, load(at) + taps.weight[k] * g);  // zeros in lanes past the channels
        }
      });
    });
    for (int k = 0; k < 4; ++k)
      for (int x = 0; x < a.side; ++x) {
        float* const to = a.grad_table + c.first + (down.index[k] * a.side + x) * a.columns;
        for_vectors(c.count, [&](int64_t i, int n) {
          store_some(to + i, load_some(to + i, n) + down.weight[k] * load(line + x * kChannels + i), n);
        });
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
