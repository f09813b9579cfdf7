// rope_3d, the epilogues of linear_cross_entropy, and sample_tokens.
#include "operators.h"

namespace glm4v {

int64_t expect_heads(const View& q, const View& k, const View& q_out, const View& k_out) {
  expect_float(q);
  expect_shape(q, {-1, -1, -1});
  const int64_t head_dim = q.shape[2];
  require(head_dim > 0 && head_dim <= 256, "q", "has heads of " + std::to_string(head_dim) + "; expected 1 to 256");
  expect_shape(k, {q.shape[0], -1, head_dim});
  expect_shape(q_out, {q.shape[0], q.shape[1], head_dim});
  expect_shape(k_out, {k.shape[0], k.shape[1], head_dim});
  for (const View* v : {&k, &q_out, &k_out}) expect_dtype(*v, q.dtype);
  return head_dim;
}

RopeHeads heads_of(const View& in, const View& out) {
  return {.in = in.data, .out = out.data, .heads = in.shape[1], .token_stride = in.stride[0]};
}

namespace {

void rope_3d(py::object q_, py::object k_, py::object position_ids_, py::object q_out_, py::object k_out_,
             const std::array<int, 3>& sections, int rotary_dim, double theta, bool inverse) {
  const View q = view(q_, "q", 2), k = view(k_, "k", 2), q_out = view(q_out_, "q_out"), k_out = view(k_out_, "k_out"),
             position_ids = view(position_ids_, "position_ids");
  const int64_t head_dim = expect_heads(q, k, q_out, k_out);
  expect_dtype(position_ids, DType::i64);
  expect_shape(position_ids, {3, q.shape[0]});
  require(rotary_dim >= 0 && rotary_dim % 2 == 0 && rotary_dim <= head_dim, "rotary_dim",
          "is " + std::to_string(rotary_dim) + "; expected an even number up to " + std::to_string(head_dim));
  for (int section : sections) require(section >= 0 && section <= 128, "sections", "expected numbers from 0 to 128");
  require(sections[0] + sections[1] + sections[2] == rotary_dim / 2, "sections",
          "add up to " + std::to_string(sections[0] + sections[1] + sections[2]) +
              "; expected rotary_dim / 2 = " + std::to_string(rotary_dim / 2));
  require(theta > 0, "theta", "is not positive");
  run(kernels().rope_3d, {.dtype = q.dtype,
                          .tokens = q.shape[0],
                          .head_dim = static_cast<int>(head_dim),
                          .rotary_dim = rotary_dim,
                          .sections = {sections[0], sections[1], sections[2]},
                          .inverse = inverse,
                          .theta = theta,
                          .position_ids = position_ids.as<const int64_t>(),
                          .queries_and_keys = {heads_of(q, q_out), heads_of(k, k_out)}});
}

constexpr int64_t kIgnore = -100;

int64_t count_targets(py::object targets_, int64_t vocabulary) {
  const View targets = view(targets_, "targets");
  expect_dtype(targets, DType::i64);
  expect_shape(targets, {-1});
  require(vocabulary > 0, "vocabulary", "is " + std::to_string(vocabulary) + "; expected a positive number");
  int64_t count = 0;
  for (int64_t i = 0; i < targets.shape[0]; ++i) {
    const int64_t target = targets.as<const int64_t>()[i];
    if (target != kIgnore && (target < 0 || target >= vocabulary))
      fail("targets", "holds " + std::to_string(target) + " at " + std::to_string(i) + "; expected -100 or 0 to " +
                          std::to_string(vocabulary - 1));
    count += target != kIgnore;
  }
  return count;
}

CrossEntropy block_of_logits(const View& logits, const View& targets, int64_t first, float inverse_temperature) {
  expect_float(logits);
  expect_shape(logits, {-1, -1});
  expect_dtype(targets, DType::i64);
  expect_shape(targets, {logits.shape[0]});
  require(first >= 0, "first", "is " + std::to_string(first) + "; expected 0 or more");
  CrossEntropy a{};
  a.dtype = logits.dtype;
  a.rows = logits.shape[0];
  a.columns = logits.shape[1];
  a.first = first;
  a.inverse_temperature = inverse_temperature;
  a.logits = logits.data;
  a.targets = targets.as<const int64_t>();
  return a;
}

// statistics float32 [4, rows]: running maximum, sum, weighted sum, and the target's logit.
void cross_entropy(py::object logits_, py::object targets_, py::object statistics_, int64_t first,
                   float inverse_temperature) {
  const View logits = view(logits_, "logits"), targets = view(targets_, "targets"),
             statistics = view(statistics_, "statistics", 1);
  CrossEntropy a = block_of_logits(logits, targets, first, inverse_temperature);
  expect_dtype(statistics, DType::f32);
  expect_shape(statistics, {4, a.rows});
  if (a.rows == 0) return;
  float* const at = statistics.as<float>();
  a.maximum = at;
  a.sum = at + statistics.stride[0];
  a.weighted = at + 2 * statistics.stride[0];
  a.picked = at + 3 * statistics.stride[0];
  run(kernels().cross_entropy, a);
}

void cross_entropy_backward(py::object logits_, py::object targets_, py::object log_sum_exp_, py::object entropy_,
                            py::object grad_log_probs_, py::object grad_entropy_, int64_t first,
                            float inverse_temperature) {
  const View logits = view(logits_, "logits"), targets = view(targets_, "targets"),
             log_sum_exp = view(log_sum_exp_, "log_sum_exp"), entropy = view(entropy_, "entropy"),
             grad_log_probs = view(grad_log_probs_, "grad_log_probs"),
             grad_entropy = view(grad_entropy_, "grad_entropy");
  CrossEntropy a = block_of_logits(logits, targets, first, inverse_temperature);
  for (const View* v : {&log_sum_exp, &entropy, &grad_log_probs, &grad_entropy}) {
    expect_dtype(*v, DType::f32);
    expect_shape(*v, {a.rows});
  }
  a.log_sum_exp = log_sum_exp.as<const float>();
  a.entropy = entropy.as<const float>();
  a.grad_log_probs = grad_log_probs.as<const float>();
  a.grad_entropy = grad_entropy.as<const float>();
  run(kernels().cross_entropy_backward, a);
}

// seen, banned: uint8 [rows, columns], a mask may repeat one row, or None.
void sample_tokens(py::object logits_, float temperature, float top_p, float repetition_penalty, py::object seeds_,
                   py::object steps_, py::object seen_, py::object banned_, py::object tokens_, py::object log_probs_) {
  const View logits = view(logits_, "logits"), seeds = view(seeds_, "seeds"), steps = view(steps_, "steps"),
             seen = optional_view(seen_, "seen", 1), banned = optional_view(banned_, "banned", 1),
             tokens = view(tokens_, "tokens"), log_probs = view(log_probs_, "log_probs");
  expect_float(logits);
  expect_shape(logits, {-1, -1});
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  require(columns > 0, "logits", "has no columns; expected a vocabulary");
  for (const View* v : {&seeds, &steps, &tokens}) {
    expect_dtype(*v, DType::i64);
    expect_shape(*v, {rows});
  }
  for (const View* v : {&seen, &banned}) {
    if (!v->given) continue;
    expect_dtype(*v, DType::u8);
    expect_shape(*v, {rows, columns});
  }
  expect_dtype(log_probs, DType::f32);
  expect_shape(log_probs, {rows});
  require(temperature >= 0, "temperature", "is not 0 or more");
  require(top_p > 0 && top_p <= 1, "top_p", "is not above 0 and at most 1");
  require(repetition_penalty > 0, "repetition_penalty", "is not positive");
  run(kernels().sample_tokens, {.dtype = logits.dtype,
                                .rows = rows,
                                .columns = columns,
                                .temperature = temperature,
                                .top_p = top_p,
                                .repetition_penalty = repetition_penalty,
                                .logits = logits.data,
                                .seen = seen.as<const uint8_t>(),
                                .banned = banned.as<const uint8_t>(),
                                .seen_stride = seen.stride[0],
                                .banned_stride = banned.stride[0],
                                .seeds = seeds.as<const int64_t>(),
                                .steps = steps.as<const int64_t>(),
                                .tokens = tokens.as<int64_t>(),
                                .log_probs = log_probs.as<float>()});
}

}  // namespace

void bind_text(py::module_& m) {
  def(m, "rope_3d", rope_3d);
  def(m, "cross_entropy", cross_entropy);
  def(m, "cross_entropy_backward", cross_entropy_backward);
  def(m, "sample_tokens", sample_tokens);
  if constexpr (kReadsValues)
    m.def("count_targets", count_targets, "How many targets are not -100; raises where one is out of the vocabulary.");
}

}  // namespace glm4v
