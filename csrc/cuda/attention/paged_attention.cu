// paged_attention: a few new tokens over a block table (PagedAttention, arXiv 2309.06180). Bound by the memory that
// keys and values are read from: a block has up to 16 rows - new tokens times the query heads that share a head of keys
// - so that these are read once for all, and a part of the keys ("Flash-Decoding"). Each warp walks along keys of its
// own, at its own pace; the warps' results are added at the end, those of the parts by a second kernel. How keys are
// split depends on the block table's width alone: a token has the same bits in any batch.
#include "epilogue.h"
#include "scheduler.h"
#include "shape.h"
#include "softmax.h"

namespace glm4v::cuda {
namespace {

// Where a row of a block's tile belongs.
struct Row {
  int token, head;  // token of the sequence
};

template <typename T, int kWidth>
struct Split {
  static constexpr int kHeadBytes = kWidth * static_cast<int>(sizeof(T)), kRows = 16, kKeys = 16;
  static constexpr int kWarps = kHeadBytes <= 256 ? 4 : 1024 / kHeadBytes;
  static constexpr int kThreads = 32 * kWarps, kMinBlocks = 3, kArch = 80, kEach = 16 / sizeof(T);
  static constexpr int kRegisters = kWarps == 4 ? 168 : 255, kOutN = kWidth / 8;

  using Keys = Tile<T, kKeys, kWidth>;  // as large as the tile of queries
  static constexpr int kShared = (1 + 4 * kWarps) * Keys::kBytes;
  static_assert(kShared <= kSharedOfEveryDevice);

  // A warp's results take the place of its keys; rows are apart by 8 banks more than their length.
  static constexpr int kStride = kWidth + 8;
  static_assert((kRows * kStride + 2 * kRows) * static_cast<int>(sizeof(float)) <= 4 * Keys::kBytes);

  const PagedAttention& a;
  int kv_head, group, split, part_keys;
  int64_t sequence, first;  // of the rows of the sequence
  int count;                // of rows here
  Span queries;
  Visibility visible;

  static DEVICE Keys queries_tile() { return {0}; }
  static DEVICE Keys tile(int warp, int turn, int which) {
    return {static_cast<uint32_t>((1 + 4 * warp + 2 * turn + which) * Keys::kBytes)};
  }
  static DEVICE float* results(int warp) { return shared<float>(tile(warp, 0, 0).start); }
  static DEVICE float* maxima(int warp) { return results(warp) + kRows * kStride; }
  static DEVICE float* sums(int warp) { return maxima(warp) + kRows; }

  // What the keys of one part are, of any sequence: a multiple of what the warps take at once.
  static DEVICE int keys_of_part(const PagedAttention& a) {
    const int64_t room = least(a.max_blocks * a.block_size, 1 << 30);
    return static_cast<int>(round_up((room + a.splits - 1) / a.splits, kWarps * kKeys));
  }

  static DEVICE void run(const PagedAttention& a) {
    const int group = a.heads / a.kv_heads;
    const Place place = place_of<kRows>(block_index().x / a.kv_heads, a.cu_seqlens_q, a.sequences, group);
    const Span queries = span_of(a.cu_seqlens_q, place.sequence, a.queries);
    const int64_t rows = static_cast<int64_t>(queries.count) * group;
    if (place.first < 0 || place.first >= rows) return;
    const int64_t room = a.blocks == 0 ? 0 : least(a.max_blocks * a.block_size, 1 << 30);
    const int given = a.key_lengths[place.sequence], keys = given < 0 ? 0 : static_cast<int>(least(given, room));
    const Split block{a,
                      static_cast<int>(block_index().x % a.kv_heads),
                      group,
                      static_cast<int>(block_index().y),
                      keys_of_part(a),
                      place.sequence,
                      place.first,
                      static_cast<int>(least(kRows, rows - place.first)),
                      queries,
                      {queries.count, keys, true}};
    block.attend();
  }

  DEVICE Row row(int r) const {
    return {static_cast<int>((first + r) / group), kv_head * group + static_cast<int>((first + r) % group)};
  }
  DEVICE int keys_of(int r) const { return visible.keys_of(row(r).token); }

