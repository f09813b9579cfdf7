// Adds the position table, bicubically adapted to each image's grid, to its patches, and the table's gradient. The
// interpolation is separable: going forward a warp walks along a row of patches and keeps the four columns of the table
// that it needs, mixed for its row, in registers; going back a warp gathers for one entry of the table what all patches
// in its reach give, in their order: the same bits always, without atomics.
#include "../math/bicubic.h"
#include "grid.h"

namespace glm4v::cuda {
namespace {

constexpr int kMergeBlocks = 16;  // of 2 x 2 patches, in a block of threads
constexpr int kWalk = 4;          // merge blocks that one warp walks along

template <typename T, int N>
struct AddTable {
  static constexpr int kThreads = 2 * 32 * kMergeBlocks / kWalk, kMinBlocks = 2, kRegisters = 112, kArch = 80;

  // The block's merge blocks in shared memory: taps across of the two columns, then down of the two rows.
  struct Block {
    FourTaps taps[4];
    int starts_row;
  };

  static int64_t shared_bytes() { return kMergeBlocks * sizeof(Block); }
  GLM4V_SHARED int64_t slabs(int64_t columns) { return (columns + 32 * N - 1) / (32 * N); }

  // Four columns of the table from `first` on, mixed down.
  struct Window {
    int first;
    float mixed[4][N];
  };

  static DEVICE void mix(float (&mixed)[N], const PositionEmbedding& a, const FourTaps& down, int x, int64_t column) {
    for (int j = 0; j < N; ++j) mixed[j] = 0;
    for (int k = 0; k < 4; ++k) {
      const int entry = clamp_tap(down.first + k, a.side) * a.side + clamp_tap(x, a.side);
      float value[N];
      load_constant(value, static_cast<const T*>(a.table) + entry * a.columns + column);
      for (int j = 0; j < N; ++j) mixed[j] += down.weight[k] * value[j];
    }
  }

  // A step to the right keeps three of them.
  static DEVICE void advance(Window& window, const PositionEmbedding& a, int first, const FourTaps& down,
                             int64_t column) {
    const int step = first - window.first;
    if (step == 0) return;
    if (step == 1) {
      for (int k = 0; k < 3; ++k)
        for (int j = 0; j < N; ++j) window.mixed[k][j] = window.mixed[k + 1][j];
    } else {
      for (int k = 0; k < 3; ++k) mix(window.mixed[k], a, down, first + k, column);
    }
    mix(window.mixed[3], a, down, first + 3, column);
    window.first = first;
  }

  static DEVICE void run(const PositionEmbedding& a) {
    const int64_t first = block_index().x / slabs(a.columns) * kMergeBlocks, slab = block_index().x % slabs(a.columns);
    Block* const blocks = shared<Block>(0);
    for (int i = warp_index(); i < kMergeBlocks; i += kThreads / 32) {
      if (4 * (first + i) >= a.grids.patches) break;
      const Place place = place_of(a.grids, 4 * (first + i));
      if (const int lane = lane_index(); lane < 2) {
        blocks[i].taps[lane] = four_taps(place.column + lane, place.width, a.side);
        blocks[i].taps[2 + lane] = four_taps(place.row + lane, place.height, a.side);
        blocks[i].starts_row = place.column == 0;
      }
    }
    sync_threads();
    const int64_t column = (slab * 32 + lane_index()) * N;
    if (column >= a.columns) return;
    const int begin = warp_index() / 2 * kWalk, row = warp_index() % 2;
    constexpr int kNone = -1000;  // far from the first column of any
    Window window{kNone, {}};
    for (int i = begin; i < begin + kWalk; ++i) {
      const int64_t patch = 4 * (first + i) + 2 * row;
      if (patch + 1 >= a.grids.patches) return;
      float value[2][N];
#pragma unroll
      for (int x = 0; x < 2; ++x)
        load_constant(value[x], static_cast<const T*>(a.x) + (patch + x) * a.columns + column);
      if (blocks[i].starts_row) window.first = kNone;
#pragma unroll
      for (int x = 0; x < 2; ++x) {
        const FourTaps& across = blocks[i].taps[x];
        advance(window, a, across.first, blocks[i].taps[2 + row], column);
        float position[N] = {};
        for (int k = 0; k < 4; ++k)
          for (int j = 0; j < N; ++j) position[j] += across.weight[k] * window.mixed[k][j];
        for (int j = 0; j < N; ++j) value[x][j] += rounded<T>(position[j]);
        store(static_cast<T*>(a.out) + (patch + x) * a.columns + column, value[x]);
      }
    }
  }
};

// A warp has some columns of one entry of the table.
template <typename T, int N>
struct GatherTable {
  static constexpr int kThreads = 256, kMinBlocks = 2, kRegisters = 104, kArch = 80;
  static constexpr int kEntries = kThreads / 32;  // of a block, side by side in a row of the table

