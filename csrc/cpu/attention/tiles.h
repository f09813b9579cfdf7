// Tiles of rows (queries, keys, values, gradients) as operands of multiply.h. One unit of depth is a float, or a pair
// of bf16 where the instruction set multiplies pairs; other bf16 is widened on the way in.
#pragma once

#include <type_traits>

#include "../../math/math.h"
#include "../simd.h"

namespace glm4v::GLM4V_ISA {
namespace {

// Keys are taken in tiles of this many, counted from the first key of the sequence: 64 keys of 128 floats are 32 KB,
// and 4 vectors of 16. Results depend on it, so it is the same for every operator.
constexpr int kTile = 64;

template <typename T>
constexpr bool kPairs = kNativeBf16 && sizeof(T) == 2;

template <typename T>
constexpr int kDepth = kPairs<T> ? 2 : 1;  // elements a unit

template <typename T>
using Unit = std::conditional_t<kPairs<T>, uint32_t, float>;

// Rows and elements of depth that a product takes together: operands are zero up to the next multiple.
template <typename T>
constexpr int kStep = kTileRegisters && kPairs<T> ? 32 : 1;

// The same for what lies along the lanes.
template <typename T>
constexpr int kLaneStep = kStep<T> > W ? kStep<T> : W;

template <typename T>
constexpr int units_of(int columns) {
  return round_up(columns, kStep<T>) / kDepth<T>;
}

// The elements that units hold, in the type in which a product takes them.
template <typename T>
inline auto* elements(Unit<T>* units) {
  return reinterpret_cast<std::conditional_t<kPairs<T>, bf16, float>*>(units);
}

// The first n units of a row, as bits; zero past them.
template <typename T>
inline U32 load_units(const T* p, int n) {
  if constexpr (kPairs<T>)
    return n == W ? load_pairs(p) : load_pairs(p, n);
  else
    return (U32)load_some(p, n);
}

inline void store_units(float* p, U32 v) { store(p, (F32)v); }
inline void store_units(uint32_t* p, U32 v) { store(p, v); }

// [count, columns] -> [count, units_of(columns)].
template <typename T>
void copy_rows(const T* const* rows, int count, int columns, Unit<T>* out) {
  const int units = units_of<T>(columns);
  if constexpr (kStep<T> > 1) __builtin_memset(out, 0, sizeof(*out) * units * round_up(count, kStep<T>));
  for (int r = 0; r < count; ++r) {
    if constexpr (kPairs<T>)
      __builtin_memcpy(out + r * units, rows[r], sizeof(T) * columns);
    else
      for_vectors(columns, [&](int64_t i, int n) { store_some(out + r * units + i, load_some(rows[r] + i, n), n); });
  }
}

// [count, columns] -> [count / kDepth, stride] units, zero from count and from columns on: rows are the depth.
template <typename T>
void stack_rows(const T* const* rows, int count, int columns, Unit<T>* out, int stride) {
  for (int r = 0; r < round_up(count, kStep<T>); r += kDepth<T>)
    for (int i = 0; i < stride; i += W) {
      const int n = columns - i < W ? columns - i : W;
      const auto row = [&](int j) { return j < count ? load_some(rows[j] + i, n) : F32{}; };
      Unit<T>* const at = out + r / kDepth<T> * stride + i;
      if constexpr (kPairs<T>)
        store(at, pairs(row(r), row(r + 1)));
      else
        store(at, row(r));
    }
}

// W x W units: row i of the result is lane i of each row.
inline void transpose(U32* v) {
  for (int span = 1; span < W; span *= 2) {
    U32 next[W];
    for (int i = 0; i < W / 2; ++i) {
      next[2 * i] = zip_low(v[i], v[i + W / 2]);
      next[2 * i + 1] = zip_high(v[i], v[i + W / 2]);
    }
    for (int i = 0; i < W; ++i) v[i] = next[i];
  }
}

// [count, columns] -> [units_of(columns), kTile], zero from count to the next multiple of kLaneStep: columns are the
// depth.
template <typename T>
void transpose_rows(const T* const* rows, int count, int columns, Unit<T>* out) {
  const int units = columns / kDepth<T>, padded = units_of<T>(columns);
  for (int first = 0; first < round_up(count, kLaneStep<T>); first += W)
    for (int u = 0; u < units; u += W) {
      const int n = units - u < W ? units - u : W;
      U32 block[W];
      for (int i = 0; i < W; ++i) block[i] = first + i < count ? load_units(rows[first + i] + u * kDepth<T>, n) : U32{};
      transpose(block);
      for (int i = 0; i < least(padded - u, W); ++i) store_units(out + (u + i) * kTile + first, block[i]);
    }
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
