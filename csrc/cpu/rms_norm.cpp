// rms_norm, add_rms_norm and sandwich_norm: statistics in float32, the normalised value rounded to the activations'
// type before the weight multiplies it (as transformers' Glm4vRMSNorm). A row is read from memory once and stays in
// cache; while its results are written the next one is on its way.
#include <cmath>

#include "kernels.h"
#include "results.h"
#include "rows.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

float inverse_rms(float squares, int64_t columns, float eps) {
  return 1.0f / std::sqrt(squares / static_cast<float>(columns) + eps);
}

// norm(x; weight) before it is stored.
template <typename T>
Lanes<T> normed(Lanes<T> x, float inverse, Lanes<T> weight) {
  return weight * as_stored<T>(x * inverse);
}

template <typename T>
float sum_of_squares(const T* x, int64_t columns) {
  return sum_lanes<T>(columns, [&](int64_t i, int n) {
    const Lanes<T> v = load_lanes(x + i, n);
    return v * v;
  });
}

// `line` keeps h until the end of its row where results are streamed, else that is h itself.
template <typename T, typename Results>
void forward_row(const RmsNorm& a, int64_t row, const Results& results, T* line) {
  const int64_t offset = row * a.columns, next = row + 1 < a.rows ? a.columns : 0;
  const T* x = static_cast<const T*>(a.x) + offset;
  const T* residual = a.residual ? static_cast<const T*>(a.residual) + offset : nullptr;
  const T* post_weight = static_cast<const T*>(a.post_weight);
  const T* weight = static_cast<const T*>(a.weight);
  T* h = static_cast<T*>(a.h) + offset;
  T* out = static_cast<T*>(a.out) + offset;
  if (!Results::kStreams) line = h;

  float squares;
  if (residual) {
    const float post = post_weight ? inverse_rms(sum_of_squares(x, a.columns), a.columns, a.eps) : 0;
    squares = sum_lanes<T>(a.columns, [&](int64_t i, int n) {
      Lanes<T> v = load_lanes(x + i, n);
      if (post_weight) v = as_stored<T>(normed<T>(v, post, load_lanes(post_weight + i, n)));
      v = as_stored<T>(v + load_lanes(residual + i, n));
      store_lanes(line + i, v, n);
      return v * v;
    });
  } else {
    squares = sum_of_squares(x, a.columns);
  }
  const T* input = residual ? line : x;
  const float inverse = inverse_rms(squares, a.columns, a.eps);
  for_lanes<T>(a.columns, [&](int64_t i, int n) {
    prefetch(x + next + i);
    if (residual) prefetch(residual + next + i);
    const Lanes<T> v = load_lanes(input + i, n);
    if (Results::kStreams && residual) results.put(h + i, v, n);
    results.put(out + i, normed<T>(v, inverse, load_lanes(weight + i, n)), n);
  });
}

// Gradient through norm(x; weight) for one row: adds to grad_weight [columns], which is in the order of Lanes<T>, and
// calls emit(i, n, gradient, grad of x).
//   g = grad * weight, n = x * inverse:   grad_x = inverse * (g - n * mean(g * n))
template <typename T, typename Gradient, typename Emit>
inline void backward_norm(const T* x, const T* weight, int64_t columns, float eps, float* grad_weight,
                          Gradient&& gradient, Emit&& emit) {
  Lanes<T> squares{}, products{};
  for_lanes<T>(columns, [&](int64_t i, int n) {
    const Lanes<T> v = load_lanes(x + i, n);
    squares += v * v;
    products += v * gradient(i, n) * load_lanes(weight + i, n);
  });
  const float inverse = inverse_rms(sum(squares), columns, eps);
  const float mean = sum(products) * inverse / static_cast<float>(columns);
  for_lanes<T>(columns, [&](int64_t i, int n) {
    const Lanes<T> grad = gradient(i, n);
    const Lanes<T> normalised = load_lanes(x + i, n) * inverse;
    const Lanes<T> g = grad * load_lanes(weight + i, n);
    store_ordered(grad_weight + i, load_ordered<T>(grad_weight + i, n) + grad * normalised, n);
    emit(i, n, grad, (g - normalised * mean) * inverse);
  });
}

