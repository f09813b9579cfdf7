// rms_norm, add_rms_norm and sandwich_norm: statistics in float32, the normalised value rounded to the activations'
// type before the weight multiplies it (as transformers' Glm4vRMSNorm). Bound by memory: a block has a row, which it
// reads once and keeps in shared memory; a thread sees only its own columns there, so that nothing but the sums needs a
// barrier.
#include "device.h"

namespace glm4v::cuda {
namespace {

// Rows and sums of a block stay in shared memory up to here, which every device from sm_80 on has and where two blocks
// fit into one multiprocessor of most; longer rows are read again from global memory.
constexpr int64_t kMaxShared = 96 * 1024;

DEVICE float inverse_rms(float squares, int64_t columns, float eps) {
  return 1.0f / sqrtf(squares / static_cast<float>(columns) + eps);
}

// Calls body(column) for every vector of N columns that is this thread's.
template <int kThreads, int N, typename Body>
DEVICE void for_columns(int64_t columns, Body&& body) {
#pragma unroll 2
  for (int64_t i = thread_index() * N; i < columns; i += kThreads * N) body(i);
}

template <typename T>
DEVICE const T* at(const void* tensor, int64_t offset) {
  return static_cast<const T*>(tensor) + offset;
}
template <typename T>
DEVICE T* at(void* tensor, int64_t offset) {
  return static_cast<T*>(tensor) + offset;
}

// norm(x; weight) as stored, in the place of x.
template <typename T, int N>
DEVICE void normalise(float (&x)[N], float inverse, const T* weight) {
  float w[N];
  load_constant(w, weight);
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = rounded<T>(w[j] * rounded<T>(x[j] * inverse));
}

template <typename T, int N>
struct Forward {
  static constexpr int kThreads = 128, kMinBlocks = 12, kRegisters = 40, kArch = 80;
  static constexpr int kScratch = 2 * kThreads / 32 * sizeof(float);  // two sums

  // Bytes of shared memory; without the row when it is too long.
  GLM4V_SHARED int64_t shared_bytes(int64_t columns) {
    const int64_t row = columns * static_cast<int64_t>(sizeof(T));
    return kScratch + (row > kMaxShared ? 0 : row);
  }

  static DEVICE float inverse_of(float squares, const RmsNorm& a, int turn) {
    float sum[1] = {squares};
    block_sum<kThreads>(sum, shared<float>(turn * kScratch / 2));
    return inverse_rms(sum[0], a.columns, a.eps);
  }

  static DEVICE void run(const RmsNorm& a) {
    const int64_t offset = block_index().x * a.columns;
    const T* const x = at<T>(a.x, offset);
    T* const row = shared_bytes(a.columns) > kScratch ? shared<T>(kScratch) : nullptr;
    const T* input = row ? row : x;  // what the next step normalises
    float squares = 0;

    if (!a.residual || a.post_weight) {
      for_columns<kThreads, N>(a.columns, [&](int64_t i) {
        float value[N];
        load_constant(value, x + i);
        if (row) store(row + i, value);
        for (int j = 0; j < N; ++j) squares += value[j] * value[j];
      });
    }
    if (a.residual) {
      const float post = a.post_weight ? inverse_of(squares, a, 1) : 0;
      squares = 0;
      for_columns<kThreads, N>(a.columns, [&](int64_t i) {
        float value[N], residual[N];
        load_constant(residual, at<T>(a.residual, offset + i));
        if (a.post_weight) {
          load(value, input + i);
          normalise(value, post, at<T>(a.post_weight, i));
        } else {
          load_constant(value, x + i);
        }
        for (int j = 0; j < N; ++j) {
          value[j] = rounded<T>(value[j] + residual[j]);
          squares += value[j] * value[j];
        }
        store(at<T>(a.h, offset + i), value);
        if (row) store(row + i, value);
      });
      if (!row) input = at<T>(a.h, offset);
    }
    const float inverse = inverse_of(squares, a, 0);
    for_columns<kThreads, N>(a.columns, [&](int64_t i) {
      float value[N];
      load(value, input + i);
      normalise(value, inverse, at<T>(a.weight, i));
      store(at<T>(a.out, offset + i), value);
    });
  }
};

// A block has the rows block, block + partials, ...; the weights' gradients gather in its shared memory.
template <typename T, int N>
struct Backward {
  static constexpr int kThreads = 256, kMinBlocks = 3, kRegisters = 80, kArch = 80;
  static constexpr int kScratch = 2 * kThreads / 32 * sizeof(float);  // two sums; two of them take turns