  static Blocks blocks(const PositionEmbedding& a) {
    return {AddTable<T, N>::slabs(a.columns) * ((a.side + kEntries - 1) / kEntries), a.side};
  }

  // The patches from `begin` to `end` along an axis are all whose taps may reach the entry.
  struct Span {
    int64_t begin, end;
  };
  static DEVICE Span reach(int64_t count, int side, int entry) {
    const double patches = static_cast<double>(count) / side;  // to one entry
    const auto begin = static_cast<int64_t>((entry - 1.5) * patches - 1.5);
    const auto end = static_cast<int64_t>((entry + 2.5) * patches + 1.5);
    return {entry == 0 || begin < 0 ? 0 : begin, entry == side - 1 ? count : least(count, end)};
  }

  static DEVICE float weight(int64_t i, const Span& span, int64_t count, int side, int entry) {
    if (i >= span.end) return 0;
    const Taps taps = table_taps(i, count, side);
    float sum = 0;
    for (int k = 0; k < 4; ++k) sum += taps.index[k] == entry ? taps.weight[k] : 0.0f;
    return sum;
  }

  static DEVICE void add_grid(float (&total)[N], const PositionEmbedding& a, const GridShape& grid, const T* grad,
                              int row_entry, int column_entry, bool inside) {
    const Span rows = reach(grid.height, a.side, row_entry), columns = reach(grid.width, a.side, column_entry);
    for (int64_t y0 = rows.begin; y0 < rows.end; y0 += 32) {
      const float down = weight(y0 + lane_index(), rows, grid.height, a.side, row_entry);
      for (int64_t x0 = columns.begin; x0 < columns.end; x0 += 32) {
        const float across = weight(x0 + lane_index(), columns, grid.width, a.side, column_entry);
        const int tall = static_cast<int>(least(32, rows.end - y0)),
                  wide = static_cast<int>(least(32, columns.end - x0));
        for (int64_t frame = 0; frame < grid.frames; ++frame)
          for (int y = 0; y < tall; ++y) {
            const float of_row = shuffle(down, y);
#pragma unroll 4
            for (int x = 0; x < wide; ++x) {
              const float w = of_row * shuffle(across, x);
              const int64_t patch = frame * grid.height * grid.width + merge_place(y0 + y, x0 + x, grid.width);
              float value[N] = {};
              if (inside) load_constant(value, grad + patch * a.columns);
              for (int j = 0; j < N; ++j) total[j] += w * value[j];
            }
          }
      }
    }
  }

  static DEVICE void run(const PositionEmbedding& a) {
    const int64_t groups = (a.side + kEntries - 1) / kEntries;
    const int row_entry = static_cast<int>(block_index().y);
    const int column_entry = static_cast<int>(block_index().x % groups) * kEntries + warp_index();
    if (column_entry >= a.side) return;
    const int64_t column = (block_index().x / groups * 32 + lane_index()) * N;
    const bool inside = column < a.columns;  // lanes outside still give their share of the weights
    float total[N] = {};
    int64_t before = 0;
    for (int64_t first = 0; first < a.grids.count; first += 32) {
      const GridShape mine = grid_shape(a.grids, first + lane_index());
      for (int i = 0; i < least(32, a.grids.count - first); ++i) {
        const GridShape grid = shuffle(mine, i);
        if (before + grid.patches() > a.grids.patches) break;  // the grids hold more patches
        add_grid(total, a, grid, static_cast<const T*>(a.x) + before * a.columns + column, row_entry, column_entry,
                 inside);
        before += grid.patches();
      }
    }
    if (inside) store(a.grad_table + (row_entry * a.side + column_entry) * a.columns + column, total);
  }
};

}  // namespace

Error add_position_embedding(const PositionEmbedding& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      using Kernel = decltype(kernel);
      const int64_t chunks = (a.grids.patches + 4 * kMergeBlocks - 1) / (4 * kMergeBlocks);
      return launch<Kernel>({chunks * Kernel::slabs(a.columns)}, Kernel::shared_bytes(), stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.x, a.table, static_cast<const void*>(a.out)))
      return with(AddTable<T, 16 / sizeof(T)>{});
    return with(AddTable<T, 1>{});
  });
}

Error add_position_embedding_backward(const PositionEmbedding& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) { return launch<decltype(kernel)>(kernel.blocks(a), 0, stream, a); };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.x, a.grad_table))
      return with(GatherTable<T, 16 / sizeof(T)>{});
    return with(GatherTable<T, 1>{});
  });
}

}  // namespace glm4v::cuda
