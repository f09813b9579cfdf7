// Rotary position embeddings of queries and keys in one pass: 2D for vision (halves rotate against each other), 3D for
// text (neighbouring pairs rotate). The gradient is the rotation by the opposite angle. Bound by memory: a warp finds
// the angles of each of the block's tokens, then the block moves their heads, every byte once.
#include "../math/rotary.h"
#include "grid.h"

namespace glm4v::cuda {
namespace {

constexpr int kTokens = 4;  // of a block, one for each of its warps
constexpr int kMaxHead = 256;

struct Vision {
  Rope2d rope;
  double turns[kMaxHead / 4];  // of each frequency; computed on the host, as the device is slow at powers
};

struct Text {
  Rope3d rope;
  double turns[kMaxHead / 2];
};

// Cosines and sines of the block's tokens, [kTokens, stride] each in shared memory.
struct Angles {
  int stride;

  GLM4V_SHARED int stride_of(int frequencies) { return static_cast<int>(round_up(frequencies, 4)); }
  static int64_t bytes(int frequencies) { return int64_t{2} * kTokens * stride_of(frequencies) * 4; }

  DEVICE float* cosine(int token) const { return shared<float>(0) + token * stride; }
  DEVICE float* sine(int token) const { return shared<float>(0) + (kTokens + token) * stride; }

  template <typename T>
  DEVICE void put(int token, int frequency, double turns, bool inverse) const {
    float rest, quarter;
    reduce_turns(turns, rest, quarter);
    const float s = sine_of_rest(rest), c = cosine_of_rest(rest);
    const bool odd = quarter == 1.0f || quarter == 3.0f, left = quarter == 1.0f || quarter == 2.0f;
    const float a = odd ? s : c, b = odd ? c : s, down = quarter >= 2.0f ? -b : b;
    cosine(token)[frequency] = rounded<T>(left ? -a : a);
    sine(token)[frequency] = rounded<T>(inverse ? -down : down);
  }
};

// One place in a head: of which of the block's tokens, and where it is read and written; none past the last.
template <typename T>
struct Item {
  int token;
  const T* in;
  T* out;
};

// Calls rotate(kItems of them) until every head of the block's tokens is done, queries first. A thread keeps its place
// in the head and walks from head to head, so that nothing is divided on the way; several items at a time, so that
// enough loads are under way.
template <typename T, int kItems, int kThreads, typename Rotate>
DEVICE void for_heads(const RopeHeads (&x)[2], int64_t first, int64_t tokens, int head_dim, int pieces, int place,
                      Rotate&& rotate) {
  const int here = static_cast<int>(least(tokens - first, kTokens)), step = kThreads / pieces;
  const int queries = static_cast<int>(x[0].heads), heads = queries + static_cast<int>(x[1].heads);
  int token = 0, head = thread_index() / pieces;
  if (head >= step || heads == 0) return;
  const auto settle = [&] {
    while (head >= heads) head -= heads, ++token;
  };
  for (settle(); token < here;) {
    Item<T> items[kItems];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
      items[k] = {token, nullptr, nullptr};
      if (token >= here) continue;
      const bool key = head >= queries;
      const int own = key ? head - queries : head;
      const int64_t row = first + token, stride = key ? x[1].token_stride : x[0].token_stride;
      const int64_t count = key ? x[1].heads : x[0].heads;
      items[k].in = static_cast<const T*>(key ? x[1].in : x[0].in) + row * stride + own * head_dim + place;
      items[k].out = static_cast<T*>(key ? x[1].out : x[0].out) + (row * count + own) * head_dim + place;
      head += step;
      settle();
    }
    rotate(items);
  }
}

template <typename T, int N>
struct RotateVision {
  static constexpr int kThreads = 32 * kTokens, kMinBlocks = 8, kRegisters = 64, kArch = 80;
  static constexpr int kItems = 2;  // 64 KB under way for a multiprocessor's 8 blocks

  static DEVICE void run(const Vision& vision) {
    const Rope2d& a = vision.rope;
    const int half = a.head_dim / 2, quarter = a.head_dim / 4;
    const Angles angles{Angles::stride_of(half)};
    const int64_t first = block_index().x * kTokens, patch = first + warp_index();
    if (patch < a.grids.patches) {
      const Place place = place_of(a.grids, patch);
      for (int i = lane_index(); i < half; i += 32) {
        const bool of_row = i < quarter;
        const double position = static_cast<double>(of_row ? place.row : place.column);
        angles.put<float>(warp_index(), i, position * vision.turns[of_row ? i : i - quarter], a.inverse);
      }
    }
    sync_threads();
    const int pieces = half / N, i = thread_index() % pieces * N;
    for_heads<T, kItems, kThreads>(a.queries_and_keys, first, a.grids.patches, a.head_dim, pieces, i, [&](auto& items) {
      float x[kItems][N], y[kItems][N];
#pragma unroll
      for (int k = 0; k < kItems; ++k)
        if (items[k].in) load_constant(x[k], items[k].in), load_constant(y[k], items[k].in + half);
#pragma unroll
      for (int k = 0; k < kItems; ++k) {
        if (!items[k].in) continue;
        float c[N], s[N];
        load(c, angles.cosine(items[k].token) + i);
        load(s, angles.sine(items[k].token) + i);
        for (int j = 0; j < N; ++j) {
          const float turned = x[k][j] * c[j] - y[k][j] * s[j];
          y[k][j] = y[k][j] * c[j] + x[k][j] * s[j];
          x[k][j] = turned;
        }
        store(items[k].out, x[k]);
        store(items[k].out + half, y[k]);
      }
    });
  }
};

// kWhole: heads are whole vectors of N; else pairs are read number by number.
template <typename T, int N, bool kWhole>
struct RotateText {
  static constexpr int kThreads = 32 * kTokens, kMinBlocks = 8, kRegisters = 64, kArch = 80;
  static constexpr int kItems = 3;  // 48 KB under way for a multiprocessor's 8 blocks

