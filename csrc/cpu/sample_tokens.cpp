// The next token of each row of logits: penalty, masks, temperature and top-p, then the inverse of the cumulative
// distribution at a counter-based random number. Log-probabilities are of the logits as they came, over the
// temperature.
#include <cmath>

#include "../math/split_mix.h"
#include "kernels.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

inline uint32_t bits_of(float w) { return __builtin_bit_cast(uint32_t, w); }

// Vectors of a row of logits; lanes past n are -infinity.
template <typename T>
struct Raw {
  F32 operator()(int64_t i, int n) const {
    const F32 v = load_some(logits + i, n);
    return n == W ? v : (lanes() < n ? v : set1(-__builtin_inff()));
  }

  const T* logits;
};

// The same after penalty and bans.
template <typename T>
struct Adjusted {
  F32 operator()(int64_t i, int n) const {
    F32 v = raw(i, n);
    if (seen) v = load_bytes(seen + i, n) != 0 ? (v < 0 ? v * penalty : v / penalty) : v;
    if (banned) v = load_bytes(banned + i, n) != 0 ? set1(-__builtin_inff()) : v;
    return v;
  }

  Raw<T> raw;
  const uint8_t *seen, *banned;  // null: none
  float penalty;
};

template <typename Row>
float largest(const Row& row, int64_t length) {
  F32 high = set1(-__builtin_inff());
  for_vectors(length, [&](int64_t i, int n) { high = max(high, row(i, n)); });
  return max(high);
}

// The sum of exp((row - top) * scale), each of which goes to put(i, n, exponential).
template <typename Row, typename Put>
double exponentials(const Row& row, int64_t length, float top, float scale, Put&& put) {
  constexpr int64_t kChunk = 4096;  // summed in float32, the chunks in float64
  double total = 0;
  for (int64_t begin = 0; begin < length; begin += kChunk) {
    F32 s{};
    for_vectors(least(length - begin, kChunk), [&](int64_t i, int n) {
      const F32 e = exp((row(begin + i, n) - top) * scale);
      put(begin + i, n, e);
      s += n == W ? e : (lanes() < n ? e : F32{});
    });
    total += static_cast<double>(sum(s));
  }
  return total;
}

// The first place of `value`; the last one where it is nowhere.
template <typename Row>
int64_t find(const Row& row, int64_t length, float value) {
  int64_t i = 0;
  while (i + W < length && !any(row(i, W) == value)) i += W;
  const F32 here = row(i, static_cast<int>(least(length - i, W)));
  int64_t place = i;
  while (place < length - 1 && here[place - i] != value) ++place;
  return place;
}

// Zeroes all but the smallest set of largest weights that holds `share` of their total; of equal weights the first
// stay. The smallest weight that stays is found digit by digit: weights are ordered like their bits.
void keep_nucleus(float* w, int64_t n, double total, float share) {
  const double limit = share * total;
  double above = 0;  // mass of weights larger than any with the digits found so far
  uint32_t found = 0;
  double mass[2048];
  for (int shift = 20; shift >= 0; shift -= 10) {
    const int digits = shift == 20 ? 11 : 10;
    const uint32_t count = 1u << digits;
    for (uint32_t d = 0; d < count; ++d) mass[d] = 0;
    for (int64_t i = 0; i < n; ++i)
      if (w[i] > 0 && bits_of(w[i]) >> shift >> digits == found) mass[(bits_of(w[i]) >> shift) & (count - 1)] += w[i];
    uint32_t digit = count - 1;
    for (; digit > 0 && above + mass[digit] < limit; --digit) above += mass[digit];
    found = found << digits | digit;
  }
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = bits_of(w[i]);
    if (bits > found) continue;
    if (bits == found && above < limit)
      above += w[i];
    else
      w[i] = 0;
  }
}

// The first index whose cumulative weight exceeds number * total; never one of weight 0, unless all are 0 or not
// numbers.
int64_t draw(const float* w, int64_t n, double number) {
  constexpr int64_t kChunk = 256;
  double total = 0;
  const auto chunk_sum = [&](int64_t begin) {
    F32 s{};
    const int64_t count = n - begin < kChunk ? n - begin : kChunk;
    for_vectors(count, [&](int64_t i, int lanes) { s += load_some(w + begin + i, lanes); });
    return static_cast<double>(sum(s));
  };
  for (int64_t begin = 0; begin < n; begin += kChunk) total += chunk_sum(begin);
  const double target = number * total;
  double before = 0;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const double here = chunk_sum(begin);
    if (!(before + here > target)) {
      before += here;
      continue;
    }
    int64_t last = n - 1;
    for (int64_t i = begin; i < n && i < begin + kChunk; ++i) {
      if (!(w[i] > 0)) continue;
      before += w[i];
      last = i;
      if (before > target) break;
    }
    return last;
  }
  return n - 1;
}

template <typename T>
void sample(const SampleTokens& a) {
  const bool greedy = a.temperature == 0;
  const float scale = greedy ? 1.0f : 1.0f / a.temperature;
  parallel_for(a.rows, a.rows * a.columns * 32, [&](int64_t row) {
    const T* logits = static_cast<const T*>(a.logits) + row * a.columns;
    const uint8_t* seen = a.seen ? a.seen + row * a.seen_stride : nullptr;
    const uint8_t* banned = a.banned ? a.banned + row * a.banned_stride : nullptr;
    const Raw<T> raw{logits};
    const Adjusted<T> adjusted{raw, seen, banned, a.repetition_penalty};
    const bool changed = seen || banned;
    const float top = largest(raw, a.columns), best = changed ? largest(adjusted, a.columns) : top;

    int64_t token;
    double total = 0;
    if (greedy) {
      token = find(adjusted, a.columns, best);
    } else {
      Scratch<float> weights(a.columns);
      total = exponentials(adjusted, a.columns, best, scale,
                           [&](int64_t i, int n, F32 e) { store_some(weights.get() + i, e, n); });
      if (a.top_p < 1) keep_nucleus(weights.get(), a.columns, total, a.top_p);
      token = draw(weights.get(), a.columns, uniform(a.seeds[row], a.steps[row]));
    }
    if (changed || greedy)  // of the whole vocabulary, as it came
      total = exponentials(raw, a.columns, top, scale, [](int64_t, int, F32) {});
    a.tokens[row] = token;
    a.log_probs[row] = static_cast<float>((to_float(logits[token]) - top) * scale - std::log(total));
  });
}

}  // namespace

void sample_tokens(const SampleTokens& a) { a.dtype == DType::f32 ? sample<float>(a) : sample<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
