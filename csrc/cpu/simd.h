// The only door to the processor's vectors: F32, one vector of W floats, and what operators do with it.
// Written once in GCC vector extensions, which the compiler lowers for whatever instruction set the file is compiled
// for; intrinsics stand here where the compiler does not find the instruction. Compiled once a variant, everything in
// the variant's namespace and with internal linkage, so that the linker cannot mix two variants.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int W = GLM4V_WIDTH;  // floats in a vector: 4, 8 or 16
constexpr bool kNativeBf16 = GLM4V_NATIVE_BF16;
constexpr bool kTileRegisters = GLM4V_TILE_REGISTERS;  // tile_registers.h

// Vector registers of W floats. A stand-in has none: its vectors are several of the machine's.
#if defined(__AVX512F__)
constexpr int kRegisters = 32;
#elif defined(__AVX2__) || GLM4V_WIDTH == 4
constexpr int kRegisters = 16;
#else
constexpr int kRegisters = 0;
#endif

using F32 = float __attribute__((vector_size(4 * W)));
using I32 = int32_t __attribute__((vector_size(4 * W)));
using U32 = uint32_t __attribute__((vector_size(4 * W)));
using U16 = uint16_t __attribute__((vector_size(2 * W)));
using U8 = uint8_t __attribute__((vector_size(W)));

struct bf16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return __builtin_bit_cast(float, uint32_t{x.bits} << 16); }

inline F32 set1(float x) { return F32{} + x; }

// memory: whole vectors, unaligned ------------------------------------------------------------------------------------

inline F32 load(const float* p) {
  F32 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, F32 v) { __builtin_memcpy(p, &v, sizeof v); }

inline U32 load(const uint32_t* p) {
  U32 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

inline void store(uint32_t* p, U32 v) { __builtin_memcpy(p, &v, sizeof v); }

// Lanes to twice and to half their width. GCC 12 takes a vector apart for some of these that are one instruction.
inline U32 widen_lanes(U16 v) {
#if defined(__AVX512F__)
  return (U32)_mm512_cvtepu16_epi32((__m256i)v);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  return (U32)_mm256_cvtepu16_epi32((__m128i)v);
#else
  return __builtin_convertvector(v, U32);
#endif
}

// Of numbers below 2^16.
inline U16 narrow_lanes(U32 v) {
#if defined(__AVX512F__)
  return (U16)_mm512_cvtepi32_epi16((__m512i)v);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  const __m256i packed = _mm256_packus_epi32((__m256i)v, (__m256i)v);  // within halves of 128 bits
  return (U16)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0b1000));
#else
  return __builtin_convertvector(v, U16);
#endif
}

inline F32 widen(U16 bits) { return (F32)(widen_lanes(bits) << 16); }

// Bits of which the upper 16 are `v` in bf16: rounded to nearest, ties to even; a NaN stays a quiet NaN.
inline U32 round_to_upper(F32 v) {
  const U32 bits = (U32)v;
  return (v != v) ? (U32{} + 0x7fc00000) : bits + 0x7fff + ((bits >> 16) & 1);
}

// The same, in two thirds of the instructions, of what was computed from bf16 alone: a NaN of that origin has zeros in
// its lower half, out of which nothing can carry.
inline U32 round_to_upper_of_bf16(F32 v) {
  const U32 bits = (U32)v;
  return bits + 0x7fff + ((bits >> 16) & 1);
}

inline U16 narrow(F32 v) {
#if GLM4V_NATIVE_BF16 && defined(__AVX512BF16__)
  return (U16)_mm512_cvtneps_pbh((__m512)v);
#else
  return narrow_lanes(round_to_upper(v) >> 16);
#endif
}

inline F32 load(const bf16* p) {
  U16 bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return widen(bits);
}

inline void store(bf16* p, F32 v) {
  const U16 bits = narrow(v);
  __builtin_memcpy(p, &bits, sizeof bits);
}

// memory: past the cache ----------------------------------------------------------------------------------------------

// As store, at an address that is a multiple of the bytes stored: the line is not read first and does not stay in the
// cache, where the machine can do that. Others see it only after a fence().
inline void stream(float* p, F32 v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  _mm256_stream_ps(p, (__m256)v);
#else
  store(p, v);
#endif
}

