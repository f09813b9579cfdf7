// Rotary position embeddings of queries and keys in one pass: 2D for vision (halves rotate against each other), 3D for
// text (neighbouring pairs rotate). The gradient is the rotation by the opposite angle.
#include <algorithm>

#include "../math/merge_order.h"
#include "../math/rotary.h"
#include "grid.h"
#include "kernels.h"
#include "results.h"
#include "rows.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kMaxHead = 256;  // the bindings refuse wider heads

// Angles of one token: `add` what its frequencies turn with, then `evaluate` all of them at once.
struct Angles {
  void add(int64_t position, int frequencies) {
    for (int i = 0; i < frequencies; ++i) positions[count++] = static_cast<double>(position);
  }

  void evaluate(const double* turns, bool inverse, float* cosine, float* sine) const {
    float rest[kMaxHead / 2], quarter[kMaxHead / 2];
    for (int i = 0; i < count; ++i) reduce_turns(positions[i] * turns[i], rest[i], quarter[i]);
    for_vectors(count, [&](int64_t i, int n) {
      const F32 x = load_some(rest + i, n), turn = load_some(quarter + i, n);
      const F32 s = sine_of_rest(x), c = cosine_of_rest(x);
      const auto odd = (turn == 1.0f) | (turn == 3.0f), left = (turn == 1.0f) | (turn == 2.0f);
      const F32 a = odd ? s : c, b = odd ? c : s, down = turn >= 2.0f ? -b : b;
      store_some(cosine + i, left ? -a : a, n);
      store_some(sine + i, inverse ? -down : down, n);
    });
  }

  int count = 0;
  double positions[kMaxHead / 2];
};

template <typename Rotate>
inline void for_heads(const RopeHeads& x, int64_t token, int64_t elements, int head_dim, Rotate&& rotate) {
  const char* in = static_cast<const char*>(x.in) + token * x.token_stride * elements;
  char* out = static_cast<char*>(x.out) + token * x.heads * head_dim * elements;
  for (int64_t head = 0; head < x.heads; ++head)
    rotate(in + head * head_dim * elements, out + head * head_dim * elements);
}

// out = [a * cos - b * sin, b * cos + a * sin] for the halves a, b of a head; cosines and sines in the order of
// Lanes<T>.
template <typename T, typename Results>
inline void rotate_halves(const Results& results, const T* in, T* out, const float* cosine, const float* sine,
                          int half) {
  for_lanes<T>(half, [&](int64_t i, int n) {
    const Lanes<T> a = load_lanes(in + i, n), b = load_lanes(in + half + i, n);
    const Lanes<T> c = load_ordered<T>(cosine + i, n), s = load_ordered<T>(sine + i, n);
    results.put(out + i, a * c - b * s, n);
    results.put(out + half + i, b * c + a * s, n);
  });
}

inline F32 swap_pairs(F32 v) {
  I32 order;
  for (int i = 0; i < W; ++i) order[i] = i ^ 1;
  return __builtin_shuffle(v, order);
}

// Neighbours (a, b) become (a * cos - b * sin, b * cos + a * sin); the rest of the head is copied. For floats cosines
// and sines stand for both of a pair, a minus before the sine of the first.
template <typename Results>
inline void rotate_pairs(const Results& results, const float* in, float* out, const float* cosine, const float* sine,
                         int rotary_dim, int head_dim) {
  for_vectors(rotary_dim, [&](int64_t i, int n) {
    const F32 x = load_some(in + i, n);
    results.put(out + i, x * load_some(cosine + i, n) + swap_pairs(x) * load_some(sine + i, n), n);
  });
  for_vectors(head_dim - rotary_dim,
              [&](int64_t i, int n) { results.put(out + rotary_dim + i, load_some(in + rotary_dim + i, n), n); });
}

// The same with one cosine and one sine a pair.
template <typename Results>
inline void rotate_pairs(const Results& results, const bf16* in, bf16* out, const float* cosine, const float* sine,
                         int rotary_dim, int head_dim) {
  for_lanes<bf16>(rotary_dim, [&](int64_t i, int n) {
    const Pairs x = load_lanes(in + i, n);
    const F32 c = load_some(cosine + i / 2, n / 2), s = load_some(sine + i / 2, n / 2);
    results.put(out + i, Pairs{x.even * c - x.odd * s, x.odd * c + x.even * s}, n);
  });
  for_lanes<bf16>(head_dim - rotary_dim, [&](int64_t i, int n) {
    results.put(out + rotary_dim + i, load_elements(in + rotary_dim + i, n), n);
  });
}

int64_t elements(const RopeHeads (&queries_and_keys)[2], int64_t tokens, int head_dim) {
  return tokens * (queries_and_keys[0].heads + queries_and_keys[1].heads) * head_dim;
}

// Cosines and sines of every place along a side, which rows and columns share: head_dim / 4 of each.
struct SideAngles {
  explicit SideAngles(const Rope2d& a)
      : quarter(a.head_dim / 4), cosines(longest(a) * quarter), sines(longest(a) * quarter) {
    double turns[kMaxHead / 4];
    for (int i = 0; i < quarter; ++i) turns[i] = rotary_turns(a.theta, i, a.head_dim / 2);
    parallel_ranges(longest(a), longest(a) * quarter * 8, [&](int64_t first, int64_t last) {
      for (int64_t place = first; place < last; ++place) {
        Angles angles;
        angles.add(place, quarter);
        angles.evaluate(turns, a.inverse, &cosines[place * quarter], &sines[place * quarter]);
      }
    });
  }

