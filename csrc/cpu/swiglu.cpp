// silu(gate) * up on [rows, 2 * columns], gate first, and its gradient.
#include "kernels.h"
#include "results.h"
#include "rows.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

template <typename T, typename Results>
void forward(const Swiglu& a) {
  parallel_ranges(a.rows, a.rows * a.columns * 8, [&](int64_t first, int64_t last) {
    const Results results;
    for (int64_t row = first; row < last; ++row) {
      const T* gate = static_cast<const T*>(a.gate_up) + 2 * row * a.columns;
      const T* up = gate + a.columns;
      T* out = static_cast<T*>(a.out) + row * a.columns;
      for_lanes<T>(a.columns, [&](int64_t i, int n) {
        const Lanes<T> g = load_lanes(gate + i, n);
        results.put(out + i, g * sigmoid<T>(g) * load_lanes(up + i, n), n);
      });
    }
  });
}

// d silu(g) / dg = s * (1 + g * (1 - s)) with s = sigmoid<T>(g).
template <typename T, typename Results>
void backward(const Swiglu& a) {
  parallel_ranges(a.rows, a.rows * a.columns * 8, [&](int64_t first, int64_t last) {
    const Results results;
    for (int64_t row = first; row < last; ++row) {
      const T* gate = static_cast<const T*>(a.gate_up) + 2 * row * a.columns;
      const T* up = gate + a.columns;
      const T* grad_out = static_cast<const T*>(a.grad_out) + row * a.columns;
      T* grad_gate = static_cast<T*>(a.out) + 2 * row * a.columns;
      T* grad_up = grad_gate + a.columns;
      for_lanes<T>(a.columns, [&](int64_t i, int n) {
        const Lanes<T> g = load_lanes(gate + i, n), grad = load_lanes(grad_out + i, n);
        const Lanes<T> s = sigmoid<T>(g);
        const Lanes<T> value = g * s;
        results.put(grad_up + i, grad * value, n);
        results.put(grad_gate + i, grad * load_lanes(up + i, n) * (s + value - value * s), n);
      });
    }
  });
}

template <typename T>
void forward(const Swiglu& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)};
  streams(a.rows * row_bytes, row_bytes, a.out) ? forward<T, Streamed>(a) : forward<T, Cached>(a);
}

template <typename T>
void backward(const Swiglu& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)};
  streams(2 * a.rows * row_bytes, row_bytes, a.out) ? backward<T, Streamed>(a) : backward<T, Cached>(a);
}

}  // namespace

void swiglu(const Swiglu& a) { a.dtype == DType::f32 ? forward<float>(a) : forward<bf16>(a); }

void swiglu_backward(const Swiglu& a) { a.dtype == DType::f32 ? backward<float>(a) : backward<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
