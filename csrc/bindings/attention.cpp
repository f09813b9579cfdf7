// packed_attention, its gradient and paged_attention: every index a kernel will follow is checked here.
#include "operators.h"

namespace glm4v {

namespace {

constexpr int64_t kHeadDims = 8, kLargestHeadDim = 256, kMostHeads = 1 << 16;

TokenHeads tokens_of(const View& x) { return {.data = x.data, .token_stride = x.stride[0]}; }

// q [T, H, D] and k [T, Hkv, D] (or the cache's) fit each other: H a multiple of Hkv, D a multiple of 8 up to 256.
void expect_grouped(const View& q, const char* kv_name, int64_t kv_heads) {
  expect_float(q);
  expect_shape(q, {-1, -1, -1});
  const int64_t heads = q.shape[1], head_dim = q.shape[2];
  require(head_dim > 0 && head_dim % kHeadDims == 0 && head_dim <= kLargestHeadDim, "q",
          "has heads of " + std::to_string(head_dim) + "; expected a multiple of 8 up to 256");
  require(heads <= kMostHeads, "q", "has " + std::to_string(heads) + " heads; expected at most 65536");
  require(kv_heads > 0 && heads > 0 && heads % kv_heads == 0, kv_name,
          "has " + std::to_string(kv_heads) + " heads; expected a divisor of the " + std::to_string(heads) + " of q");
}

PackedAttention packed(const View& q, const View& k, const View& v, const View& out, const View& log_sum_exp,
                       const View& cu_seqlens_q, const View& cu_seqlens_k, bool causal, float scale) {
  expect_grouped(q, "k", k.rank == 3 ? k.shape[1] : 0);
  const int64_t queries = q.shape[0], heads = q.shape[1], head_dim = q.shape[2];
  expect_shape(k, {-1, -1, head_dim});
  expect_shape(v, {k.shape[0], k.shape[1], head_dim});
  expect_shape(out, {queries, heads, head_dim});
  for (const View* x : {&k, &v, &out}) expect_dtype(*x, q.dtype);
  expect_dtype(log_sum_exp, DType::f32);
  expect_shape(log_sum_exp, {heads, queries});
  expect_cu_seqlens(cu_seqlens_q, queries);
  expect_cu_seqlens(cu_seqlens_k, k.shape[0]);
  require(cu_seqlens_k.shape[0] == cu_seqlens_q.shape[0], "cu_seqlens_k",
          "has " + std::to_string(cu_seqlens_k.shape[0]) + " entries; expected " +
              std::to_string(cu_seqlens_q.shape[0]) + " as cu_seqlens_q");
  return {.dtype = q.dtype,
          .sequences = cu_seqlens_q.shape[0] - 1,
          .queries = queries,
          .keys = k.shape[0],
          .heads = static_cast<int>(heads),
          .kv_heads = static_cast<int>(k.shape[1]),
          .head_dim = static_cast<int>(head_dim),
          .causal = causal,
          .scale = scale,
          .cu_seqlens_q = cu_seqlens_q.as<const int32_t>(),
          .cu_seqlens_k = cu_seqlens_k.as<const int32_t>(),
          .q = tokens_of(q),
          .k = tokens_of(k),
          .v = tokens_of(v),
          .out = out.data,
          .log_sum_exp = log_sum_exp.as<float>()};
}

void packed_attention(py::object q, py::object k, py::object v, py::object out, py::object log_sum_exp,
                      py::object cu_seqlens_q, py::object cu_seqlens_k, bool causal, float scale) {
  run(kernels().packed_attention,
      packed(view(q, "q", 2), view(k, "k", 2), view(v, "v", 2), view(out, "out"), view(log_sum_exp, "log_sum_exp"),
             view(cu_seqlens_q, "cu_seqlens_q"), view(cu_seqlens_k, "cu_seqlens_k"), causal, scale));
}

// grad like x; sum as well, in float32.
Gradient gradient_of(const View& grad, const View& sum, const View& x) {
  expect_dtype(grad, x.dtype);
  expect_dtype(sum, DType::f32);
  for (const View* v : {&grad, &sum}) expect_shape(*v, {x.shape[0], x.shape[1], x.shape[2]});
  return {.out = grad.data, .sum = sum.as<float>()};
}

void packed_attention_backward(py::object grad_out_, py::object q_, py::object k_, py::object v_, py::object out,
                               py::object log_sum_exp_, py::object delta_, py::object grad_q, py::object grad_k,
                               py::object grad_v, py::object sum_q, py::object sum_k, py::object sum_v,
                               py::object cu_seqlens_q, py::object cu_seqlens_k, bool causal, float scale) {
  const View grad_out = view(grad_out_, "grad_out", 2), q = view(q_, "q", 2), k = view(k_, "k", 2),
             v = view(v_, "v", 2), log_sum_exp = view(log_sum_exp_, "log_sum_exp"), delta = view(delta_, "delta");
  const PackedAttention forward = packed(q, k, v, view(out, "out"), log_sum_exp, view(cu_seqlens_q, "cu_seqlens_q"),
                                         view(cu_seqlens_k, "cu_seqlens_k"), causal, scale);
  expect_dtype(grad_out, q.dtype);
  expect_shape(grad_out, {q.shape[0], q.shape[1], q.shape[2]});
  expect_dtype(delta, DType::f32);
  expect_shape(delta, {q.shape[1], q.shape[0]});
  run(kernels().packed_attention_backward, {.forward = forward,
                                            .grad_out = tokens_of(grad_out),
                                            .delta = delta.as<float>(),
                                            .q = gradient_of(view(grad_q, "grad_q"), view(sum_q, "sum_q"), q),
                                            .k = gradient_of(view(grad_k, "grad_k"), view(sum_k, "sum_k"), k),
                                            .v = gradient_of(view(grad_v, "grad_v"), view(sum_v, "sum_v"), v)});
}

// Every sequence has at least as many keys as queries, and the blocks of its keys are blocks of the cache.
void expect_block_table(const View& block_table, const View& cu_seqlens_q, const View& key_lengths,
                        const View& k_cache) {
  expect_dtype(block_table, DType::i32);
  expect_dtype(key_lengths, DType::i32);
  const int64_t sequences = cu_seqlens_q.shape[0] - 1, blocks = k_cache.shape[0], block_size = k_cache.shape[1];
  expect_shape(block_table, {sequences, -1});
  expect_shape(key_lengths, {sequences});
  const int64_t room = block_table.shape[1] * block_size;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t queries = cu_seqlens_q.as<const int32_t>()[s + 1] - cu_seqlens_q.as<const int32_t>()[s];
    const int64_t keys = key_lengths.as<const int32_t>()[s];
    if (keys < queries || keys > room)
      fail("key_lengths", "holds " + std::to_string(keys) + " at " + std::to_string(s) + "; expected from " +
                              std::to_string(queries) + ", the queries, to " + std::to_string(room) +
                              ", the room of the block table");
    for (int64_t i = 0; i * block_size < keys; ++i) {
      const int64_t block = block_table.as<const int32_t>()[s * block_table.shape[1] + i];
      if (block < 0 || block >= blocks)
        fail("block_table", "holds " + std::to_string(block) + " at [" + std::to_string(s) + ", " + std::to_string(i) +
                                "]; expected 0 to " + std::to_string(blocks - 1));
    }
  }
}

void paged_attention(py::object q_, py::object k_cache_, py::object v_cache_, py::object out_, py::object block_table_,
                     py::object cu_seqlens_q_, py::object key_lengths_, float scale) {
  const View q = view(q_, "q", 2), k_cache = view(k_cache_, "k_cache"), v_cache = view(v_cache_, "v_cache"),
             out = view(out_, "out"), block_table = view(block_table_, "block_table"),
             cu_seqlens_q = view(cu_seqlens_q_, "cu_seqlens_q"), key_lengths = view(key_lengths_, "key_lengths");
  expect_grouped(q, "k_cache", k_cache.rank == 4 ? k_cache.shape[2] : 0);
  expect_shape(k_cache, {-1, -1, -1, q.shape[2]});
  require(k_cache.shape[1] > 0, "k_cache", "has blocks of 0 tokens; expected at least 1");
  expect_shape(v_cache, {k_cache.shape[0], k_cache.shape[1], k_cache.shape[2], q.shape[2]});
  expect_shape(out, {q.shape[0], q.shape[1], q.shape[2]});
  for (const View* x : {&k_cache, &v_cache, &out}) expect_dtype(*x, q.dtype);
  expect_cu_seqlens(cu_seqlens_q, q.shape[0]);
  expect_block_table(block_table, cu_seqlens_q, key_lengths, k_cache);
  run(kernels().paged_attention, {.dtype = q.dtype,
                                  .sequences = cu_seqlens_q.shape[0] - 1,
                                  .heads = static_cast<int>(q.shape[1]),
                                  .kv_heads = static_cast<int>(k_cache.shape[2]),
                                  .head_dim = static_cast<int>(q.shape[2]),
                                  .scale = scale,
                                  .block_size = k_cache.shape[1],
                                  .max_blocks = block_table.shape[1],
                                  .cu_seqlens_q = cu_seqlens_q.as<const int32_t>(),
                                  .key_lengths = key_lengths.as<const int32_t>(),
                                  .block_table = block_table.as<const int32_t>(),
                                  .q = tokens_of(q),
                                  .k_cache = k_cache.data,
                                  .v_cache = v_cache.data,
                                  .out = out.data});
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("packed_attention", packed_attention);
  m.def("packed_attention_backward", packed_attention_backward);
  m.def("paged_attention", paged_attention);
}

}  // namespace glm4v
