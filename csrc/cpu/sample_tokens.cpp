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

float largest(const float* z, int64_t n) {
  F32 high = set1(-__builtin_inff());
  int64_t i = 0;
  for (; i + W <= n; i += W) high = max(high, load(z + i));
  float m = max(high);
  for (; i < n; ++i) m = z[i] > m ? z[i] : m;
  return m;
}

// z[i] = exp((z[i] - top) * scale); their sum.
double exponentials(float* z, int64_t n, float top, float scale) {
  constexpr int64_t kChunk = 4096;  // summed in float32, the chunks in float64
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = begin + kChunk < n ? begin + kChunk : n;
    F32 s{};
    int64_t i = begin;
    for (; i + W <= end; i += W) {
      const F32 e = exp((load(z + i) - top) * scale);
      store(z + i, e);
      s += e;
    }
    float rest = 0;
    for (; i < end; ++i) rest += z[i] = std::exp((z[i] - top) * scale);
    total += static_cast<double>(sum(s)) + rest;
  }
  return total;
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
    Scratch<float> z(a.columns);
    const auto read = [&] {
      for_vectors(a.columns, [&](int64_t i, int n) { store_some(z.get() + i, load_some(logits + i, n), n); });
    };
    read();
    const float top = largest(z.get(), a.columns);

    float best = top;
    const bool changed = seen || banned;
    if (changed) {
      for (int64_t i = 0; i < a.columns; ++i) {
        const float penalised = z[i] < 0 ? z[i] * a.repetition_penalty : z[i] / a.repetition_penalty;
        z[i] = banned && banned[i] ? -__builtin_inff() : (seen && seen[i] ? penalised : z[i]);
      }
      best = largest(z.get(), a.columns);
    }
    int64_t token = 0;
    double total = 0;
    if (greedy) {
      while (token < a.columns - 1 && z[token] != best) ++token;
    } else {
      total = exponentials(z.get(), a.columns, best, scale);
      if (a.top_p < 1) keep_nucleus(z.get(), a.columns, total, a.top_p);
      token = draw(z.get(), a.columns, uniform(a.seeds[row], a.steps[row]));
    }
    if (changed) read();  // the whole vocabulary, as it came
    if (changed || greedy) total = exponentials(z.get(), a.columns, top, scale);
    a.tokens[row] = token;
    a.log_probs[row] = static_cast<float>((to_float(logits[token]) - top) * scale - std::log(total));
  });
}

}  // namespace

void sample_tokens(const SampleTokens& a) { a.dtype == DType::f32 ? sample<float>(a) : sample<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
