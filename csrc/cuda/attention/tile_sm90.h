// What the sm_90a attention kernels share: tiles in shared memory that TMA fills and wgmma reads, rings of them between
// a producer and its consumers, products of tiles, and rows of results on their way to global memory.
#pragma once

#include "../ptx.h"

namespace glm4v::cuda::sm90 {

constexpr int kWarpgroup = 128;
constexpr int kConsumers = 2, kConsumerWarps = 4 * kConsumers;
constexpr int kThreadsOfKernel = kWarpgroup * (1 + kConsumers);
// Registers of a thread. A block starts with 168 for all of its threads, the most that ptxas may give 384 of them; the
// consumers then take over what the producer gives up.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240, kLaunchRegisters = 168;
static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <= (1 + kConsumers) * kLaunchRegisters);
constexpr int kSharedOfBlock = 227 * 1024;

// Named barriers: consumer c takes its turn at kTurn + c; the threads of consumer c alone meet at kOwn + c.
constexpr int kTurn = 1, kOwn = 3;

// A warp is done with what the barrier guards.
DEVICE void release(Barrier* barrier) {
  if (lane_index() == 0) barrier_arrive(barrier);
}

// [kRows, kD] 16-bit numbers: one box after another of 64 numbers of each row, every row of a box a row of the swizzle.
// As an operand of wgmma its rows are m or n and its columns k, or its columns are n and its rows k.
template <int kRows, int kD>
struct Tile {
  static constexpr int kBoxBytes = kRows * 128, kBoxes = kD / 64, kBytes = kBoxes * kBoxBytes;
  static_assert(kBoxBytes % 1024 == 0 && kRows <= 256);

  static DEVICE void fetch(uint8_t* tile, const TensorMap* map, Barrier* arrived, int head, int token) {
#pragma unroll
    for (int box = 0; box < kBoxes; ++box) tma_load(tile + box * kBoxBytes, map, arrived, 64 * box, head, token);
  }

  static DEVICE uint64_t rows(const uint8_t* tile) { return matrix_descriptor<Swizzle::b128>(tile, 1024); }
  static DEVICE uint64_t columns(const uint8_t* tile) {
    return matrix_descriptor<Swizzle::b128>(tile, 1024, kBoxBytes);
  }

  // What a descriptor of rows() grows by for column k, and one of columns() for row k.
  static constexpr uint64_t to_column(int k) { return (k / 64 * kBoxBytes + k % 64 * 2) / 16; }
  static constexpr uint64_t to_row(int k) { return k * 128 / 16; }

  // Rows from `first` on, which are not the sequence's, become 0: times a probability of 0 even infinity has to be
  // nothing. By the 128 threads of each consumer that will multiply the tile; that two write the same 0 does no harm.
  static DEVICE void clear(uint8_t* tile, int first) {
    for (int i = thread_index() % kWarpgroup; i < (kRows - first) * kBoxes * 8; i += kWarpgroup) {
      const int row = first + i / (8 * kBoxes), piece = i % 8, box = i / 8 % kBoxes;
      write<16>(tile + box * kBoxBytes + row * 128 + piece * 16, Word<16>{});
    }
  }
};

// After clear(): wgmma of this consumer sees it.
DEVICE void cleared(int consumer) {
  fence_proxy_async();
  named_barrier_sync(kOwn + consumer, kWarpgroup);
}

// d [64, N] = a [64, kD] b [N, kD]^T, both in shared memory.
template <typename T, typename A, typename B, int kD, int kCount>
DEVICE void multiply_rows(float (&d)[kCount], uint64_t a, uint64_t b) {
  wgmma_hold(a);
  wgmma_hold(b);
#pragma unroll
  for (int k = 0; k < kD; k += 16) wgmma<T, Major::k, Major::k>(d, a + A::to_column(k), b + B::to_column(k), k > 0);
}