  static DEVICE int64_t position(const Rope3d& a, int64_t token, int frequency) {
    const int axis = frequency < a.sections[0] ? 0 : frequency < a.sections[0] + a.sections[1] ? 1 : 2;
    return a.position_ids[axis * a.tokens + token];
  }

  static DEVICE void run(const Text& text) {
    const Rope3d& a = text.rope;
    const int pairs = a.rotary_dim / 2;
    const Angles angles{Angles::stride_of((a.head_dim + 1) / 2)};
    const int64_t first = block_index().x * kTokens, token = first + warp_index();
    if (token < a.tokens)
      for (int i = lane_index(); i < pairs; i += 32)
        angles.put<T>(warp_index(), i, static_cast<double>(position(a, token, i)) * text.turns[i], a.inverse);
    sync_threads();
    const int pieces = (a.head_dim + N - 1) / N, i = thread_index() % pieces * N;
    for_heads<T, kItems, kThreads>(a.queries_and_keys, first, a.tokens, a.head_dim, pieces, i, [&](auto& items) {
      float x[kItems][N];
#pragma unroll
      for (int k = 0; k < kItems; ++k)
        if (items[k].in) read(x[k], items[k].in, a.head_dim - i);
#pragma unroll
      for (int k = 0; k < kItems; ++k) {
        if (!items[k].in) continue;
        if (i < a.rotary_dim) {
          float c[N / 2], s[N / 2];
          load(c, angles.cosine(items[k].token) + i / 2);  // of what does not turn: never used
          load(s, angles.sine(items[k].token) + i / 2);
          for (int j = 0; j < N; j += 2) {
            if (i + j >= a.rotary_dim) break;
            const float even = x[k][j], odd = x[k][j + 1];
            x[k][j] = even * c[j / 2] - odd * s[j / 2];
            x[k][j + 1] = odd * c[j / 2] + even * s[j / 2];
          }
        }
        write(items[k].out, x[k], a.head_dim - i);
      }
    });
  }

  static DEVICE void read(float (&x)[N], const T* from, int left) {
    if constexpr (kWhole) {
      load_constant(x, from);
    } else {
      for (int j = 0; j < N; ++j) x[j] = j < left ? to_float(from[j]) : 0.0f;
    }
  }
  static DEVICE void write(T* to, const float (&x)[N], int left) {
    if constexpr (kWhole) {
      store(to, x);
    } else {
      for (int j = 0; j < N; ++j)
        if (j < left) to[j] = from_float<T>(x[j]);
    }
  }
};

// Whether vectors of 16 bytes fit: every address, and what lies between tokens and between the parts of a head.
template <typename T>
bool whole(const RopeHeads (&x)[2], int64_t places) {
  return whole_vectors((places | x[0].token_stride | x[1].token_stride) * static_cast<int64_t>(sizeof(T)), x[0].in,
                       x[1].in, static_cast<const void*>(x[0].out), static_cast<const void*>(x[1].out));
}

}  // namespace

Error rope_2d(const Rope2d& a, Stream stream) {
  Vision vision{a, {}};
  for (int i = 0; i < a.head_dim / 4; ++i) vision.turns[i] = rotary_turns(a.theta, i, a.head_dim / 2);
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({(a.grids.patches + kTokens - 1) / kTokens}, Angles::bytes(a.head_dim / 2),
                                      stream, vision);
    };
    if (whole<T>(a.queries_and_keys, a.head_dim / 2)) return with(RotateVision<T, 16 / sizeof(T)>{});
    return with(RotateVision<T, 1>{});
  });
}

Error rope_3d(const Rope3d& a, Stream stream) {
  Text text{a, {}};
  for (int i = 0; i < a.rotary_dim / 2; ++i) text.turns[i] = rotary_turns(a.theta, i, a.rotary_dim);
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({(a.tokens + kTokens - 1) / kTokens}, Angles::bytes((a.head_dim + 1) / 2), stream,
                                      text);
    };
    if (whole<T>(a.queries_and_keys, a.head_dim)) return with(RotateText<T, 16 / sizeof(T), true>{});
    return with(RotateText<T, 2, false>{});
  });
}

}  // namespace glm4v::cuda