  // Where a lane's key, one of the 16 from `key` on, starts in the caches; negative behind the last.
  DEVICE int64_t place_of_key(int key, int end) const {
    key += lane_index() % kKeys;
    if (key >= end) return -1;
    const int block_size = static_cast<int>(a.block_size);
    int64_t block = a.block_table[sequence * a.max_blocks + key / block_size];
    block = block < 0 ? 0 : least(block, a.blocks - 1);
    return ((block * block_size + key % block_size) * a.kv_heads + kv_head) * a.head_dim;
  }

  DEVICE void load_keys(int turn, int64_t place) const {
    const int warp = warp_index();
#pragma unroll 8
    for (int i = 0; i < kKeys * Keys::kPieces / 32; ++i) {
      const int at = 32 * i + lane_index(), r = at / Keys::kPieces, piece = at % Keys::kPieces;
      const int64_t from = shuffle(place, r);
      const bool there = from >= 0 && piece * kEach < a.head_dim;
      const int64_t offset = there ? from + piece * kEach : 0;
      copy_async(tile(warp, turn, 0).piece(r, piece), static_cast<const T*>(a.k_cache) + offset, there ? 16 : 0);
      copy_async(tile(warp, turn, 1).piece(r, piece), static_cast<const T*>(a.v_cache) + offset, there ? 16 : 0);
    }
    copy_commit();
  }

  DEVICE void load_queries() const {
    for (int at = thread_index(); at < kRows * Keys::kPieces; at += kThreads) {
      const int r = at / Keys::kPieces, piece = at % Keys::kPieces;
      const bool there = r < count && piece * kEach < a.head_dim;
      const T* from = static_cast<const T*>(a.q.data);
      if (there) from = row_of<T>(a.q, queries.first + row(r).token, row(r).head * a.head_dim) + piece * kEach;
      copy_async(queries_tile().piece(r, piece), from, there ? 16 : 0);
    }
  }

  DEVICE void attend() const {
    const float scale_log2 = a.scale * kLog2E;
    const int start = split * part_keys, seen = keys_of(count - 1);
    const int end = static_cast<int>(least(seen, static_cast<int64_t>(start) + part_keys));
    float out[1][kOutN][4];
    clear(out);
    RunningSoftmax<1> softmax;
    softmax.start();
    if (start < end) {
      load_queries();
      int key = start + warp_index() * kKeys;
      load_keys(0, place_of_key(key, end));
      int64_t place = place_of_key(key + kWarps * kKeys, end);  // asked for a step before it is needed
      copy_wait<0>();
      sync_threads();  // queries are there, for all warps
      const int unmasked = keys_of(0);
      int turn = 0;
#pragma unroll 1
      for (; key < end; key += kWarps * kKeys, turn ^= 1) {
        load_keys(turn ^ 1, place);
        place = place_of_key(key + 2 * kWarps * kKeys, end);
        float scores[1][kKeys / 8][4];
        clear(scores);
        add_products<T>(scores, queries_tile(), 0, tile(warp_index(), turn, 0), 0);
        if (key + kKeys > least(unmasked, end))
          hide_from(scores, [&](int r) { return static_cast<int>(least(r < count ? keys_of(r) : 0, end)) - key; });
        softmax.weigh(scores, out, scale_log2);
        add_weighted_rows<T>(out, scores, tile(warp_index(), turn, 1), 0);
        copy_wait<0>();
        sync_warp();  // the other turn's keys are there, and no lane reads this one's any more
      }
    }
    softmax.finish();
    store_floats(out, kWidth, [&](int r) { return results(warp_index()) + r * kStride; });
    for (int half = 0; half < 2; ++half)
      if (lane_index() % 4 == 0) {
        maxima(warp_index())[8 * half + lane_index() / 4] = softmax.maximum[0][half];
        sums(warp_index())[8 * half + lane_index() / 4] = softmax.sum[0][half];
      }
    sync_threads();
    write_out(scale_log2);
  }

