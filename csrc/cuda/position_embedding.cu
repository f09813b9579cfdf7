// Adds the position table, bicubically adapted to each image's grid, to its patches, and the table's gradient. The
// interpolation is separable: going forward a warp walks along a row of patches and keeps the four columns of the table
// that it needs, mixed for its row, in registers; going back a block gathers for a tile of the table what all patches
// in its reach give, in an order of its own: the same bits always, without atomics.
#include "../math/bicubic.h"
#include "grid.h"
#include "ptx.h"

namespace glm4v::cuda {
namespace {

constexpr int kMergeBlocks = 16;  // of 2 x 2 patches, in a block of threads
constexpr int kWalk = 4;          // merge blocks that one warp walks along

template <typename T, int N>
struct AddTable {
  static constexpr int kThreads = 2 * 32 * kMergeBlocks / kWalk, kMinBlocks = 3, kRegisters = 80, kArch = 80;

  // The block's merge blocks in shared memory: taps across of the two columns, then down of the two rows.
  struct Block {
    FourTaps taps[4];
    int starts_row;
  };

  // Vectors are on their way to shared memory, for the thread itself, while the taps are worked out.
  static constexpr bool kAhead = N * sizeof(T) == 16;
  static int64_t shared_bytes() { return kMergeBlocks * sizeof(Block) + (kAhead ? 2 * kWalk * kThreads * 16 : 0); }
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
    const int64_t column = (slab * 32 + lane_index()) * N;
    const int begin = warp_index() / 2 * kWalk, row = warp_index() % 2;
    const auto patch_of = [&](int i) { return 4 * (first + begin + i) + 2 * row; };
    const auto x_of = [&](int i, int x) { return static_cast<const T*>(a.x) + (patch_of(i) + x) * a.columns + column; };
    const auto copy_of = [&](int i, int x) {
      return shared<T>(kMergeBlocks * sizeof(Block)) + ((2 * i + x) * kThreads + thread_index()) * N;
    };
    if constexpr (kAhead) {
      for (int i = 0; i < kWalk; ++i)
        for (int x = 0; x < 2; ++x)
          if (column < a.columns && patch_of(i) + 1 < a.grids.patches) copy_async(copy_of(i, x), x_of(i, x));
      copy_commit();
    }
    Block* const blocks = shared<Block>(0);
    for (int i = warp_index(); i < kMergeBlocks; i += kThreads / 32) {
      if (4 * (first + i) >= a.grids.patches) break;
      const Place place = place_of(a.grids, 4 * (first + i));
      if (const int lane = lane_index(); lane < 4) {
        blocks[i].taps[lane] = lane < 2 ? four_taps(place.column + lane, place.width, a.side)
                                        : four_taps(place.row + lane - 2, place.height, a.side);
        blocks[i].starts_row = place.column == 0;
      }
    }
    if constexpr (kAhead) copy_wait<0>();
    sync_threads();
    if (column >= a.columns) return;
    constexpr int kNone = -1000;  // far from the first column of any
    Window window{kNone, {}};
#pragma unroll 1
    for (int i = 0; i < kWalk; ++i) {
      if (patch_of(i) + 1 >= a.grids.patches) return;
      const Block& block = blocks[begin + i];
      if (block.starts_row) window.first = kNone;
#pragma unroll
      for (int x = 0; x < 2; ++x) {
        const FourTaps& across = block.taps[x];
        advance(window, a, across.first, block.taps[2 + row], column);
        float value[N], position[N] = {};
        if constexpr (kAhead) {
          load(value, copy_of(i, x));
        } else {
          load_constant(value, x_of(i, x));
        }
        for (int k = 0; k < 4; ++k)
          for (int j = 0; j < N; ++j) position[j] += across.weight[k] * window.mixed[k][j];
        for (int j = 0; j < N; ++j) value[j] += rounded<T>(position[j]);
        store(static_cast<T*>(a.out) + (patch_of(i) + x) * a.columns + column, value);
      }
    }
  }
};

// A block has a tile of the table, N channels a lane. Its warps take turns at the rows of patches in reach, each of
// which is read once for the whole tile, and at the end add what they have.
template <typename T, int N>
struct GatherTable {
  static constexpr int kThreads = 256, kMinBlocks = 2, kRegisters = 128, kArch = 80;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kDown = 2, kAcross = kWarps;  // entries of a tile; at the end a warp has one column of them
  static constexpr int kBatch = 8;                   // patches under way for a warp
  static constexpr int kWeights = 32 * (kAcross + kDown);  // of a warp: of 32 patches in a row and of 32 rows
  static constexpr int kSums = kAcross * 32 * N;           // of a warp: a row of the tile

  static int64_t shared_bytes() { return kWarps * (kWeights + kSums) * 4; }
  GLM4V_SHARED int64_t slabs(int64_t columns) { return (columns + 32 * N - 1) / (32 * N); }
  GLM4V_SHARED int tiles(int side) { return (side + kAcross - 1) / kAcross; }

  static Blocks blocks(const PositionEmbedding& a) {
    return {slabs(a.columns) * tiles(a.side), (a.side + kDown - 1) / kDown};
  }

  // From `begin` to `end` along an axis are all patches whose taps may reach the entries from `first` on.
  struct Span {
    int begin, end;
  };
  static DEVICE Span reach(int count, int side, int first, int entries) {
    const double patches = static_cast<double>(count) / side;                   // to one entry
    const int begin = static_cast<int>((first - 1.5) * patches - 1.5) / 2 * 2;  // even, as patches come in pairs
    const int end = static_cast<int>((first + entries + 1.5) * patches + 3.5) / 2 * 2;
    return {first == 0 || begin < 0 ? 0 : begin, first + entries >= side || end > count ? count : end};
  }

