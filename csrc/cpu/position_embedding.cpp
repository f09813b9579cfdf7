// Adds the position table, bicubically adapted to each image's grid, to its patches. The interpolation is separable:
// table lines are first mixed down the column for some patch rows, then 4 taps of a line serve each patch. Grids of
// equal height and width in a row count as one of more frames: frames share taps and lines.
#include "../math/bicubic.h"
#include "../math/merge_order.h"
#include "kernels.h"
#include "results.h"
#include "rows.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kChannels = 256;  // at a time, at most: a mixed line of a 24-wide table takes 24 KB of the first cache
constexpr int kRows = 8;        // of patches at a time: their taps down the table overlap
constexpr int kAhead = 4;       // patches from the one that is fetched from memory to the one that is worked on

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

// The taps down the table of up to kRows rows from `top` on.
struct Down {
  Down(const PositionEmbedding& a, const Run& run, int64_t first)
      : top(first), rows(static_cast<int>(least(run.grid.height - top, kRows))) {
    for (int r = 0; r < rows; ++r) taps[r] = four_taps(top + r, run.grid.height, a.side);
  }

  int64_t top;
  int rows;
  FourTaps taps[kRows];
};

// Calls block(channels, frames of one size, the taps of their columns, the taps of some rows, scratch for as many mixed
// lines [kRows, side, kChannels]) for everything. A thread has some channels of all patches; it walks the patches in
// order, so that their pages are looked up once.
template <typename Begin, typename Block>
void for_blocks(const PositionEmbedding& a, Begin&& begin, Block&& block) {
  if (a.columns == 0) return;
  const int64_t share = round_up((a.columns + max_threads() - 1) / max_threads(), kLine);
  parallel_for((a.columns + share - 1) / share, a.grids.patches * a.columns * 8, [&](int64_t index) {
    const int64_t first = index * share, last = least(a.columns, first + share);
    begin(Channels{first, last - first});
    Scratch<float> lines(kRows * a.side * kChannels);
    for (int64_t g = 0; g < a.grids.count;) {
      const Run run(a.grids, g);
      Scratch<FourTaps> across(run.grid.width);
      for (int64_t j = 0; j < run.grid.width; ++j) across[j] = four_taps(j, run.grid.width, a.side);
      for (int64_t top = 0; top < run.grid.height; top += kRows) {
        const Down down(a, run, top);
        for (int64_t c = first; c < last; c += kChannels)
          block(Channels{c, least(last - c, kChannels)}, run, across.get(), down, lines.get());
      }
    }
  });
}

template <int kCount>
struct Vectors {};

// Calls body(a number of Lanes<T>, i, n) for the channels of a row: several whole ones, then single ones of n channels.
template <typename T, typename Body>
void for_groups(int64_t count, Body&& body) {
  constexpr int kGroup = (kRegisters == 32 ? 4 : 2) * W / kLanes<T>;  // four taps of which stay in registers
  int64_t i = 0;
  for (; i + kGroup * kLanes<T> <= count; i += kGroup * kLanes<T>) body(Vectors<kGroup>{}, i, kLanes<T>);
  for (; i < count; i += kLanes<T>) body(Vectors<1>{}, i, static_cast<int>(least(count - i, kLanes<T>)));
}

// One channel group of some rows' mixed lines, `stride` apart, from a column of the table: four entries at a time are
// in registers.
template <typename T, int kVectors>
void mix_rows(const PositionEmbedding& a, const T* column, const Down& down, Vectors<kVectors>, int n, float* lines,
              int64_t stride) {
  Lanes<T> window[4][kVectors] = {};
  int first = down.taps[0].first;
  const auto enter = [&](int k) {
    const T* const from = column + int64_t{clamp_tap(first + k, a.side)} * a.side * a.columns;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      prefetch(from + a.columns + v * kLanes<T>);  // the next column
      window[k][v] = load_lanes(from + v * kLanes<T>, n);
    }
  };
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) enter(k);
  for (int r = 0; r < down.rows; ++r) {
    for (; first < down.taps[r].first; enter(3)) {
      ++first;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        for (int k = 0; k < 3; ++k) window[k][v] = window[k + 1][v];
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Lanes<T> mixed{};
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) mixed += down.taps[r].weight[k] * window[k][v];
      store_whole(lines + r * stride + v * kLanes<T>, mixed);
    }
  }
}

// Calls patch(number, its four taps, the entries of its mixed line that they weigh) for some rows' patches, as they lie
// in memory.
template <typename Patch>
inline __attribute__((always_inline)) void for_patches(const PositionEmbedding& a, const Run& run,
                                                       const FourTaps* across, const Down& down, float* lines,
                                                       Patch&& patch) {
  for (int64_t frame = 0; frame < run.frames; ++frame)
    for (int64_t place = 0; place < down.rows * run.grid.width; ++place) {
      const FourTaps& taps = across[merge_column(place, run.grid.width)];
      float* const line = lines + merge_row(place, run.grid.width) * a.side * kChannels;
      float* entries[4];
      for (int k = 0; k < 4; ++k) entries[k] = line + clamp_tap(taps.first + k, a.side) * kChannels;
      patch(run.first_patch + (frame * run.grid.height + down.top) * run.grid.width + place, taps, entries);
    }
}

