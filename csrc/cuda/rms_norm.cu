// rms_norm, add_rms_norm and sandwich_norm: statistics in float32, the normalised value rounded to the activations'
// type before the weight multiplies it (as transformers' Glm4vRMSNorm). Bound by memory: a block has a row, which it
// reads once and keeps in shared memory; a thread sees only its own columns there, so that nothing but the sums needs a
// barrier.
#include "ptx.h"

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

// At most 64 KB of them, so that three blocks fit into a multiprocessor of an H200.
constexpr int stages_of(int bytes) { return bytes > 32 * 1024 ? 1 : bytes > 16 * 1024 ? 2 : 4; }

// A block has the rows block, block + partials, ... of up to kThreads * kColumns columns in whole vectors. The next
// kStages of them are on their way to shared memory while it works on one, and the weights' gradients gather in
// registers. An H200's multiprocessor has to have about 32 KB under way; here it has 48 KB or more.
template <typename T, int kBlock, int kColumns, bool kSandwich,
          int kStages = stages_of((kSandwich ? 4 : 3) * kBlock * kColumns * sizeof(T))>
struct StagedBackward {
  static constexpr int kThreads = kBlock, kMinBlocks = kBlock == 256 ? 3 : kSandwich ? 1 : 2, kArch = 80;
  static constexpr int kRegisters = 65536 / (kThreads * kMinBlocks) / 8 * 8;
  static constexpr int N = 16 / sizeof(T), kVectors = kColumns / N;
  static constexpr int kTensors = kSandwich ? 4 : 3, kSums = kSandwich ? 6 : 2;
  static constexpr int kScratch = kSums * kThreads / 32 * sizeof(float);  // two of them take turns

  GLM4V_SHARED int64_t shared_bytes(int64_t columns) {
    return 2 * kScratch + kStages * kTensors * columns * static_cast<int64_t>(sizeof(T));
  }