  // What patch i gives to the entries from `first` on, to shared memory; a lane has one of the patches.
  template <int kEntries>
  static DEVICE void put_weights(float* to, int i, const Span& span, int count, int side, int first) {
    float* const own = to + lane_index() * kEntries;
    for (int e = 0; e < kEntries; ++e) own[e] = 0;
    if (i >= span.end) return;
    const FourTaps taps = four_taps(i, count, side);
    for (int k = 0; k < 4; ++k)
      if (const int e = clamp_tap(taps.first + k, side) - first; e >= 0 && e < kEntries) own[e] += taps.weight[k];
  }

  // Adds `wide` patches of a row, the first of them at `from`, mixed across as the weights say.
  static DEVICE void add_row(float (&line)[kAcross][N], const T* from, int wide, int64_t columns, const float* weights,
                             bool inside) {
#pragma unroll 1
    for (int x = 0; x < wide; x += kBatch, from += 2 * kBatch * columns) {
      float value[kBatch][N] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
        if (inside && x + b < wide) load_constant(value[b], from + merge_place(0, b, 2) * columns);
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        float w[kAcross];
        load(w, weights + (x + b) * kAcross);
        for (int e = 0; e < kAcross; ++e)
          for (int j = 0; j < N; ++j) line[e][j] += w[e] * value[b][j];
      }
    }
  }

  // `turn` counts the rows that the block has seen: warps take them in turns.
  static DEVICE void add_grid(float (&total)[kDown][kAcross][N], const PositionEmbedding& a, int frames, int height,
                              int width, const T* grad, int row_entry, int column_entry, bool inside, int& turn) {
    const Span rows = reach(height, a.side, row_entry, kDown), columns = reach(width, a.side, column_entry, kAcross);
    float* const across = shared<float>(0) + warp_index() * kWeights;
    float* const down = across + 32 * kAcross;
#pragma unroll 1
    for (int y0 = rows.begin; y0 < rows.end; y0 += 32) {
      const int tall = static_cast<int>(least(32, rows.end - y0)), count = tall * frames;
      const int mine = (warp_index() - turn % kWarps + kWarps) % kWarps;
      turn += count;
      if (mine >= count) continue;
#pragma unroll 1
      for (int x0 = columns.begin; x0 < columns.end; x0 += 32) {
        sync_warp();  // who still reads the last weights
        put_weights<kAcross>(across, x0 + lane_index(), columns, width, a.side, column_entry);
        put_weights<kDown>(down, y0 + lane_index(), rows, height, a.side, row_entry);
        sync_warp();
#pragma unroll 1
        for (int i = mine; i < count; i += kWarps) {
          const int64_t patch = merge_place(y0 + i % tall, x0, width) + int64_t{i / tall} * height * width;
          float line[kAcross][N] = {};
          add_row(line, grad + patch * a.columns, static_cast<int>(least(32, columns.end - x0)), a.columns, across,
                  inside);
          float w[kDown];
          load(w, down + i % tall * kDown);
#pragma unroll
          for (int d = 0; d < kDown; ++d)
            for (int e = 0; e < kAcross; ++e)
              for (int j = 0; j < N; ++j) total[d][e][j] += w[d] * line[e][j];
        }
      }
    }
  }

  static DEVICE void run(const PositionEmbedding& a) {
    const int row_entry = static_cast<int>(block_index().y) * kDown;
    const int column_entry = static_cast<int>(block_index().x % tiles(a.side)) * kAcross;
    const int64_t column = (block_index().x / tiles(a.side) * 32 + lane_index()) * N;
    const bool inside = column < a.columns;  // lanes outside still give their share of the weights
    float total[kDown][kAcross][N] = {};
    int turn = 0;
    int64_t before = 0;
#pragma unroll 1
    for (int64_t i = 0; i < a.grids.count; ++i) {
      const GridShape grid = grid_shape(a.grids, i);
      if (before + grid.patches() > a.grids.patches) break;  // the grids hold more patches
      add_grid(total, a, static_cast<int>(grid.frames), static_cast<int>(grid.height), static_cast<int>(grid.width),
               static_cast<const T*>(a.x) + before * a.columns + column, row_entry, column_entry, inside, turn);
      before += grid.patches();
    }
    float* const sums = shared<float>(kWarps * kWeights * 4);
#pragma unroll
    for (int d = 0; d < kDown; ++d) {
      if (d > 0) sync_threads();  // who still reads the last row
#pragma unroll
      for (int e = 0; e < kAcross; ++e)
        store(sums + (warp_index() * kAcross + e) * 32 * N + lane_index() * N, total[d][e]);
      sync_threads();
      float sum[N] = {};
      for (int w = 0; w < kWarps; ++w) {
        float part[N];
        load(part, sums + (w * kAcross + warp_index()) * 32 * N + lane_index() * N);
        for (int j = 0; j < N; ++j) sum[j] += part[j];
      }
      const int64_t y = row_entry + d, x = column_entry + warp_index();
      if (inside && y < a.side && x < a.side) store(a.grad_table + (y * a.side + x) * a.columns + column, sum);
    }
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
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>(kernel.blocks(a), kernel.shared_bytes(), stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.x, a.grad_table)) return with(GatherTable<T, 2>{});
    return with(GatherTable<T, 1>{});
  });
}

}  // namespace glm4v::cuda
