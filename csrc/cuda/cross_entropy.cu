// The epilogues of linear_cross_entropy on one block of logits: running statistics going forward; going back, the
// logits turn into their gradients in place. Bound by memory: a block of threads has a row and reads it once. Rows
// without a target are not read: which they are only the device knows.
#include "cross_entropy.h"

namespace glm4v::cuda {
namespace {

template <typename T, int N>
struct Forward {
  static constexpr int kThreads = 128, kMinBlocks = 8, kRegisters = 64, kArch = 80, kWarps = kThreads / 32;
  static constexpr int kSharedBytes = kWarps * sizeof(Statistics);

  static DEVICE void run(const CrossEntropy& a) {
    const int64_t row = block_index().x, target = a.targets[row];
    if (target == kIgnore) return;
    const T* const logits = static_cast<const T*>(a.logits) + row * a.columns;
    Statistics seen;
#pragma unroll 2
    for (int64_t i = thread_index() * N; i < a.columns; i += kThreads * N) {
      float z[N];
      load(z, logits + i);
      for (int j = 0; j < N; ++j) z[j] *= a.inverse_temperature;
      seen.add(z);
    }
    seen.add_lanes();
    Statistics* const of_warp = shared<Statistics>(0);
    if (lane_index() == 0) of_warp[warp_index()] = seen;
    sync_threads();
    if (thread_index() != 0) return;
    seen = Statistics{a.maximum[row], a.sum[row], a.weighted[row]};
    for (int warp = 0; warp < kWarps; ++warp) seen.add(of_warp[warp]);
    a.maximum[row] = seen.m;
    a.sum[row] = seen.s;
    a.weighted[row] = seen.u;
    if (target >= a.first && target - a.first < a.columns)
      a.picked[row] = to_float(logits[target - a.first]) * a.inverse_temperature;
  }
};

template <typename T, int N>
struct Backward {
  static constexpr int kThreads = 128, kMinBlocks = 8, kRegisters = 64, kArch = 80, kSharedBytes = 0;

  static DEVICE void run(const CrossEntropy& a) {
    const int64_t row = block_index().x, target = a.targets[row];
    T* const logits = static_cast<T*>(a.logits) + row * a.columns;
    if (target == kIgnore) {
      const float zero[N] = {};
      for (int64_t i = thread_index() * N; i < a.columns; i += kThreads * N) store(logits + i, zero);
      return;
    }
    const RowGradient gradient = RowGradient::of_row(a, row);
    const int64_t here = target - a.first;
#pragma unroll 2
    for (int64_t i = thread_index() * N; i < a.columns; i += kThreads * N) {
      float z[N];
      load(z, logits + i);
      for (int j = 0; j < N; ++j) {
        z[j] *= a.inverse_temperature;
        z[j] = i + j == here ? gradient.of_target(z[j]) : gradient(z[j]);
      }
      store(logits + i, z);
    }
  }
};

template <template <typename, int> typename Kernel>
Error launch_rows(const CrossEntropy& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({a.columns ? a.rows : 0}, decltype(kernel)::kSharedBytes, stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), static_cast<const void*>(a.logits)))
      return with(Kernel<T, 16 / sizeof(T)>{});
    return with(Kernel<T, 1>{});
  });
}

}  // namespace

Error cross_entropy(const CrossEntropy& a, Stream stream) { return launch_rows<Forward>(a, stream); }

Error cross_entropy_backward(const CrossEntropy& a, Stream stream) { return launch_rows<Backward>(a, stream); }

}  // namespace glm4v::cuda