  static int64_t longest(const Rope2d& a) {
    int64_t most = 0;
    for (int64_t i = 0; i < a.grids.count; ++i) most = std::max({most, a.grids.grid[i].height, a.grids.grid[i].width});
    return most;
  }

  int quarter;
  Scratch<float> cosines, sines;
};

// Two rows of patches at a time, as they lie in memory: a row of merge blocks.
template <typename T, typename Results>
void vision(const Rope2d& a) {
  SideAngles side(a);
  const int quarter = side.quarter, half = 2 * quarter;
  const int64_t work = elements(a.queries_and_keys, a.grids.patches, a.head_dim);
  parallel_ranges(a.grids.rows / 2, work, [&](int64_t first, int64_t last) {
    const Results results;
    float angles[kMaxHead / 2], cosine[kMaxHead / 2], sine[kMaxHead / 2];  // of a patch: [height's, width's]
    const auto assemble = [&](Scratch<float>& of_side, int64_t row, int64_t column, float* ordered) {
      __builtin_memcpy(angles, &of_side[row * quarter], quarter * sizeof(float));
      __builtin_memcpy(angles + quarter, &of_side[column * quarter], quarter * sizeof(float));
      put_in_order<T>(angles, ordered, half);
    };
    for (int64_t index = first; index < last; ++index) {
      const PatchRow place = patch_row(a.grids, 2 * index);
      for (int64_t column = 0; column < place.width; ++column)
        for (int64_t row = place.row; row < place.row + 2; ++row) {
          const int64_t patch = place.first_patch + merge_place(row, column, place.width);
          assemble(side.cosines, row, column, cosine);
          assemble(side.sines, row, column, sine);
          for (const RopeHeads& x : a.queries_and_keys)
            for_heads(x, patch, sizeof(T), a.head_dim, [&](const char* in, char* out) {
              rotate_halves(results, reinterpret_cast<const T*>(in), reinterpret_cast<T*>(out), cosine, sine, half);
            });
        }
    }
  });
}

template <typename T>
void vision(const Rope2d& a) {
  const int64_t bytes = elements(a.queries_and_keys, a.grids.patches, a.head_dim) * int64_t{sizeof(T)};
  const bool streamed =
      streams(bytes, a.head_dim / 2 * int64_t{sizeof(T)}, a.queries_and_keys[0].out, a.queries_and_keys[1].out);
  streamed ? vision<T, Streamed>(a) : vision<T, Cached>(a);
}

// As transformers: to the activations' type.
void round_angles(int count, float* cosine, float* sine) {
  for_vectors(count, [&](int64_t i, int n) {
    store_some(cosine + i, rounded<bf16>(load_some(cosine + i, n)), n);
    store_some(sine + i, rounded<bf16>(load_some(sine + i, n)), n);
  });
}

template <typename T, typename Results>
void text(const Rope3d& a) {
  double turns[kMaxHead / 2];
  for (int i = 0; i < a.rotary_dim / 2; ++i) turns[i] = rotary_turns(a.theta, i, a.rotary_dim);
  parallel_ranges(a.tokens, elements(a.queries_and_keys, a.tokens, a.head_dim), [&](int64_t first, int64_t last) {
    const Results results;
    for (int64_t token = first; token < last; ++token) {
      Angles angles;
      for (int axis = 0; axis < 3; ++axis) angles.add(a.position_ids[axis * a.tokens + token], a.sections[axis]);
      float once[2][kMaxHead / 2], twice[2][kMaxHead];  // cosines and sines, one a pair and two
      angles.evaluate(turns, a.inverse, once[0], once[1]);
      const float *cosine = once[0], *sine = once[1];
      if constexpr (sizeof(T) == 2) {
        round_angles(angles.count, once[0], once[1]);
      } else {
        for (int i = 0; i < angles.count; ++i) {
          twice[0][2 * i] = twice[0][2 * i + 1] = once[0][i];
          twice[1][2 * i] = -once[1][i];
          twice[1][2 * i + 1] = once[1][i];
        }
        cosine = twice[0], sine = twice[1];
      }
      for (const RopeHeads& x : a.queries_and_keys)
        for_heads(x, token, sizeof(T), a.head_dim, [&](const char* in, char* out) {
          rotate_pairs(results, reinterpret_cast<const T*>(in), reinterpret_cast<T*>(out), cosine, sine, a.rotary_dim,
                       a.head_dim);
        });
    }
  });
}

template <typename T>
void text(const Rope3d& a) {
  const int64_t size{sizeof(T)}, bytes = elements(a.queries_and_keys, a.tokens, a.head_dim) * size;
  const RopeHeads(&x)[2] = a.queries_and_keys;
  const bool streamed = a.head_dim * size % 64 == 0 && streams(bytes, a.rotary_dim * size, x[0].out, x[1].out);
  streamed ? text<T, Streamed>(a) : text<T, Cached>(a);
}

}  // namespace

void rope_2d(const Rope2d& a) { a.dtype == DType::f32 ? vision<float>(a) : vision<bf16>(a); }

void rope_3d(const Rope3d& a) { a.dtype == DType::f32 ? text<float>(a) : text<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