// d [64, N] += a [64, 16 * kSteps] b [16 * kSteps, N], a in registers.
template <typename T, typename B, int kSteps, int kCount>
DEVICE void multiply_columns(float (&d)[kCount], const uint32_t (&a)[kSteps][4], uint64_t b) {
  wgmma_hold(b);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) wgmma<T, Major::mn>(d, a[k], b + B::to_row(16 * k), true);
}

// Accumulators as an operand: their columns become k.
template <typename T, int kCount>
DEVICE void pack_operand(uint32_t (&a)[kCount / 8][4], const float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) a[i / 4][i % 4] = pack<T>(d[2 * i], d[2 * i + 1]);
}

// Row, of 64, of accumulator i; it has the rows of i = 0 and i = 2.
DEVICE int accumulator_row(int i) { return thread_index() % kWarpgroup / 32 * 16 + lane_index() / 4 + 8 * (i / 2 % 2); }
DEVICE int accumulator_column(int i) { return 8 * (i / 4) + 2 * (lane_index() % 4) + i % 2; }

// Four registers of each of four lanes, transposed: lane t of them gets the registers t.
DEVICE void transpose_quad(uint32_t (&x)[4]) {
  const int lane = lane_index();
#pragma unroll
  for (int mask = 1; mask <= 2; ++mask)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & mask) continue;
      const bool upper = (lane & mask) != 0;
      const uint32_t received = shuffle_xor(upper ? x[i] : x[i + mask], mask);
      x[i] = upper ? received : x[i];
      x[i + mask] = upper ? x[i + mask] : received;
    }
}

// Accumulators times a factor for each of the two rows, as numbers of 16 bits: `out` is the row of accumulator 0, rows
// `stride` apart; `rows` of them and `columns` of each (a multiple of 8) exist. Quads exchange their pieces, so that a
// lane writes 16 bytes.
template <typename T, int kCount>
DEVICE void store_rows(const float (&x)[kCount], const float (&factor)[2], T* out, int64_t stride, int rows,
                       int columns) {
  const int lane = lane_index() % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int i = 0; i < kCount; i += 16) {
      uint32_t word[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float* const pair = x + i + 4 * j + 2 * r;
        word[j] = pack<T>(pair[0] * factor[r], pair[1] * factor[r]);
      }
      transpose_quad(word);
      const int column = 2 * i + 8 * lane;
      if (8 * r < rows && column < columns)
        write<16>(out + 8 * r * stride + column, Word<16>{word[0], word[1], word[2], word[3]});
    }
}

// The same in float32.
template <int kCount>
DEVICE void store_rows(const float (&x)[kCount], const float (&factor)[2], float* out, int64_t stride, int rows,
                       int columns) {
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    const int r = i / 2 % 2, column = accumulator_column(i);
    const Word<8> pair{float_bits(x[i] * factor[r]), float_bits(x[i + 1] * factor[r])};
    if (8 * r < rows && column < columns) write<8>(out + 8 * r * stride + column, pair);
  }
}

// on the host ---------------------------------------------------------------------------------------------------------

// Whether TMA can read heads of these tokens.
inline bool takes_tma(const TokenHeads& x, int heads, int head_dim) {
  return head_dim % 8 == 0 && x.token_stride % 8 == 0 && x.token_stride >= static_cast<int64_t>(heads) * head_dim &&
         x.token_stride < int64_t{1} << 38 && whole_vectors(0, x.data);
}

// Maps boxes of `rows` tokens and 64 numbers of one head; beyond the head's width and the last token it reads 0.
inline Error map_heads(TensorMap& map, DType dtype, const TokenHeads& x, int64_t tokens, int heads, int head_dim,
                       int rows) {
  const auto size = [](int64_t n) { return static_cast<uint64_t>(n); };
  return encode_tensor_map(map, dtype,
                           {.data = x.data,
                            .rank = 3,
                            .size = {size(head_dim), size(heads), size(tokens)},
                            .stride = {size(2 * head_dim), size(2 * x.token_stride)},
                            .box = {64, 1, static_cast<uint32_t>(rows)},
                            .swizzle = Swizzle::b128});
}

}  // namespace glm4v::cuda::sm90
