// Adds the position table, bicubically adapted to each image's grid, to its patches. The interpolation is separable:
// table lines are first mixed down the column for two patch rows, then 4 taps of a line serve each patch. Grids of
// equal height and width in a row count as one of more frames: frames share taps and lines.
#include "../math/bicubic.h"
#include "../math/merge_order.h"
#include "kernels.h"
#include "results.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kChannels = 256;  // at a time, at most: a mixed line of a 24-wide table takes 24 KB of the first cache
constexpr int kRows = 8;        // of patches, whose gradients go to the table together
constexpr int kAhead = 2;       // patches from the one that is fetched from memory to the one that is worked on

constexpr int kLine = 32;  // channels, a line of bf16: threads share none

struct Channels {
  int64_t first, count;
};

// Frames of one size, one after the other.
struct Run {
  Run(const Grids& grids, int64_t& index) : first_patch(grids.grid[index].first_patch), grid(grids.grid[index]) {
    for (frames = 0;
         index < grids.count && grids.grid[index].height == grid.height && grids.grid[index].width == grid.width;
         ++index)
      frames += grids.grid[index].frames;
  }

  int64_t place(int64_t row, int64_t column) const { return first_patch + merge_place(row, column, grid.width); }

  int64_t first_patch, frames;
  const Grid& grid;
};

// Calls run(channels, frames of one size, the taps of their columns) for everything. A thread has some channels of all
// patches, so that its part of the table stays in cache.
template <typename Begin, typename Body>
void for_runs(const PositionEmbedding& a, Begin&& begin, Body&& body) {
  if (a.columns == 0) return;
  const int64_t share = (a.columns + max_threads() - 1) / max_threads();
  const int64_t block = least(kChannels, round_up(share, kLine));
  parallel_for((a.columns + block - 1) / block, a.grids.patches * a.columns * 8, [&](int64_t index) {
    const Channels channels{index * block, least(a.columns - index * block, block)};
    begin(channels);
    for (int64_t g = 0; g < a.grids.count;) {
      const Run run(a.grids, g);
      Scratch<FourTaps> across(run.grid.width);
      for (int64_t j = 0; j < run.grid.width; ++j) across[j] = four_taps(j, run.grid.width, a.side);
      body(channels, run, across.get());
    }
  });
}

template <typename T, typename Results>
void forward(const PositionEmbedding& a) {
  const auto begin = [](const Channels&) {};
  for_runs(a, begin, [&](const Channels& c, const Run& run, const FourTaps* across) {
    const Results results;
    const T* table = static_cast<const T*>(a.table) + c.first;
    const int64_t lines = a.side * kChannels;
    Scratch<float> line(2 * lines);  // the table mixed for two rows: [2, side, channels]
    for (int64_t row = 0; row < run.grid.height; row += 2) {
      for (int r = 0; r < 2; ++r) {
        const Taps down = table_taps(row + r, run.grid.height, a.side);
        for (int x = 0; x < a.side; ++x)
          for_vectors(c.count, [&](int64_t i, int n) {
            F32 mixed{};
            for (int k = 0; k < 4; ++k)
              mixed += down.weight[k] * load_some(table + (down.index[k] * a.side + x) * a.columns + i, n);
            store(line.get() + r * lines + x * kChannels + i, mixed);
          });
      }
      for (int64_t frame = 0; frame < run.frames; ++frame)
        for (int64_t place = 0; place < 2 * run.grid.width; ++place) {  // as they lie in memory
          const int64_t patch = run.first_patch + (frame * run.grid.height + row) * run.grid.width + place;
          const FourTaps& taps = across[merge_column(place, run.grid.width)];
          const float* from[4];
          for (int k = 0; k < 4; ++k)
            from[k] = line.get() + place % 4 / 2 * lines + clamp_tap(taps.first + k, a.side) * kChannels;
          const T* x = static_cast<const T*>(a.x) + patch * a.columns + c.first;
          T* out = static_cast<T*>(a.out) + patch * a.columns + c.first;
          for_vectors(c.count, [&](int64_t i, int n) {
            prefetch(x + kAhead * a.columns + i);
            F32 position{};
            for (int k = 0; k < 4; ++k) position += taps.weight[k] * load(from[k] + i);
            results.put(out + i, load_some(x + i, n) + rounded<T>(position), n);
          });
        }
    }
  });
}