  // Adds the warps' results, eight numbers of a row at a time.
  DEVICE void write_out(float scale_log2) const {
    constexpr int kNumbers = 8, kVectors = kWidth / kNumbers;
    for (int at = thread_index(); at < count * kVectors; at += kThreads) {
      const int r = at / kVectors, column = at % kVectors * kNumbers;
      if (column >= a.head_dim) continue;
      float maximum = -kInfinity, total = 0, sum[kNumbers] = {};
      for (int warp = 0; warp < kWarps; ++warp) maximum = larger(maxima(warp)[r], maximum);
      const float shift = maximum == -kInfinity ? 0.0f : maximum * scale_log2;
      for (int warp = 0; warp < kWarps; ++warp) {
        const float weight = exp2_fast(maxima(warp)[r] * scale_log2 - shift);
        float more[kNumbers];
        load(more, results(warp) + r * kStride + column);
        for (int i = 0; i < kNumbers; ++i) sum[i] += weight * more[i];
        total += weight * sums(warp)[r];
      }
      if (total != 0)
        for (int i = 0; i < kNumbers; ++i) sum[i] /= total;
      const int64_t where = (queries.first + row(r).token) * a.heads + row(r).head;
      if (!a.partial) {
        store(static_cast<T*>(a.out) + where * a.head_dim + column, sum);
        continue;
      }
      const int64_t part = split * (a.queries * a.heads) + where;
      store(a.partial + part * a.head_dim + column, sum);
      if (column == 0) a.log2_sums[part] = total == 0 ? -kInfinity : shift + log2f(total);
    }
  }
};

// The mean of the parts' results, weighted by their sums of exponentials; a warp has a row.
template <typename T>
struct AddSplits {
  static constexpr int kThreads = 128, kMinBlocks = 8, kRegisters = 64, kArch = 80, kEach = 4;

  static DEVICE void run(const PagedAttention& a) {
    const int64_t rows = a.queries * a.heads, row = block_index().x * (kThreads / 32) + warp_index();
    if (row >= rows) return;
    float maximum = -kInfinity, total = 0;
    for (int64_t s = lane_index(); s < a.splits; s += 32) maximum = larger(a.log2_sums[s * rows + row], maximum);
    maximum = warp_max(maximum);
    if (maximum == -kInfinity) maximum = 0;
    for (int64_t s = lane_index(); s < a.splits; s += 32) total += exp2_fast(a.log2_sums[s * rows + row] - maximum);
    total = warp_sum(total);
    const float normaliser = total == 0 ? 0.0f : 1.0f / total;
    for (int column = lane_index() * kEach; column < a.head_dim; column += 32 * kEach) {
      float sum[kEach] = {};
#pragma unroll 4
      for (int64_t s = 0; s < a.splits; ++s) {
        const float weight = exp2_fast(a.log2_sums[s * rows + row] - maximum) * normaliser;
        if (weight == 0) continue;
        float more[kEach];
        load_constant(more, a.partial + (s * rows + row) * a.head_dim + column);
        for (int i = 0; i < kEach; ++i) sum[i] += weight * more[i];
      }
      store(static_cast<T*>(a.out) + row * a.head_dim + column, sum);
    }
  }
};

template <typename T, int kWidth>
Error launch_paged(const PagedAttention& a, Stream stream) {
  using Kernel = Split<T, kWidth>;
  const int64_t slots = a.sequences ? slots_of<Kernel::kRows>(a.queries, a.sequences, a.heads / a.kv_heads) : 0;
  if (const Error error = launch<Kernel>({slots * a.kv_heads, a.splits}, Kernel::kShared, stream, a)) return error;
  if (!a.partial) return nullptr;
  constexpr int kWarps = AddSplits<T>::kThreads / 32;
  return launch<AddSplits<T>>({(a.queries * a.heads + kWarps - 1) / kWarps}, 0, stream, a);
}

}  // namespace

Error paged_attention(const PagedAttention& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    return for_width(a.head_dim, [&](auto width) { return launch_paged<decltype(element), width>(a, stream); });
  });
}

}  // namespace glm4v::cuda