  // Calls body(vector, column) for this thread's vectors.
  template <typename Body>
  static DEVICE void for_own(int columns, Body&& body) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
      if (const int i = (v * kThreads + thread_index()) * N; i < columns) body(v, i);
  }

  enum Tensor { kH, kGradOut, kGradH, kX };

  static DEVICE T* staged(const RmsNormBackward& a, int stage, int tensor) {
    return shared<T>(2 * kScratch) + (stage * kTensors + tensor) * static_cast<int>(a.columns);
  }

  static DEVICE void fetch(const RmsNormBackward& a, int64_t row, int stage) {
    if (row < a.rows)
      for_own(static_cast<int>(a.columns), [&](int, int i) {
        const int64_t offset = row * a.columns + i;
        copy_async(staged(a, stage, kH) + i, at<T>(a.h, offset));
        copy_async(staged(a, stage, kGradOut) + i, at<T>(a.grad_out, offset));
        if (a.grad_h) copy_async(staged(a, stage, kGradH) + i, at<T>(a.grad_h, offset));
        if constexpr (kSandwich) copy_async(staged(a, stage, kX) + i, at<T>(a.x, offset));
      });
    copy_commit();
  }

  // With g = grad_out * weight and i = 1 / rms(h):
  //   grad of h = grad_h + i * g - h * i^3 * mean(h * g), rounded as stored
  // and of x in the same way from this, which is linear in the sums: so that one barrier a row is enough.
  static DEVICE void run(const RmsNormBackward& a) {
    const int columns = static_cast<int>(a.columns);
    const T *const weight = at<T>(a.weight, 0), *const post_weight = at<T>(a.post_weight, 0);
    float total[kVectors][N] = {}, post_total[kSandwich ? kVectors : 1][N] = {};
    float kept[kSandwich ? 1 : kVectors][N] = {};  // the weight: of two there is no room for it in registers
    if constexpr (!kSandwich) for_own(columns, [&](int v, int i) { load_constant(kept[v], weight + i); });
    const auto weight_of = [&](float (&w)[N], int v, int i) {
      if constexpr (kSandwich) {
        load_constant(w, weight + i);
      } else {
        for (int j = 0; j < N; ++j) w[j] = kept[v][j];
      }
    };
    int64_t row = block_index().x;
    for (int s = 0; s < kStages; ++s) fetch(a, row + s * a.partials, s);
    for (int turn = 0; row < a.rows; ++turn, row += a.partials) {
      const int stage = turn % kStages;
      copy_wait<kStages - 1>();
      float sums[kSums] = {};  // h^2, h * g; x^2, x * p * grad_h, x * p * g, x * p * h with p the post weight
      for_own(columns, [&](int v, int i) {
        float h[N], g[N], w[N], x[N], more[N], p[N];
        load(h, staged(a, stage, kH) + i);
        load(g, staged(a, stage, kGradOut) + i);
        weight_of(w, v, i);
        if constexpr (kSandwich) {
          load(x, staged(a, stage, kX) + i);
          load(more, staged(a, stage, kGradH) + i);
          load_constant(p, post_weight + i);
        }
        for (int j = 0; j < N; ++j) {
          const float weighted = g[j] * w[j];
          sums[0] += h[j] * h[j], sums[1] += h[j] * weighted;
          if constexpr (kSandwich) {
            const float xp = x[j] * p[j];
            sums[2] += x[j] * x[j], sums[3] += xp * more[j], sums[4] += xp * weighted, sums[5] += xp * h[j];
          }
        }
      });
      block_sum<kThreads>(sums, shared<float>(turn % 2 * kScratch));
      const float count = static_cast<float>(columns), inverse = inverse_rms(sums[0], columns, a.eps);
      const float back = sums[1] / count * inverse * inverse * inverse;
      float post_inverse = 0, post_back = 0;
      if constexpr (kSandwich) {
        const float sum = sums[3] + inverse * sums[4] - back * sums[5];
        post_inverse = inverse_rms(sums[2], columns, a.eps);
        post_back = sum / count * post_inverse * post_inverse * post_inverse;
      }
      for_own(columns, [&](int v, int i) {
        const int64_t offset = row * a.columns + i;
        float h[N], g[N], w[N];
        load(h, staged(a, stage, kH) + i);
        load(g, staged(a, stage, kGradOut) + i);
        weight_of(w, v, i);
        for (int j = 0; j < N; ++j) {
          g[j] *= inverse;
          total[v][j] += g[j] * h[j];
          g[j] = g[j] * w[j] - back * h[j];
        }
        if (a.grad_h) {
          float more[N];
          load(more, staged(a, stage, kGradH) + i);
          for (int j = 0; j < N; ++j) g[j] += more[j];
        }
        store(at<T>(kSandwich ? a.grad_residual : a.grad_x, offset), g);
        if constexpr (kSandwich) {
          float x[N], p[N];
          load(x, staged(a, stage, kX) + i);
          load_constant(p, post_weight + i);
          for (int j = 0; j < N; ++j) {
            g[j] = rounded<T>(g[j]) * post_inverse;
            post_total[v][j] += g[j] * x[j];
            g[j] = g[j] * p[j] - post_back * x[j];
          }
          store(at<T>(a.grad_x, offset), g);
        }
      });
      fetch(a, row + kStages * a.partials, stage);
    }
    for_own(columns, [&](int v, int i) {
      const int64_t offset = block_index().x * a.columns + i;
      store(a.partial_weight + offset, total[v]);
      if constexpr (kSandwich) store(a.partial_post_weight + offset, post_total[v]);
    });
  }
};

// The same for rows of any length and alignment: read twice, the weights' gradients gather in the partial sums.
template <typename T, int N>
struct Backward {
  static constexpr int kThreads = 256, kMinBlocks = 3, kRegisters = 80, kArch = 80;
  static constexpr int kScratch = 2 * kThreads / 32 * sizeof(float);  // two sums; two of them take turns

