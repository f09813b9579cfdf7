// silu(gate) * up on [rows, 2 * columns], gate first, and its gradient. Bound by memory: every byte is moved once, in
// vectors of 16 where alignment allows.
#include "constants.h"
#include "device.h"

namespace glm4v::cuda {
namespace {

DEVICE float sigmoid(float x) { return reciprocal_fast(1.0f + exp2_fast(-kLog2E * x)); }

template <typename T, int N>
DEVICE void forward(const T* gate, const T* up, T* out) {
  float g[N], u[N];
  load_constant(g, gate);
  load_constant(u, up);
#pragma unroll
  for (int i = 0; i < N; ++i) g[i] *= sigmoid(g[i]) * u[i];
  store(out, g);
}

// d silu(g) / dg = s * (1 + g * (1 - s)) with s = sigmoid(g).
template <typename T, int N>
DEVICE void backward(const T* gate, const T* up, const T* grad_out, T* grad_gate, T* grad_up) {
  float g[N], u[N], grad[N];
  load_constant(g, gate);
  load_constant(u, up);
  load_constant(grad, grad_out);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float s = sigmoid(g[i]), value = g[i] * s;
    g[i] = grad[i] * u[i] * (s + value * (1.0f - s));
    u[i] = grad[i] * value;
  }
  store(grad_gate, g);
  store(grad_up, u);
}

// A block has one piece of a row.
template <typename T, int N, bool kBackward>
struct SwigluKernel {
  static constexpr int kThreads = 256, kMinBlocks = 4, kRegisters = 64, kArch = 80;

  static int64_t pieces(int64_t columns) { return (columns + kThreads * N - 1) / (kThreads * N); }

  static DEVICE void run(const Swiglu& a) {
    const int64_t pieces_of_row = block_count().x / a.rows;
    const int64_t row = block_index().x / pieces_of_row, piece = block_index().x % pieces_of_row;
    const int64_t column = (piece * kThreads + thread_index()) * N;
    if (column >= a.columns) return;
    const T* const gate = static_cast<const T*>(a.gate_up) + 2 * row * a.columns + column;
    if constexpr (kBackward) {
      T* const grad_gate = static_cast<T*>(a.out) + 2 * row * a.columns + column;
      backward<T, N>(gate, gate + a.columns, static_cast<const T*>(a.grad_out) + row * a.columns + column, grad_gate,
                     grad_gate + a.columns);
    } else {
      forward<T, N>(gate, gate + a.columns, static_cast<T*>(a.out) + row * a.columns + column);
    }
  }
};

template <bool kBackward>
Error launch_swiglu(const Swiglu& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      using Kernel = decltype(kernel);
      return launch<Kernel>({a.rows * Kernel::pieces(a.columns)}, 0, stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.gate_up, a.grad_out, a.out))
      return with(SwigluKernel<T, 16 / sizeof(T), kBackward>{});
    return with(SwigluKernel<T, 1, kBackward>{});
  });
}

}  // namespace

Error swiglu(const Swiglu& a, Stream stream) { return launch_swiglu<false>(a, stream); }

Error swiglu_backward(const Swiglu& a, Stream stream) { return launch_swiglu<true>(a, stream); }

}  // namespace glm4v::cuda