template <typename T>
void forward(const PositionEmbedding& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)};
  streams(a.grids.patches * row_bytes, row_bytes, a.out) ? forward<T, Streamed>(a) : forward<T, Cached>(a);
}

constexpr int kWindow = kRegisters == 32 ? 4 : 2;  // vectors, four taps of which stay in registers

// Adds the gradients of the patches of one row, at kVectors vectors of channels (the last of n lanes), to its mixed
// line: of the four taps the first is done with when the patches have moved past it.
template <int kVectors, typename T>
void add_row(const PositionEmbedding& a, const Run& run, const FourTaps* across, int64_t row, int64_t channel, int n,
             int64_t fetched, float* line) {
  F32 window[4][kVectors] = {};
  int first = across[0].first;
  const auto move_on = [&] {
    float* const to = line + clamp_tap(first++, a.side) * kChannels;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      store(to + v * W, load(to + v * W) + window[0][v]);  // zeros in lanes past the channels
      for (int k = 0; k < 3; ++k) window[k][v] = window[k + 1][v];
      window[3][v] = F32{};
    }
  };
  const int64_t frame = run.grid.height * run.grid.width * a.columns;
  const T* const grads = static_cast<const T*>(a.x) + channel;
  for (int64_t j = 0; j < run.grid.width; ++j) {
    const FourTaps& taps = across[j];
    while (first < taps.first) move_on();
    const T* const next = grads + run.place(row, j + kAhead) * a.columns;
    for (int64_t i = 0; i < fetched; i += 64 / int64_t{sizeof(T)}) prefetch(next + i);
    const T* const grad = grads + run.place(row, j) * a.columns;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      F32 g = load_some(grad + v * W, n);
      for (int64_t f = 1; f < run.frames; ++f) g += load_some(grad + f * frame + v * W, n);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) window[k][v] += taps.weight[k] * g;
    }
  }
  for (int k = 0; k < 4; ++k) move_on();
}

// Sums come out the same whatever the threads, without atomics: each channel has its own, in the order of the rows.
template <typename T>
void backward(const PositionEmbedding& a) {
  const auto begin = [&](const Channels& c) {
    for (int64_t i = 0; i < int64_t{a.side} * a.side; ++i)
      for_vectors(c.count, [&](int64_t j, int n) { store_some(a.grad_table + c.first + i * a.columns + j, F32{}, n); });
  };
  for_runs(a, begin, [&](const Channels& c, const Run& run, const FourTaps* across) {
    const int64_t lines = a.side * kChannels;
    Scratch<float> line(kRows * lines);  // the gradients of mixed lines: [rows, side, channels]
    for (int64_t row = 0; row < run.grid.height; row += kRows) {
      const int rows = static_cast<int>(least(run.grid.height - row, kRows));
      FourTaps down[kRows];
      for (int i = 0; i < rows * lines; i += W) store(line.get() + i, F32{});
      for (int r = 0; r < rows; ++r) {
        down[r] = four_taps(row + r, run.grid.height, a.side);
        int64_t i = 0;
        float* const at = line.get() + r * lines;
        for (; i + kWindow * W <= c.count; i += kWindow * W)
          add_row<kWindow, T>(a, run, across, row + r, c.first + i, W, i == 0 ? c.count : 0, at + i);
        for (; i < c.count; i += W)
          add_row<1, T>(a, run, across, row + r, c.first + i, static_cast<int>(least(c.count - i, W)), 0, at + i);
      }
      const int last = clamp_tap(down[rows - 1].first + 3, a.side);
      for (int y = clamp_tap(down[0].first, a.side); y <= last; ++y) {
        float weight[kRows] = {};
        int begin_row = rows, end_row = 0;  // those that sample y
        for (int r = 0; r < rows; ++r)
          for (int k = 0; k < 4; ++k)
            if (clamp_tap(down[r].first + k, a.side) == y) {
              weight[r] += down[r].weight[k];
              if (begin_row > r) begin_row = r;
              end_row = r + 1;
            }
        for (int x = 0; x < a.side; ++x) {
          float* const to = a.grad_table + c.first + (int64_t{y} * a.side + x) * a.columns;
          for_vectors(c.count, [&](int64_t i, int n) {
            F32 sum = load_some(to + i, n);
            for (int r = begin_row; r < end_row; ++r)
              sum += weight[r] * load(line.get() + r * lines + x * kChannels + i);
            store_some(to + i, sum, n);
          });
        }
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