  // One norm's gradients through a row: x and grad are its input and its output's gradient.
  // g = grad * weight, n = x * inverse:   grad of x = inverse * (g - n * mean(g * n))
  template <typename Emit>
  static DEVICE void through(const T* x, const T* grad, const T* weight, float* grad_weight, int64_t columns, float eps,
                             float* scratch, Emit&& emit) {
    float sums[2] = {0, 0};  // of x^2, of x * g
    for_columns<kThreads, N>(columns, [&](int64_t i) {
      float value[N], g[N], w[N];
      load_constant(value, x + i);
      load(g, grad + i);
      load_constant(w, weight + i);
      for (int j = 0; j < N; ++j) sums[0] += value[j] * value[j], sums[1] += value[j] * g[j] * w[j];
    });
    block_sum<kThreads>(sums, scratch);
    const float inverse = inverse_rms(sums[0], columns, eps);
    const float mean = sums[1] * inverse / static_cast<float>(columns);
    for_columns<kThreads, N>(columns, [&](int64_t i) {
      float value[N], g[N], w[N], total[N];
      load_constant(value, x + i);
      load(g, grad + i);
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

  static DEVICE void run(const RmsNormBackward& a) {
    const int64_t block = block_index().x;
    const bool sandwich = a.post_weight != nullptr;
    float* const grad_weight = a.partial_weight + block * a.columns;
    float* const grad_post_weight = a.partial_post_weight + block * a.columns;
    for_columns<kThreads, N>(a.columns, [&](int64_t i) {
      const float zero[N] = {};
      store(grad_weight + i, zero);
      if (sandwich) store(grad_post_weight + i, zero);
    });
    int turn = 0;
    const auto scratch = [&] { return shared<float>((turn++ & 1) * kScratch); };
    for (int64_t row = block; row < a.rows; row += a.partials) {
      const int64_t offset = row * a.columns;
      T* const grad_h = at<T>(sandwich ? a.grad_residual : a.grad_x, offset);
      through(at<T>(a.h, offset), at<T>(a.grad_out, offset), at<T>(a.weight, 0), grad_weight, a.columns, a.eps,
              scratch(), [&](int64_t i, auto& grad) {
                if (a.grad_h) {
                  float more[N];
                  load_constant(more, at<T>(a.grad_h, offset + i));
                  for (int j = 0; j < N; ++j) grad[j] += more[j];
                }
                store(grad_h + i, grad);
              });
      if (!sandwich) continue;
      through(at<T>(a.x, offset), grad_h, at<T>(a.post_weight, 0), grad_post_weight, a.columns, a.eps, scratch(),
              [&](int64_t i, auto& grad) { store(at<T>(a.grad_x, offset + i), grad); });
    }
  }
};

// Adds the partial sums of 32 columns: each of 32 warps takes every 32nd, then a warp adds the sums of one column.
struct AddPartials {
  static constexpr int kThreads = 1024, kMinBlocks = 1, kRegisters = 40, kArch = 80;
  static constexpr int kStride = 33;  // so that neither rows nor columns meet in one bank

  static DEVICE void run(const RmsNormBackward& a) {
    const bool post = block_index().y == 1;
    const float* const partial = post ? a.partial_post_weight : a.partial_weight;
    float* const total = post ? a.grad_post_weight : a.grad_weight;
    const int64_t first = block_index().x * 32, column = first + lane_index();
    float sum = 0;
    if (column < a.columns) {
#pragma unroll 8
      for (int64_t p = warp_index(); p < a.partials; p += 32) sum += partial[p * a.columns + column];
    }
    float* const sums = shared<float>(0);
    sums[warp_index() * kStride + lane_index()] = sum;
    sync_threads();
    sum = warp_sum(sums[lane_index() * kStride + warp_index()]);
    if (lane_index() == 0 && first + warp_index() < a.columns) total[first + warp_index()] = sum;
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
  const Blocks blocks{a.columns ? a.partials : 0};
  const bool vectors =
      whole_vectors(a.columns * (a.dtype == DType::f32 ? 4 : 2), a.grad_out, a.grad_h, a.x, a.h, a.post_weight,
                    a.weight, a.grad_x, a.grad_residual, a.partial_weight, a.partial_post_weight);
  const Error error = for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto staged = [&](auto kernel) {
      return launch<decltype(kernel)>(blocks, kernel.shared_bytes(a.columns), stream, a);
    };
    const auto any = [&](auto kernel) { return launch<decltype(kernel)>(blocks, 2 * kernel.kScratch, stream, a); };
    const auto with = [&](auto is_sandwich) {
      constexpr bool kSandwich = is_sandwich;
      if (!vectors) return any(Backward<T, 1>{});
      if (a.columns <= 2048) return staged(StagedBackward<T, 256, 8, kSandwich>{});
      if constexpr (kSandwich && sizeof(T) == 4) {
        // two stages of four float rows leave room for one block: a large one
        if (a.columns <= 4096 && device_arch() == 90) return staged(StagedBackward<T, 512, 8, kSandwich, 2>{});
        if (a.columns <= 4096) return staged(StagedBackward<T, 512, 8, kSandwich>{});
      } else {
        if (a.columns <= 4096) return staged(StagedBackward<T, 256, 16, kSandwich>{});
        if (a.columns <= 8192) return staged(StagedBackward<T, 512, 16, kSandwich>{});
      }
      return any(Backward<T, 16 / sizeof(T)>{});
    };
    return sandwich ? with(std::true_type{}) : with(std::false_type{});
  });
  if (error) return error;
  return launch<AddPartials>({(a.columns + 31) / 32, sandwich ? 2 : 1}, 32 * AddPartials::kStride * 4, stream, a);
}

}  // namespace glm4v::cuda