inline void stream_pairs(bf16* p, U32 pairs) { stream(reinterpret_cast<float*>(p), (F32)pairs); }

inline void fence() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}

// Brings a line that is needed soon into the cache; any address is allowed.
inline void prefetch(const void* p) { __builtin_prefetch(p); }

// memory: the first n < W elements; lanes past them load as 0 and are not stored
// -----------------------------------------

template <typename T>
inline F32 load(const T* p, int n) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1);
  if constexpr (sizeof(T) == 4)
    return (F32)_mm512_maskz_loadu_ps(mask, p);
  else
    return widen((U16)_mm256_maskz_loadu_epi16(mask, p));
#else
  T lanes[W] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}

template <typename T>
inline void store(T* p, F32 v, int n) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1);
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, mask, (__m512)v);
  else
    _mm256_mask_storeu_epi16(p, mask, (__m256i)narrow(v));
#else
  T lanes[W];
  store(lanes, v);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// `v` as it would read after being stored as T.
template <typename T>
inline F32 rounded(F32 v) {
  if constexpr (sizeof(T) == 4)
    return v;
  else if constexpr (kNativeBf16)
    return widen(narrow(v));
  else
    return (F32)(round_to_upper(v) & 0xffff0000);  // without taking the lanes apart and together again
}

// arithmetic ----------------------------------------------------------------------------------------------------------

// b where one of them is a NaN. One instruction, which the compiler does not find.
inline F32 min(F32 a, F32 b) {
#if defined(__AVX512F__)
  return (F32)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  return (F32)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}
inline F32 max(F32 a, F32 b) {
#if defined(__AVX512F__)
  return (F32)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  return (F32)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// Lane numbers, 0 to W - 1.
inline I32 lanes() {
  I32 v;
  for (int i = 0; i < W; ++i) v[i] = i;
  return v;
}

// Lanes are folded in halves, in the same order in every variant of one width.
inline float sum(F32 v) {
#pragma GCC unroll 4
  for (int half = W / 2; half > 0; half /= 2) v += __builtin_shuffle(v, (lanes() + half) & (W - 1));
  return v[0];
}

inline float max(F32 v) {
#pragma GCC unroll 4
  for (int half = W / 2; half > 0; half /= 2) v = max(v, __builtin_shuffle(v, (lanes() + half) & (W - 1)));
  return v[0];
}

// Whether a comparison holds in any lane.
inline bool any(I32 holds) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)holds) != 0;
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  return _mm256_movemask_ps((__m256)holds) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < W; ++i) all |= holds[i];
  return all != 0;
#endif
}

// Whether any lane is above `bound`.
inline bool any_above(F32 v, float bound) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, (__m512)set1(bound), _CMP_GT_OQ) != 0;
#else
  return any(v > bound);
#endif
}

// 0 for numbers below the smallest normal one.
inline F32 flush(F32 x) { return (F32)(((U32)x & 0x7f800000) != 0 ? (U32)x : (U32)x & 0x80000000); }

// acc + a * b, a the same in every lane.
inline F32 multiply_add(F32 acc, float a, F32 b) { return acc + a * b; }

// The same for pairs of bf16 in 32 bits: acc + a.high * b.high + a.low * b.low, in this order, as VDPBF16PS, which
// takes and gives 0 for numbers below the smallest normal one.
inline F32 multiply_add(F32 acc, uint32_t a, U32 b) {
#if GLM4V_NATIVE_BF16 && defined(__AVX512BF16__)
  return (F32)_mm512_dpbf16_ps((__m512)acc, (__m512bh)(U32{} + a), (__m512bh)b);
#else
  const auto high = [](U32 pair) { return flush((F32)(pair & 0xffff0000)); };
  const auto low = [](U32 pair) { return flush((F32)(pair << 16)); };
  const U32 pair = U32{} + a;
  return flush(flush(flush(acc) + high(pair) * high(b)) + low(pair) * low(b));
#endif
}

// One bf16 of `low` and one of `high` (floats that are exact in bf16) in 32 bits.
inline U32 pairs(F32 low, F32 high) { return ((U32)low >> 16) | ((U32)high & 0xffff0000); }