template <typename T, typename Results>
void forward(const PositionEmbedding& a) {
  const auto begin = [](const Channels&) {};
  for_blocks(a, begin, [&](const Channels& c, const Run& run, const FourTaps* across, const Down& down, float* lines) {
    const Results results;
    const T* table = static_cast<const T*>(a.table) + c.first;
    const int64_t stride = a.side * kChannels;
    for (int x = 0; x < a.side; ++x)
      for_groups<T>(c.count, [&](auto vectors, int64_t i, int n) {
        mix_rows(a, table + x * a.columns + i, down, vectors, n, lines + x * kChannels + i, stride);
      });
    for_patches(a, run, across, down, lines, [&](int64_t patch, const FourTaps& taps, float* const* from) {
      const T* x = static_cast<const T*>(a.x) + patch * a.columns + c.first;
      T* out = static_cast<T*>(a.out) + patch * a.columns + c.first;
      for_lanes<T>(c.count, [&](int64_t i, int n) {
        prefetch(x + kAhead * a.columns + i);
        Lanes<T> position{};
        for (int k = 0; k < 4; ++k) position += taps.weight[k] * load_whole<T>(from[k] + i);
        results.put(out + i, load_lanes(x + i, n) + as_stored<T>(position), n);
      });
    });
  });
}

template <typename T>
void forward(const PositionEmbedding& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)};
  streams(a.grids.patches * row_bytes, row_bytes, a.out) ? forward<T, Streamed>(a) : forward<T, Cached>(a);
}

// Adds rows [first, last) of `lines`, weighted, to some channels of the table.
template <typename T, int kVectors>
void add_lines(Vectors<kVectors>, const float* lines, int64_t stride, const float* weight, int first, int last,
               float* table, int64_t columns, int n) {
  Lanes<T> sum[kVectors] = {};
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) prefetch(table + columns + v * kLanes<T>);  // the next entry
#pragma GCC unroll 1
  for (int r = first; r < last; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[v] += weight[r] * load_whole<T>(lines + r * stride + v * kLanes<T>);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) add_natural(table + v * kLanes<T>, sum[v], n);
}

// Sums come out the same whatever the threads, without atomics: each channel has its own, in the order of the rows.
template <typename T>
void backward(const PositionEmbedding& a) {
  const auto begin = [&](const Channels& c) {
    for (int64_t i = 0; i < int64_t{a.side} * a.side; ++i)
      for_vectors(c.count, [&](int64_t j, int n) { store_some(a.grad_table + c.first + i * a.columns + j, F32{}, n); });
  };
  for_blocks(a, begin, [&](const Channels& c, const Run& run, const FourTaps* across, const Down& down, float* lines) {
    const int64_t stride = a.side * kChannels;  // lines are the gradients of mixed lines
    for (int64_t i = 0; i < down.rows * stride; i += W) store(lines + i, F32{});
    for_patches(a, run, across, down, lines, [&](int64_t patch, const FourTaps& taps, float* const* to) {
      const T* grad = static_cast<const T*>(a.x) + patch * a.columns + c.first;
      for_lanes<T>(c.count, [&](int64_t i, int n) {
        prefetch(grad + kAhead * a.columns + i);
        const Lanes<T> g = load_lanes(grad + i, n);
        for (int k = 0; k < 4; ++k) store_whole(to[k] + i, load_whole<T>(to[k] + i) + taps.weight[k] * g);
      });
    });
    const int last = clamp_tap(down.taps[down.rows - 1].first + 3, a.side);
    for (int y = clamp_tap(down.taps[0].first, a.side); y <= last; ++y) {
      float weight[kRows] = {};
      int begin_row = down.rows, end_row = 0;  // those that sample y
      for (int r = 0; r < down.rows; ++r)
        for (int k = 0; k < 4; ++k)
          if (clamp_tap(down.taps[r].first + k, a.side) == y) {
            weight[r] += down.taps[r].weight[k];
            if (begin_row > r) begin_row = r;
            end_row = r + 1;
          }
      for (int x = 0; x < a.side; ++x) {
        float* const to = a.grad_table + c.first + (int64_t{y} * a.side + x) * a.columns;
        for_groups<T>(c.count, [&](auto vectors, int64_t i, int n) {
          add_lines<T>(vectors, lines + x * kChannels + i, stride, weight, begin_row, end_row, to + i, a.columns, n);
        });
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