  // The gradients of one norm's weight and its two rows, 16-byte aligned.
  GLM4V_SHARED int64_t norm_bytes(int64_t columns) {
    const int64_t rounded_up = (columns + 7) / 8 * 8;
    return rounded_up * static_cast<int64_t>(sizeof(float) + 2 * sizeof(T));
  }
  GLM4V_SHARED bool fits(int64_t columns, bool sandwich) {
    return 2 * kScratch + (sandwich ? 2 : 1) * norm_bytes(columns) <= kMaxShared;
  }
  static int64_t shared_bytes(int64_t columns, bool sandwich) {
    return 2 * kScratch + (fits(columns, sandwich) ? (sandwich ? 2 : 1) * norm_bytes(columns) : 0);
  }

  // One norm's gradients through a row: x and grad are its input and its output's gradient in global memory.
  struct Norm {
    float* grad_weight;     // of this thread's columns, in shared memory or the partial sums themselves
    T *kept_x, *kept_grad;  // the rows in shared memory, or null
    const T* weight;

    DEVICE void clear(int64_t columns) const {
      const float zero[N] = {};
      for_columns<kThreads, N>(columns, [&](int64_t i) { store(grad_weight + i, zero); });
    }

    // g = grad * weight, n = x * inverse:   grad of x = inverse * (g - n * mean(g * n))
    template <typename Emit>
    DEVICE void row(const T* x, const T* grad, int64_t columns, float eps, float* scratch, Emit&& emit) const {
      float sums[2] = {0, 0};  // of x^2, of x * g
      for_columns<kThreads, N>(columns, [&](int64_t i) {
        float value[N], g[N], w[N];
        load_constant(value, x + i);
        load(g, grad + i);
        load_constant(w, weight + i);
        if (kept_x) store(kept_x + i, value), store(kept_grad + i, g);
        for (int j = 0; j < N; ++j) sums[0] += value[j] * value[j], sums[1] += value[j] * g[j] * w[j];
      });
      block_sum<kThreads>(sums, scratch);
      const float inverse = inverse_rms(sums[0], columns, eps);
      const float mean = sums[1] * inverse / static_cast<float>(columns);
      const T* const from_x = kept_x ? kept_x : x;
      const T* const from_grad = kept_x ? kept_grad : grad;
      for_columns<kThreads, N>(columns, [&](int64_t i) {
        float value[N], g[N], w[N], total[N];
        load(value, from_x + i);
        load(g, from_grad + i);
        load_constant(w, weight + i);
        load(total, grad_weight + i);
        for (int j = 0; j < N; ++j) {
          value[j] *= inverse;
          total[j] += g[j] * value[j];
          g[j] = inverse * (g[j] * w[j] - value[j] * mean);
        }
        store(grad_weight + i, total);
        emit(i, g);
      });
    }
  };

