// Rows of floats and of bf16 through one name, for operators that are bound by arithmetic where numbers have 16 bits.
// Floats are taken a vector at a time, bf16 two, whose lanes are elements in even and in odd places: those come apart
// and together again with half as many instructions as neighbours.
#pragma once

#include <cstdint>
#include <type_traits>

#include "simd.h"

namespace glm4v::GLM4V_ISA {
namespace {

// 2 W neighbours of a row.
struct Pairs {
  F32 even, odd;
};

inline Pairs operator+(Pairs a, Pairs b) { return {a.even + b.even, a.odd + b.odd}; }
inline Pairs operator-(Pairs a, Pairs b) { return {a.even - b.even, a.odd - b.odd}; }
inline Pairs operator*(Pairs a, Pairs b) { return {a.even * b.even, a.odd * b.odd}; }
inline Pairs operator*(Pairs a, float b) { return {a.even * b, a.odd * b}; }
inline Pairs operator*(float a, Pairs b) { return b * a; }
inline Pairs& operator+=(Pairs& a, Pairs b) { return a = a + b; }

inline float sum(Pairs v) { return sum(v.even + v.odd); }

// What a row of T is taken in, and how many elements that are.
template <typename T>
using Lanes = std::conditional_t<sizeof(T) == 4, F32, Pairs>;
template <typename T>
constexpr int kLanes = sizeof(T) == 4 ? W : 2 * W;

inline Pairs apart(U32 pairs) { return {(F32)(pairs << 16), (F32)(pairs & 0xffff0000)}; }

// As they read after being stored as T.
template <typename T>
inline F32 as_stored(F32 v) {
  return v;
}
template <typename T>
inline Pairs as_stored(Pairs v) {
  if constexpr (kNativeBf16) return apart(rounded_pairs(v.even, v.odd));
  // without putting the pairs together
  return {(F32)(round_to_upper_of_bf16(v.even) & 0xffff0000), (F32)(round_to_upper_of_bf16(v.odd) & 0xffff0000)};
}

template <typename T>
inline Lanes<T> sigmoid(Lanes<T> v) {
  if constexpr (sizeof(T) == 4)
    return sigmoid(v);
  else
    return Pairs{rough_sigmoid(v.even), rough_sigmoid(v.odd)};
}

// loops ---------------------------------------------------------------------------------------------------------------

// Calls f(i, n) for every Lanes<T> of a row of `length` elements: n == kLanes<T> for whole ones, fewer for the last.
template <typename T, typename Body>
inline __attribute__((always_inline)) void for_lanes(int64_t length, Body&& body) {
  int64_t i = 0;
  for (; i + kLanes<T> <= length; i += kLanes<T>) body(i, kLanes<T>);
  if (i < length) body(i, static_cast<int>(length - i));
}

// Sum of f(i, n) over them, in chains enough that none waits for its last addition.
template <typename T, typename Body>
inline __attribute__((always_inline)) float sum_lanes(int64_t length, Body&& f) {
  constexpr int kStep = kLanes<T>;
  Lanes<T> a{}, b{}, c{}, d{};
  int64_t i = 0;
  for (; i + 4 * kStep <= length; i += 4 * kStep) {
    a += f(i, kStep);
    b += f(i + kStep, kStep);
    c += f(i + 2 * kStep, kStep);
    d += f(i + 3 * kStep, kStep);
  }
  for (; i + kStep <= length; i += kStep) a += f(i, kStep);
  if (i < length) b += f(i, static_cast<int>(length - i));
  return sum((a + b) + (c + d));
}

// memory: the first n <= kLanes elements; lanes past them load as 0 and are not stored --------------------------------

inline F32 load_lanes(const float* p, int n) { return load_some(p, n); }

inline Pairs load_lanes(const bf16* p, int n) { return apart(load_elements(p, n)); }

inline void store_lanes(float* p, F32 v, int n) { store_some(p, v, n); }

inline void store_lanes(bf16* p, Pairs v, int n) { store_elements(p, rounded_pairs(v.even, v.odd), n); }

// memory: floats that belong to a row of T ----------------------------------------------------------------------------

// In the order of Lanes<T>: of every kLanes elements first those in even places.
template <typename T>
inline Lanes<T> load_ordered(const float* p, int n) {
  if constexpr (sizeof(T) == 4)
    return load_some(p, n);
  else
    return {load_some(p, (n + 1) / 2), load_some(p + (n + 1) / 2, n / 2)};
}

inline void store_ordered(float* p, F32 v, int n) { store_some(p, v, n); }
inline void store_ordered(float* p, Pairs v, int n) {
  store_some(p, v.even, (n + 1) / 2);
  store_some(p + (n + 1) / 2, v.odd, n / 2);
}

template <typename T>
inline Lanes<T> load_whole(const float* p) {
  return load_ordered<T>(p, kLanes<T>);
}
inline void store_whole(float* p, F32 v) { store(p, v); }
inline void store_whole(float* p, Pairs v) { store_ordered(p, v, 2 * W); }

// From the order of the row itself to that of Lanes<T>.
template <typename T>
inline void put_in_order(const float* natural, float* ordered, int64_t length) {
  for_lanes<T>(length, [&](int64_t i, int n) {
    if constexpr (sizeof(T) == 4) {
      store_some(ordered + i, load_some(natural + i, n), n);
    } else if (n == kLanes<T>) {
      const U32 first = (U32)load(natural + i), second = (U32)load(natural + i + W);
      store(ordered + i, (F32)even_lanes(first, second));
      store(ordered + i + W, (F32)odd_lanes(first, second));
    } else {
      const int even = (n + 1) / 2;
      for (int j = 0; j < n; ++j) ordered[i + j / 2 + j % 2 * even] = natural[i + j];
    }
  });
}

// In the order of the row itself.
inline Pairs neighbours(Pairs v) {
  const U32 even = (U32)v.even, odd = (U32)v.odd;
  return {(F32)zip_low(even, odd), (F32)zip_high(even, odd)};
}

inline void store_natural(float* p, F32 v, int n) { store_some(p, v, n); }
inline void store_natural(float* p, Pairs v, int n) {
  const auto [first, second] = neighbours(v);
  store_some(p, first, n < W ? n : W);
  if (n > W) store_some(p + W, second, n - W);
}

inline void add_natural(float* p, F32 v, int n) { store_some(p, load_some(p, n) + v, n); }
inline void add_natural(float* p, Pairs v, int n) {
  const auto [first, second] = neighbours(v);
  add_natural(p, first, n < W ? n : W);
  if (n > W) add_natural(p + W, second, n - W);
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
