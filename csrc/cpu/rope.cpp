// Rotary position embeddings of queries and keys in one pass: 2D for vision (halves rotate against each other), 3D for
// text (neighbouring pairs rotate). The gradient is the rotation by the opposite angle.
#include "../math/merge_order.h"
#include "../math/rotary.h"
#include "grid.h"
#include "kernels.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kMaxHead = 256;  // the bindings refuse wider heads

// The angles of one position: `add` frequencies, then `evaluate` all of them at once.
struct Angles {
  void add(int64_t position, const double* turns, int frequencies) {
    for (int i = 0; i < frequencies; ++i)
      reduce_turns(static_cast<double>(position) * turns[i], rest[count + i], quarter[count + i]);
    count += frequencies;
  }

  void evaluate(bool inverse) {
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
  float rest[kMaxHead / 2], quarter[kMaxHead / 2], cosine[kMaxHead / 2], sine[kMaxHead / 2];
};

template <typename Rotate>
inline void for_heads(const RopeHeads& x, int64_t token, int64_t elements, int head_dim, Rotate&& rotate) {
  const char* in = static_cast<const char*>(x.in) + token * x.token_stride * elements;
  char* out = static_cast<char*>(x.out) + token * x.heads * head_dim * elements;
  for (int64_t head = 0; head < x.heads; ++head)
    rotate(in + head * head_dim * elements, out + head * head_dim * elements);
}

// out = [a * cos - b * sin, b * cos + a * sin] for the halves a, b of a head.
template <typename T>
inline void rotate_halves(const T* in, T* out, const float* cosine, const float* sine, int half) {
  for_vectors(half, [&](int64_t i, int n) {
    const F32 a = load_some(in + i, n), b = load_some(in + half + i, n);
    const F32 c = load_some(cosine + i, n), s = load_some(sine + i, n);
    store_some(out + i, a * c - b * s, n);
    store_some(out + half + i, b * c + a * s, n);
  });
}

inline F32 swap_pairs(F32 v) {
  I32 order;
  for (int i = 0; i < W; ++i) order[i] = i ^ 1;
  return __builtin_shuffle(v, order);
}

// out = x * cos + (x with its pairs swapped) * sin, sin carrying a minus in even places; the rest of the head is
// copied.
template <typename T>
inline void rotate_pairs(const T* in, T* out, const float* cosine, const float* sine, int rotary_dim, int head_dim) {
  for_vectors(rotary_dim, [&](int64_t i, int n) {
    const F32 x = load_some(in + i, n);
    store_some(out + i, x * load_some(cosine + i, n) + swap_pairs(x) * load_some(sine + i, n), n);
  });
  __builtin_memcpy(out + rotary_dim, in + rotary_dim, (head_dim - rotary_dim) * sizeof(T));
}

template <typename T>
void vision(const Rope2d& a) {
  double turns[kMaxHead / 4];
  for (int i = 0; i < a.head_dim / 4; ++i) turns[i] = rotary_turns(a.theta, i, a.head_dim / 2);
  const int quarter = a.head_dim / 4, half = a.head_dim / 2;
  parallel_for(a.grids.rows, a.grids.patches * (a.queries_and_keys[0].heads + a.queries_and_keys[1].heads) * a.head_dim,
               [&](int64_t index) {
                 const PatchRow place = patch_row(a.grids, index);
                 for (int64_t column = 0; column < place.width; ++column) {
                   Angles angles;
                   angles.add(place.row, turns, quarter);
                   angles.add(column, turns, quarter);
                   angles.evaluate(a.inverse);
                   const int64_t patch = place.first_patch + merge_place(place.row, column, place.width);
                   for (const RopeHeads& x : a.queries_and_keys)
                     for_heads(x, patch, sizeof(T), a.head_dim, [&](const char* in, char* out) {
                       rotate_halves(reinterpret_cast<const T*>(in), reinterpret_cast<T*>(out), angles.cosine,
                                     angles.sine, half);
                     });
                 }
               });
}

template <typename T>
void text(const Rope3d& a) {
  double turns[kMaxHead / 2];
  for (int i = 0; i < a.rotary_dim / 2; ++i) turns[i] = rotary_turns(a.theta, i, a.rotary_dim);
  parallel_for(a.tokens, a.tokens * (a.queries_and_keys[0].heads + a.queries_and_keys[1].heads) * a.head_dim,
               [&](int64_t token) {
                 Angles angles;
                 for (int axis = 0; axis < 3; ++axis)
                   angles.add(a.position_ids[axis * a.tokens + token], turns + angles.count, a.sections[axis]);
                 angles.evaluate(a.inverse);
                 float cosine[kMaxHead], sine[kMaxHead];
                 for (int i = 0; i < angles.count; ++i) {
                   cosine[2 * i] = cosine[2 * i + 1] = angles.cosine[i];
                   sine[2 * i] = -angles.sine[i];
                   sine[2 * i + 1] = angles.sine[i];
                 }
                 for_vectors(a.rotary_dim, [&](int64_t j, int n) {  // as transformers: rounded to the activations' type
                   store_some(cosine + j, rounded<T>(load_some(cosine + j, n)), n);
                   store_some(sine + j, rounded<T>(load_some(sine + j, n)), n);
                 });
                 for (const RopeHeads& x : a.queries_and_keys)
                   for_heads(x, token, sizeof(T), a.head_dim, [&](const char* in, char* out) {
                     rotate_pairs(reinterpret_cast<const T*>(in), reinterpret_cast<T*>(out), cosine, sine, a.rotary_dim,
                                  a.head_dim);
                   });
               });
}

}  // namespace

void rope_2d(const Rope2d& a) { a.dtype == DType::f32 ? vision<float>(a) : vision<bf16>(a); }

void rope_3d(const Rope3d& a) { a.dtype == DType::f32 ? text<float>(a) : text<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