// The same of any floats computed from bf16, rounded.
inline U32 rounded_pairs(F32 low, F32 high) {
#if GLM4V_NATIVE_BF16 && defined(__AVX512BF16__)
  using Lanes = int16_t __attribute__((vector_size(64)));
  Lanes order;  // low 0, high 0, low 1, ...
  for (int i = 0; i < 32; ++i) order[i] = static_cast<int16_t>(i / 2 + i % 2 * 16);
  return (U32)_mm512_permutexvar_epi16((__m512i)order, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
#else
  return pairs((F32)round_to_upper_of_bf16(low), (F32)round_to_upper_of_bf16(high));
#endif
}

// The first and the second half of a0 b0 a1 b1 ...
inline U32 zip_low(U32 a, U32 b) {
  const I32 i = lanes();
  return __builtin_shuffle(a, b, (i >> 1) + (i & 1) * W);
}
inline U32 zip_high(U32 a, U32 b) {
  const I32 i = lanes();
  return __builtin_shuffle(a, b, (i >> 1) + (i & 1) * W + W / 2);
}

// And the way back: what stood at even and at odd places of two vectors.
inline U32 even_lanes(U32 first, U32 second) { return __builtin_shuffle(first, second, lanes() * 2); }
inline U32 odd_lanes(U32 first, U32 second) { return __builtin_shuffle(first, second, lanes() * 2 + 1); }

// The nearest integer, ties to even; for |x| < 2^22.
inline F32 round(F32 x) {
#if defined(__AVX512F__)
  return (F32)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  return (x + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23: one more bit than a float has behind it
#endif
}

// p * 2^n for integers -250 < n < 250: infinite or 0 past a float's range.
inline F32 scale_by_power(F32 p, F32 n) {
#if defined(__AVX512F__)
  return (F32)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  // in two factors: the exponent of an n past 127 does not fit a float
  const I32 whole = __builtin_convertvector(n, I32);
  const I32 half = whole >> 1;
  return p * (F32)((half + 127) << 23) * (F32)((whole - half + 127) << 23);
#endif
}

// e^x: x = n ln2 + r, a polynomial of degree 6 on |r| <= ln2 / 2 (relative error 3e-7), times 2^n.
inline F32 exp(F32 x) {
  const F32 clamped = min(set1(120.0f), max(set1(-120.0f), x));  // this way round a NaN stays one
  const F32 n = round(clamped * 1.44269504f);
  const F32 r = (clamped - n * 0.693145752f) - n * 1.42860677e-6f;
  F32 p = set1(1.0f / 720);
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return scale_by_power(p, n);
}

// 2^r for |r| <= 1 / 2: the cubic whose greatest relative error, 8e-5, is least.
inline F32 exp2_cubic(F32 r) {
  F32 p = set1(0.0551716691f);
  p = p * r + 0.242611122f;
  p = p * r + 0.693260985f;
  return p * r + 0.999928074f;
}

// 2^x for x <= 0 as a soft-max needs it, 0 below -125. Relative error 3e-7 for a float, 8e-5 for a T of 16 bits, which
// rounds to 4e-3.
template <typename T>
inline F32 exp2_of_negative(F32 x) {
  const F32 low = set1(-125.0f);
#if defined(__AVX512F__)
  const __mmask16 counts = _mm512_cmp_ps_mask((__m512)x, (__m512)low, _CMP_NLT_UQ);  // a NaN counts
  const F32 n = round(x);
  const F32 r = x - n;
#else
  const F32 clamped = max(low, x);            // this way round a NaN stays one
  const F32 shifted = clamped + 12582912.0f;  // leaves the nearest integer in the lowest bits
  const F32 r = clamped - (shifted - 12582912.0f);
#endif
  F32 p;
  if constexpr (sizeof(T) == 2) {
    p = exp2_cubic(r);
  } else {
    p = set1(1.54035304e-4f);  // ln2^k / k!
    p = p * r + 1.33335581e-3f;
    p = p * r + 9.61812911e-3f;
    p = p * r + 5.55041087e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
  }
#if defined(__AVX512F__)
  return (F32)_mm512_maskz_scalef_ps(counts, (__m512)p, (__m512)n);
#else
  const F32 scaled = (F32)((U32)p + ((U32)shifted << 23));  // unsigned: a wrong x > 0 wraps around
  return x < low ? F32{} : scaled;
#endif
}

// Pairs of bf16 as they lie in memory; the first n < W pairs, 0 past them.
inline U32 load_pairs(const bf16* p) {
  U32 v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

inline U32 load_pairs(const bf16* p, int n) {
#if defined(__AVX512F__)
  return (U32)_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << n) - 1), p);
#else
  U32 v{};
  __builtin_memcpy(&v, p, 4 * static_cast<unsigned>(n));
  return v;
#endif
}

