// The next token of each row of logits: penalty, masks, temperature and top-p, then the inverse of the cumulative
// distribution at a counter-based random number. Log-probabilities are of the logits as they came, over the
// temperature. A block of threads has a row and goes over it a few times, which the second-level cache serves: twice,
// and with top-p seven times more. Sums are formed in a fixed order, so that a row gets the same token in any company.
#include "../math/split_mix.h"
#include "constants.h"
#include "device.h"

namespace glm4v::cuda {
namespace {

// A row as it came: its maximum and the sum of e^((z - maximum) * scale); the largest score and its first index.
struct Extremes {
  float top = -INFINITY, total = 0, best = -INFINITY;
  int64_t token = -1;

  DEVICE void move_to(float maximum, float scale) {
    if (total != 0) total *= exp2_fast((top - maximum) * scale);
    top = maximum;
  }

  DEVICE void add(Extremes other, float scale) {
    const float most = other.top > top ? other.top : top;
    move_to(most, scale);
    other.move_to(most, scale);
    total += other.total;
    if (other.token >= 0 && (token < 0 || other.best > best || (other.best == best && other.token < token))) {
      best = other.best;
      token = other.token;
    }
  }
};

template <typename T, int N>
struct Sample {
  static constexpr int kThreads = 512, kMinBlocks = 2, kRegisters = 64, kArch = 80, kWarps = kThreads / 32;
  // digits of a weight's key in the search for the nucleus
  static constexpr int kKeyBits = 30, kDigitBits = 5, kDigits = 1 << kDigitBits;

  struct Shared {
    Extremes extremes[kWarps];
    double part[2][kWarps];
    double mass[kDigits];
    float bins[kDigits][kThreads];  // only with top-p
  };
  static int64_t shared_bytes(const SampleTokens& a) {
    constexpr int64_t kBins = sizeof(float) * kDigits * kThreads;
    return static_cast<int64_t>(sizeof(Shared)) - (nucleus(a) ? 0 : kBins);
  }
  GLM4V_SHARED bool nucleus(const SampleTokens& a) { return a.temperature != 0 && a.top_p < 1; }

  // One row: logits as they came, scores after penalty and bans, weights e^((score - best) / temperature).
  struct Row {
    const T* logits;
    const uint8_t *seen, *banned;
    float penalty, scale;  // scale: to powers of two

    DEVICE Row(const SampleTokens& a, int64_t row)
        : logits(static_cast<const T*>(a.logits) + row * a.columns),
          seen(a.seen ? a.seen + row * a.seen_stride : nullptr),
          banned(a.banned ? a.banned + row * a.banned_stride : nullptr),
          penalty(a.repetition_penalty),
          scale(a.temperature == 0 ? kLog2E : kLog2E / a.temperature) {}

    DEVICE void scores(float (&z)[N], int64_t i) const {
      if (seen) {
        uint32_t is_seen[N];
        flags(is_seen, seen + i);
        for (int j = 0; j < N; ++j)
          if (is_seen[j]) z[j] = z[j] < 0 ? z[j] * penalty : z[j] / penalty;
      }
      if (banned) {
        uint32_t is_banned[N];
        flags(is_banned, banned + i);
        for (int j = 0; j < N; ++j)
          if (is_banned[j]) z[j] = -INFINITY;
      }
    }

    DEVICE void weights(float (&w)[N], int64_t i, float best) const {
      load_constant(w, logits + i);
      scores(w, i);
      for (int j = 0; j < N; ++j) w[j] = exp2_fast((w[j] - best) * scale);
    }

    // As a word where the mask's rows lie so: all sums have the order that the logits' alignment gives them.
    static DEVICE void flags(uint32_t (&flag)[N], const uint8_t* from) {
      if (N == 1 || reinterpret_cast<uintptr_t>(from) % N != 0) {
        for (int j = 0; j < N; ++j) flag[j] = from[j];
      } else if constexpr (N > 1) {
        const Word<N> word = read_constant<N>(from);
        for (int j = 0; j < N; ++j) flag[j] = word.part[j / 4] >> (8 * (j % 4)) & 0xff;
      }
    }
  };

