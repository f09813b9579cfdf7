// silu(gate) * up on [rows, 2 * columns], gate first, and its gradient.
#include "kernels.h"
#include "results.h"
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
      for_vectors(a.columns, [&](int64_t i, int n) {
        const F32 g = load_some(gate + i, n);
        results.put(out + i, g * sigmoid<T>(g) * load_some(up + i, n), n);
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
      for_vectors(a.columns, [&](int64_t i, int n) {
        const F32 g = load_some(gate + i, n), grad = load_some(grad_out + i, n);
        const F32 s = sigmoid<T>(g);
        const F32 value = g * s;
        results.put(grad_up + i, grad * value, n);
        results.put(grad_gate + i, grad * load_some(up + i, n) * (s + value - value * s), n);
      });
    }
  });
}

// bf16 is bound by its arithmetic: streaming, by half lines, costs it up to a tenth.
template <typename T>
bool streamed(const Swiglu& a, int64_t columns) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)};
  return sizeof(T) == 4 && streams(a.rows * columns * int64_t{sizeof(T)}, row_bytes, a.out);
}

template <typename T>
void forward(const Swiglu& a) {
  streamed<T>(a, a.columns) ? forward<T, Streamed>(a) : forward<T, Cached>(a);
}

template <typename T>
void backward(const Swiglu& a) {
  streamed<T>(a, 2 * a.columns) ? backward<T, Streamed>(a) : backward<T, Cached>(a);
}

}  // namespace

void swiglu(const Swiglu& a) { a.dtype == DType::f32 ? forward<float>(a) : forward<bf16>(a); }

void swiglu_backward(const Swiglu& a) { a.dtype == DType::f32 ? backward<float>(a) : backward<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