inline void store_pairs(bf16* p, U32 v) { __builtin_memcpy(p, &v, sizeof v); }

// The first n <= 2 W elements, 0 past them; not stored there.
inline U32 load_elements(const bf16* p, int n) {
  if (n == 2 * W) return load_pairs(p);
#if defined(__AVX512BW__)
  return (U32)_mm512_maskz_loadu_epi16((1u << n) - 1, p);
#else
  bf16 elements[2 * W] = {};
  for (int i = 0; i < n; ++i) elements[i] = p[i];
  return load_pairs(elements);
#endif
}

inline void store_elements(bf16* p, U32 v, int n) {
  if (n == 2 * W) return store_pairs(p, v);
#if defined(__AVX512BW__)
  _mm512_mask_storeu_epi16(p, (1u << n) - 1, (__m512i)v);
#else
  bf16 elements[2 * W];
  store_pairs(elements, v);
  for (int i = 0; i < n; ++i) p[i] = elements[i];
#endif
}

inline F32 sigmoid(F32 x) { return 1.0f / (1.0f + exp(-x)); }

// With a relative error of 2e-4, for results in bf16, which rounds to 4e-3.
inline F32 rough_sigmoid(F32 x) {
  const F32 power = min(set1(120.0f), max(set1(-120.0f), x * -1.44269504f));  // this way round a NaN stays one
#if defined(__AVX512F__)
  const F32 n = round(power);
  return (F32)_mm512_rcp14_ps((__m512)(1.0f + scale_by_power(exp2_cubic(power - n), n)));
#else
  const F32 shifted = power + 12582912.0f;  // leaves the nearest integer in the lowest bits
  const U32 p = (U32)exp2_cubic(power - (shifted - 12582912.0f));
  const F32 sum = 1.0f + (F32)(p + ((U32)shifted << 23));
#if defined(__AVX2__) && GLM4V_WIDTH == 8
  const F32 estimate = (F32)_mm256_rcp_ps((__m256)sum);  // 12 bits
  return estimate * (2.0f - sum * estimate);
#else
  return 1.0f / sum;
#endif
#endif
}

// Calls f(i, n) for every vector of a row of `length` elements: n == W for whole vectors, fewer for the last.
template <typename Body>
inline __attribute__((always_inline)) void for_vectors(int64_t length, Body&& body) {
  int64_t i = 0;
  for (; i + W <= length; i += W) body(i, W);
  if (i < length) body(i, static_cast<int>(length - i));
}

// The first n bytes as numbers, 0 past them.
inline I32 load_bytes(const uint8_t* p, int n = W) {
  U8 bytes{};
  __builtin_memcpy(&bytes, p, n);
#if defined(__AVX512F__)
  return (I32)_mm512_cvtepu8_epi32((__m128i)bytes);
#elif defined(__AVX2__) && GLM4V_WIDTH == 8
  return (I32)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(__builtin_bit_cast(int64_t, bytes)));
#else
  return (I32)widen_lanes(__builtin_convertvector(bytes, U16));
#endif
}

// Numbers from 0 to 255 to the first n bytes.
inline void store_bytes(uint8_t* p, I32 v, int n) {
#if defined(__AVX512F__)
  const U8 bytes = (U8)_mm512_cvtepi32_epi8((__m512i)v);
#else
  const U8 bytes = __builtin_convertvector(narrow_lanes((U32)v), U8);
#endif
  __builtin_memcpy(p, &bytes, n);
}

// Whole vectors and tails through one name, for bodies of for_vectors.
template <typename T>
inline F32 load_some(const T* p, int n) {
  return n == W ? load(p) : load(p, n);
}

template <typename T>
inline void store_some(T* p, F32 v, int n) {
  if (n == W)
    store(p, v);
  else
    store(p, v, n);
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
