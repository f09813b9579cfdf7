// linear_cross_entropy and patch_embed with their epilogues fused into the products: in glm4v._cuda alone.
#include "operators.h"

namespace glm4v {

namespace {

constexpr int64_t kMost = int64_t{1} << 30;  // of rows, columns and widths, which CUTLASS counts in int

// A matrix [rows, columns] in bfloat16 whose rows TMA can read, or 16-byte stores write: a free stride between rows.
Rows rows_of(const View& x) {
  expect_dtype(x, DType::bf16);
  expect_shape(x, {-1, -1});
  require(x.shape[0] < kMost && x.shape[1] < kMost, x.name,
          "has shape " + shape_text(x) + "; expected sizes below " + std::to_string(kMost));
  const int64_t stride = x.shape[0] > 1 ? x.stride[0] : (x.shape[1] + 7) / 8 * 8;  // of one row it may be anything
  require(reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && stride % 8 == 0 && stride >= x.shape[1] &&
              stride < (int64_t{1} << 38),
          x.name, "has rows that do not start at multiples of 16 bytes, one after the other");
  return {.data = x.data, .stride = stride};
}

FusedCrossEntropy product_of(const View& x, const View& weight, const View& targets, float inverse_temperature) {
  FusedCrossEntropy a{};
  a.x = rows_of(x);
  a.weight = rows_of(weight);
  expect_shape(weight, {-1, x.shape[1]});
  expect_dtype(targets, DType::i64);
  expect_shape(targets, {x.shape[0]});
  a.width = x.shape[1];
  a.of.dtype = x.dtype;
  a.of.rows = x.shape[0];
  a.of.columns = weight.shape[0];
  a.of.inverse_temperature = inverse_temperature;
  a.of.targets = targets.as<const int64_t>();
  require(a.width > 0, "x", "has no columns");
  require(a.of.columns > 0, "weight", "has no rows; expected a vocabulary");
  return a;
}

// statistics float32 [4, rows] as cross_entropy's, but overwritten; partials float32 [3, tiles, rows] scratch.
void fused_cross_entropy(py::object x_, py::object weight_, py::object targets_, py::object partials_,
                         py::object statistics_, float inverse_temperature) {
  const View x = view(x_, "x", 1), weight = view(weight_, "weight", 1), targets = view(targets_, "targets"),
             partials = view(partials_, "partials"), statistics = view(statistics_, "statistics", 1);
  FusedCrossEntropy a = product_of(x, weight, targets, inverse_temperature);
  require(cuda::fused_tile() > 0, "x", "finds no fused kernels in this build");
  for (const View* v : {&partials, &statistics}) expect_dtype(*v, DType::f32);
  expect_shape(partials, {3, (a.of.columns + cuda::fused_tile() - 1) / cuda::fused_tile(), a.of.rows});
  expect_shape(statistics, {4, a.of.rows});
  if (a.of.rows == 0) return;
  a.partials = partials.as<float>();
  float* const at = statistics.as<float>();
  a.of.maximum = at;
  a.of.sum = at + statistics.stride[0];
  a.of.weighted = at + 2 * statistics.stride[0];
  a.of.picked = at + 3 * statistics.stride[0];
  run(kernels().fused_cross_entropy, a);
}

// gradients bfloat16 of the logits: [rows, columns], the columns filled up to a multiple of 8.
void fused_cross_entropy_backward(py::object x_, py::object weight_, py::object targets_, py::object log_sum_exp_,
                                  py::object entropy_, py::object grad_log_probs_, py::object grad_entropy_,
                                  py::object gradients_, int64_t first, float inverse_temperature) {
  const View x = view(x_, "x", 1), weight = view(weight_, "weight", 1), targets = view(targets_, "targets"),
             log_sum_exp = view(log_sum_exp_, "log_sum_exp"), entropy = view(entropy_, "entropy"),
             grad_log_probs = view(grad_log_probs_, "grad_log_probs"),
             grad_entropy = view(grad_entropy_, "grad_entropy"), gradients = view(gradients_, "gradients");
  FusedCrossEntropy a = product_of(x, weight, targets, inverse_temperature);
  for (const View* v : {&log_sum_exp, &entropy, &grad_log_probs, &grad_entropy}) {
    expect_dtype(*v, DType::f32);
    expect_shape(*v, {a.of.rows});
  }
  require(first >= 0, "first", "is " + std::to_string(first) + "; expected 0 or more");
  expect_shape(gradients, {a.of.rows, (a.of.columns + 7) / 8 * 8});
  rows_of(gradients);
  a.of.first = first;
  a.of.logits = gradients.data;
  a.of.log_sum_exp = log_sum_exp.as<const float>();
  a.of.entropy = entropy.as<const float>();
  a.of.grad_log_probs = grad_log_probs.as<const float>();
  a.of.grad_entropy = grad_entropy.as<const float>();
  run(kernels().fused_cross_entropy_backward, a);
}

// slices bfloat16 [2 * channels, width]: the temporal slices of the weight, eight channels of one after eight of the
// other.
void fused_patch_embed(py::object patches_, py::object slices_, py::object bias_, py::object out_) {
  const View patches = view(patches_, "patches", 1), slices = view(slices_, "slices", 1), bias = view(bias_, "bias"),
             out = view(out_, "out");
  const Rows x = rows_of(patches), weight = rows_of(slices);
  expect_shape(bias, {-1});
  const int64_t channels = bias.shape[0];
  require(channels % 8 == 0, "bias", "has " + std::to_string(channels) + " channels; expected a multiple of 8");
  require(patches.shape[1] > 0, "patches", "has no columns");
  expect_shape(slices, {2 * channels, patches.shape[1]});
  expect_dtype(bias, DType::bf16);
  require(reinterpret_cast<uintptr_t>(bias.data) % 16 == 0, "bias", "does not start at a multiple of 16 bytes");
  rows_of(out);
  expect_shape(out, {patches.shape[0], channels});
  run(kernels().fused_patch_embed, {.patches = patches.shape[0],
                                    .width = patches.shape[1],
                                    .channels = channels,
                                    .x = x,
                                    .slices = weight,
                                    .bias = bias.data,
                                    .out = out.data});
}

}  // namespace

void bind_fused(py::module_& m) {
  m.attr("fused_tile") = cuda::fused_tile();
  def(m, "fused_cross_entropy", fused_cross_entropy);
  def(m, "fused_cross_entropy_backward", fused_cross_entropy_backward);
  def(m, "fused_patch_embed", fused_patch_embed);
}

}  // namespace glm4v