  static DEVICE void run(const RmsNormBackward& a) {
    const int64_t block = block_index().x;
    const bool sandwich = a.post_weight != nullptr, kept = fits(a.columns, sandwich);
    const auto norm_of = [&](int which, float* partial, const void* weight) {
      const int64_t start = 2 * kScratch + which * norm_bytes(a.columns), width = (a.columns + 7) / 8 * 8;
      if (!kept) return Norm{partial + block * a.columns, nullptr, nullptr, at<T>(weight, 0)};
      T* const rows = reinterpret_cast<T*>(shared<float>(start) + width);
      return Norm{shared<float>(start), rows, rows + width, at<T>(weight, 0)};
    };
    const Norm last = norm_of(0, a.partial_weight, a.weight);
    const Norm post = norm_of(sandwich, a.partial_post_weight, a.post_weight);
    last.clear(a.columns);
    if (sandwich) post.clear(a.columns);

    int turn = 0;
    const auto scratch = [&] { return shared<float>((turn++ & 1) * kScratch); };
    for (int64_t row = block; row < a.rows; row += a.partials) {
      const int64_t offset = row * a.columns;
      T* const grad_h = at<T>(sandwich ? a.grad_residual : a.grad_x, offset);
      last.row(at<T>(a.h, offset), at<T>(a.grad_out, offset), a.columns, a.eps, scratch(), [&](int64_t i, auto& grad) {
        if (a.grad_h) {
          float more[N];
          load_constant(more, at<T>(a.grad_h, offset + i));
          for (int j = 0; j < N; ++j) grad[j] += more[j];
        }
        store(grad_h + i, grad);
      });
      if (!sandwich) continue;
      post.row(at<T>(a.x, offset), grad_h, a.columns, a.eps, scratch(),
               [&](int64_t i, auto& grad) { store(at<T>(a.grad_x, offset + i), grad); });
    }
    if (!kept) return;
    write_partial(last, a.partial_weight + block * a.columns, a.columns);
    if (sandwich) write_partial(post, a.partial_post_weight + block * a.columns, a.columns);
  }

  static DEVICE void write_partial(const Norm& norm, float* partial, int64_t columns) {
    for_columns<kThreads, N>(columns, [&](int64_t i) {
      float total[N];
      load(total, norm.grad_weight + i);
      store(partial + i, total);
    });
  }
};

// Adds the partial sums of 32 columns: eight threads a column take every eighth, then the first adds the eight.
struct AddPartials {
  static constexpr int kThreads = 256, kMinBlocks = 4, kRegisters = 40, kArch = 80;

  static DEVICE void run(const RmsNormBackward& a) {
    const bool post = block_index().y == 1;
    const float* const partial = post ? a.partial_post_weight : a.partial_weight;
    float* const total = post ? a.grad_post_weight : a.grad_weight;
    const int64_t column = block_index().x * 32 + lane_index();
    float sum = 0;
    if (column < a.columns)
      for (int64_t p = warp_index(); p < a.partials; p += 8) sum += partial[p * a.columns + column];
    float* const sums = shared<float>(0);
    sums[thread_index()] = sum;
    sync_threads();
    if (warp_index() != 0 || column >= a.columns) return;
    for (int strip = 1; strip < 8; ++strip) sum += sums[strip * 32 + lane_index()];
    total[column] = sum;
  }
};

}  // namespace

Error rms_norm(const RmsNorm& a, Stream stream) {
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({a.columns ? a.rows : 0}, kernel.shared_bytes(a.columns), stream, a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.x, a.residual, a.post_weight, a.weight, a.h,
                      a.out))
      return with(Forward<T, 16 / sizeof(T)>{});
    return with(Forward<T, 1>{});
  });
}

Error rms_norm_backward(const RmsNormBackward& a, Stream stream) {
  const bool sandwich = a.post_weight != nullptr;
  const Error error = for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({a.columns ? a.partials : 0}, kernel.shared_bytes(a.columns, sandwich), stream,
                                      a);
    };
    if (whole_vectors(a.columns * static_cast<int64_t>(sizeof(T)), a.grad_out, a.grad_h, a.x, a.h, a.post_weight,
                      a.weight, a.grad_x, a.grad_residual, a.partial_weight, a.partial_post_weight))
      return with(Backward<T, 16 / sizeof(T)>{});
    return with(Backward<T, 1>{});
  });
  if (error) return error;
  return launch<AddPartials>({(a.columns + 31) / 32, sandwich ? 2 : 1}, AddPartials::kThreads * 4, stream, a);
}

}  // namespace glm4v::cuda