// `line` keeps the gradient of the sandwich's residual until the end of its row where results are streamed.
template <typename T, typename Results>
void backward_row(const RmsNormBackward& a, int64_t row, float* grad_weight, float* grad_post_weight,
                  const Results& results, T* line) {
  const int64_t offset = row * a.columns, next = row + 1 < a.rows ? a.columns : 0;
  const T* grad_out = static_cast<const T*>(a.grad_out) + offset;
  const T* grad_h = a.grad_h ? static_cast<const T*>(a.grad_h) + offset : nullptr;
  const T* h = static_cast<const T*>(a.h) + offset;
  const T* x = static_cast<const T*>(a.x) + offset;
  T* grad_x = static_cast<T*>(a.grad_x) + offset;
  T* grad_residual = a.grad_residual ? static_cast<T*>(a.grad_residual) + offset : nullptr;
  if (!Results::kStreams) line = grad_residual;

  backward_norm(
      h, static_cast<const T*>(a.weight), a.columns, a.eps, grad_weight,
      [&](int64_t i, int n) { return load_lanes(grad_out + i, n); },
      [&](int64_t i, int n, Lanes<T>, Lanes<T> grad) {
        prefetch(grad_out + next + i);
        prefetch(h + next + i);
        if (grad_h) {
          prefetch(grad_h + next + i);
          grad += load_lanes(grad_h + i, n);
        }
        if (grad_residual)
          store_lanes(line + i, grad, n);
        else
          results.put(grad_x + i, grad, n);
      });
  if (!grad_residual) return;
  backward_norm(
      x, static_cast<const T*>(a.post_weight), a.columns, a.eps, grad_post_weight,
      [&](int64_t i, int n) { return load_lanes(line + i, n); },
      [&](int64_t i, int n, Lanes<T> gradient, Lanes<T> grad) {
        prefetch(x + next + i);
        if (Results::kStreams) results.put(grad_residual + i, gradient, n);
        results.put(grad_x + i, grad, n);
      });
}

template <typename T>
void add_partials(const float* partials, int64_t count, int64_t columns, float* total) {
  for_lanes<T>(columns, [&](int64_t i, int n) {
    Lanes<T> all{};
    for (int64_t p = 0; p < count; ++p) all += load_ordered<T>(partials + p * columns + i, n);
    store_natural(total + i, all, n);
  });
}

void clear(float* p, int64_t columns) {
  for_vectors(columns, [&](int64_t i, int n) { store_some(p + i, F32{}, n); });
}

template <typename T, typename Results>
void forward(const RmsNorm& a) {
  parallel_ranges(a.rows, a.rows * a.columns, [&](int64_t first, int64_t last) {
    const Results results;
    Scratch<T> line(Results::kStreams ? a.columns : 0);
    for (int64_t row = first; row < last; ++row) forward_row(a, row, results, line.get());
  });
}

template <typename T>
void forward(const RmsNorm& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)}, count = a.residual ? 2 : 1;
  streams(count * a.rows * row_bytes, row_bytes, a.h, a.out) ? forward<T, Streamed>(a) : forward<T, Cached>(a);
}

template <typename T, typename Results>
void backward(const RmsNormBackward& a) {
  parallel_ranges(a.partials, a.rows * a.columns, [&](int64_t first, int64_t last) {
    const Results results;
    Scratch<T> line(Results::kStreams ? a.columns : 0);
    for (int64_t part = first; part < last; ++part) {
      float* weight = a.partial_weight + part * a.columns;
      float* post_weight = a.post_weight ? a.partial_post_weight + part * a.columns : nullptr;
      clear(weight, a.columns);
      if (post_weight) clear(post_weight, a.columns);
      for (int64_t row = part * a.rows / a.partials; row < (part + 1) * a.rows / a.partials; ++row)
        backward_row(a, row, weight, post_weight, results, line.get());
    }
  });
  add_partials<T>(a.partial_weight, a.partials, a.columns, a.grad_weight);
  if (a.post_weight) add_partials<T>(a.partial_post_weight, a.partials, a.columns, a.grad_post_weight);
}

template <typename T>
void backward(const RmsNormBackward& a) {
  const int64_t row_bytes = a.columns * int64_t{sizeof(T)}, count = a.grad_residual ? 2 : 1;
  streams(count * a.rows * row_bytes, row_bytes, a.grad_x, a.grad_residual) ? backward<T, Streamed>(a)
                                                                            : backward<T, Cached>(a);
}

}  // namespace

void rms_norm(const RmsNorm& a) { a.dtype == DType::f32 ? forward<float>(a) : forward<bf16>(a); }

void rms_norm_backward(const RmsNormBackward& a) { a.dtype == DType::f32 ? backward<float>(a) : backward<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