  static DEVICE Extremes extremes(const Row& row, int64_t columns) {
    Extremes mine;
#pragma unroll 2
    for (int64_t i = thread_index() * N; i < columns; i += kThreads * N) {
      float z[N];
      load_constant(z, row.logits + i);
      float most = z[0];
      for (int j = 1; j < N; ++j) most = z[j] > most ? z[j] : most;
      if (most > mine.top) mine.move_to(most, row.scale);
      const float base = mine.top == -INFINITY ? 0.0f : mine.top;
      for (int j = 0; j < N; ++j) mine.total += exp2_fast((z[j] - base) * row.scale);
      row.scores(z, i);
      for (int j = 0; j < N; ++j)
        if (z[j] > mine.best || mine.token < 0) mine.best = z[j], mine.token = i + j;
    }
    for (int mask = 16; mask > 0; mask /= 2)
      mine.add(Extremes{shuffle_xor(mine.top, mask), shuffle_xor(mine.total, mask), shuffle_xor(mine.best, mask),
                        shuffle_xor(mine.token, mask)},
               row.scale);
    Extremes* const of_warp = shared<Shared>(0)->extremes;
    if (lane_index() == 0) of_warp[warp_index()] = mine;
    sync_threads();
    Extremes all;
    for (int warp = 0; warp < kWarps; ++warp) all.add(of_warp[warp], row.scale);
    return all;
  }

  // The first index at which the sum of values(value, index), in order, exceeds target(sum of all); the last one that
  // is positive where rounding leaves none. Each warp adds up its part of what is left, until that is a warp's vectors.
  // Two places for the parts take turns, so that one barrier a level is enough.
  template <typename Values, typename Target>
  static DEVICE int64_t search(int64_t columns, int& turn, Values&& values, Target&& target_of) {
    int64_t begin = 0, end = columns;
    double before = 0, target = 0;
    for (int level = 0;; ++level) {
      const int64_t share = round_up((end - begin + kWarps - 1) / kWarps, N);
      const int64_t from = begin + warp_index() * share, to = least(from + share, end);
      float sum = 0;
      for (int64_t i = from + lane_index() * N; i < to; i += 32 * N) {
        float value[N];
        values(value, i);
        for (int j = 0; j < N; ++j) sum += value[j];
      }
      const double of_warp = warp_sum(static_cast<double>(sum));
      double* const part = shared<Shared>(0)->part[turn++ % 2];
      if (lane_index() == 0) part[warp_index()] = of_warp;
      sync_threads();
      if (level == 0) {
        double total = 0;
        for (int warp = 0; warp < kWarps; ++warp) total += part[warp];
        target = target_of(total);
      }
      int chosen = 0;
      double running = before;
      for (int warp = 0; warp < kWarps; ++warp) {
        if (part[warp] > 0) chosen = warp, before = running;
        running += part[warp];
        if (running > target) break;
      }
      end = least(begin + (chosen + 1) * share, end);
      begin += chosen * share;
      if (share <= 32 * N) break;
    }
    const int64_t i = begin + lane_index() * N;
    float value[N] = {};
    if (i < end) values(value, i);
    double sum = 0;
    for (int j = 0; j < N; ++j) sum += value[j];
    const double up_to = before + sum_up_to(sum);
    const uint32_t beyond = ballot(up_to > target), positive = ballot(sum > 0);
    const int lane = beyond ? lowest_bit(beyond) : positive ? highest_bit(positive) : 0;
    double running = up_to - sum;
    int64_t found = i;
    for (int j = 0; j < N; ++j) {
      if (!(value[j] > 0)) continue;
      found = i + j;
      running += value[j];
      if (running > target) break;
    }
    return shuffle(found, lane);
  }

  // Which weights belong to the smallest set of largest ones that holds `top_p` of all: those with a lower key than
  // `key`, and those with this very key up to index `cut`. Weights are from 0 to 1, keys ascend as they descend.
  struct Nucleus {
    uint32_t key;
    int64_t cut;

