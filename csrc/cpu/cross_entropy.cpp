// The epilogues of linear_cross_entropy on one block of logits: running statistics going forward; going back, the
// logits turn into their gradients in place. With z the logits over the temperature, p = softmax(z), H its entropy:
//   d log p_t / dz_j = [j = t] - p_j        dH / dz_j = -p_j (log p_j + H)
#include <cmath>

#include "kernels.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

// The column of the row's target, -1 where another block holds it.
inline int64_t target_in_block(const CrossEntropy& a, int64_t row) {
  const int64_t target = a.targets[row];
  return target >= a.first && target - a.first < a.columns ? target - a.first : -1;
}

// For a row, over the vocabulary seen so far: m = max z, s = sum e^(z - m), u = sum e^(z - m) (z - m).
template <typename T>
void forward(const CrossEntropy& a) {
  parallel_for(a.rows, a.rows * a.columns * 16, [&](int64_t row) {
    const T* logits = static_cast<const T*>(a.logits) + row * a.columns;
    F32 high = set1(-__builtin_inff());
    int64_t i = 0;
    for (; i + W <= a.columns; i += W) high = max(high, load(logits + i));
    float block_max = max(high);
    for (; i < a.columns; ++i) block_max = to_float(logits[i]) > block_max ? to_float(logits[i]) : block_max;

    const float before = a.maximum[row], m = std::fmax(before, block_max * a.inverse_temperature);
    F32 s{}, u{};
    for (i = 0; i + W <= a.columns; i += W) {
      const F32 z = load(logits + i) * a.inverse_temperature - m;
      const F32 e = exp(z);
      s += e;
      u += e * z;
    }
    float sum_s = sum(s), sum_u = sum(u);
    for (; i < a.columns; ++i) {
      const float z = to_float(logits[i]) * a.inverse_temperature - m;
      const float e = std::exp(z);
      sum_s += e;
      sum_u += e * z;
    }
    if (a.sum[row] > 0) {  // carry what was seen before over to the new maximum
      const float scale = std::exp(before - m);
      sum_u += scale * (a.weighted[row] + a.sum[row] * (before - m));
      sum_s += scale * a.sum[row];
    }
    a.maximum[row] = m;
    a.sum[row] = sum_s;
    a.weighted[row] = sum_u;
    if (const int64_t target = target_in_block(a, row); target >= 0)
      a.picked[row] = to_float(logits[target]) * a.inverse_temperature;
  });
}

template <typename T>
void backward(const CrossEntropy& a) {
  parallel_for(a.rows, a.rows * a.columns * 16, [&](int64_t row) {
    T* logits = static_cast<T*>(a.logits) + row * a.columns;
    const float lse = a.log_sum_exp[row], entropy = a.entropy[row];
    const float of_log_prob = a.grad_log_probs[row] * a.inverse_temperature;
    const float of_entropy = a.grad_entropy[row] * a.inverse_temperature;
    const int64_t target = target_in_block(a, row);
    const bool here = target >= 0;
    // the target's gradient is formed apart, before the logits are overwritten
    const float log_p = here ? to_float(logits[target]) * a.inverse_temperature - lse : 0;
    const float target_grad = of_log_prob * -std::expm1(log_p) - of_entropy * std::exp(log_p) * (log_p + entropy);
    for_vectors(a.columns, [&](int64_t i, int n) {
      const F32 l = load_some(logits + i, n) * a.inverse_temperature - lse;
      store_some(logits + i, -exp(l) * (of_log_prob + of_entropy * (l + entropy)), n);
    });
    if (here) {
      if constexpr (sizeof(T) == 4)
        logits[target] = target_grad;
      else
        store(logits + target, set1(target_grad), 1);
    }
  });
}

}  // namespace

void cross_entropy(const CrossEntropy& a) { a.dtype == DType::f32 ? forward<float>(a) : forward<bf16>(a); }

void cross_entropy_backward(const CrossEntropy& a) { a.dtype == DType::f32 ? backward<float>(a) : backward<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