    DEVICE bool holds(float weight, int64_t i) const {
      const uint32_t its = key_of(weight);
      return its < key || (its == key && i <= cut);
    }
  };
  static DEVICE uint32_t key_of(float weight) { return float_bits(1.0f) - float_bits(weight < 1.0f ? weight : 1.0f); }

  // The key is found digit by digit. Each thread adds weights up in bins of its own: no atomics, the same sums always.
  static DEVICE Nucleus find_nucleus(const Row& row, int64_t columns, float best, float top_p, int& turn) {
    Shared& s = *shared<Shared>(0);
    uint32_t key = 0;
    double above = 0, limit = 0, found = 0;
    for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
      for (int digit = 0; digit < kDigits; ++digit) s.bins[digit][thread_index()] = 0;
      for (int64_t i = thread_index() * N; i < columns; i += kThreads * N) {
        float w[N];
        row.weights(w, i, best);
        for (int j = 0; j < N; ++j) {
          const uint32_t its = key_of(w[j]) >> shift;
          if (w[j] > 0 && its >> kDigitBits == key) s.bins[its % kDigits][thread_index()] += w[j];
        }
      }
      sync_threads();
      for (int digit = warp_index(); digit < kDigits; digit += kWarps) {
        double mass = 0;
        for (int thread = lane_index(); thread < kThreads; thread += 32) mass += s.bins[digit][thread];
        mass = warp_sum(mass);
        if (lane_index() == 0) s.mass[digit] = mass;
      }
      sync_threads();
      if (shift == kKeyBits - kDigitBits) {
        for (int digit = 0; digit < kDigits; ++digit) limit += s.mass[digit];
        limit *= top_p;
      }
      uint32_t digit = 0;
      for (; digit < kDigits - 1 && above + s.mass[digit] < limit; ++digit) above += s.mass[digit];
      found = s.mass[digit];
      key = key << kDigitBits | digit;
    }
    // of those with this key as many as it takes
    const float weight = bits_float(float_bits(1.0f) - key);
    const double wanted = ceil((limit - above) / weight);
    if (!(wanted < found / weight - 0.5)) return {key, columns};
    const auto has_key = [&](float (&value)[N], int64_t i) {
      row.weights(value, i, best);
      for (int j = 0; j < N; ++j) value[j] = value[j] > 0 && key_of(value[j]) == key ? 1.0f : 0.0f;
    };
    return {key, search(columns, turn, has_key, [=](double) { return wanted - 0.5; })};
  }

  static DEVICE int64_t draw(const SampleTokens& a, const Row& row, float best) {
    const int64_t index = block_index().x;
    const double number = uniform(a.seeds[index], a.steps[index]);
    int turn = 0;
    const auto share = [=](double total) { return number * total; };
    if (!nucleus(a)) {
      const auto weights = [&](float (&w)[N], int64_t i) { row.weights(w, i, best); };
      return search(a.columns, turn, weights, share);
    }
    const Nucleus kept = find_nucleus(row, a.columns, best, a.top_p, turn);
    const auto weights = [&](float (&w)[N], int64_t i) {
      row.weights(w, i, best);
      for (int j = 0; j < N; ++j)
        if (!kept.holds(w[j], i + j)) w[j] = 0;
    };
    return search(a.columns, turn, weights, share);
  }

  static DEVICE void run(const SampleTokens& a) {
    const int64_t index = block_index().x;
    const Row row(a, index);
    const Extremes e = extremes(row, a.columns);
    const int64_t token = a.temperature == 0 ? e.token : draw(a, row, e.best);
    if (thread_index() != 0) return;
    const float natural = a.temperature == 0 ? 1.0f : 1.0f / a.temperature;
    a.tokens[index] = token;
    a.log_probs[index] = (to_float(row.logits[token]) - e.top) * natural - logf(e.total);
  }
};

}  // namespace

Error sample_tokens(const SampleTokens& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int N = 16 / sizeof(T);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({a.rows}, kernel.shared_bytes(a), stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.logits)) return with(Sample<T, N>{});
    return with(Sample<T, 1>{});
  });
}

}  // namespace glm4v::cuda
