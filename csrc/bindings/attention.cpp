// packed_attention, its gradient and paged_attention: every index that a kernel on the CPU will follow is checked here;
// those on a device clamp them.
#include "operators.h"

namespace glm4v {

namespace {

constexpr int64_t kHeadDims = 8, kLargestHeadDim = 256, kMostHeads = 1 << 16;

// CUDA kernels move 16 bytes at a time.
void expect_aligned(const View& x, int64_t stride) {
  if (kReadsValues) return;
  const int64_t size = x.dtype == DType::f32 ? 4 : 2;
  require(reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && stride * size % 16 == 0, x.name,
          "has tokens that do not start at multiples of 16 bytes");
}

TokenHeads tokens_of(const View& x) {
  const int64_t stride = x.shape[0] > 1 ? x.stride[0] : x.shape[1] * x.shape[2];  // of one token it may be anything
  expect_aligned(x, stride);
  return {.data = x.data, .token_stride = stride};
}

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

// workspace uint8: as much as attention_workspace says, or none; the CPU has no use for it.
PackedAttention packed(const View& q, const View& k, const View& v, const View& out, const View& log_sum_exp,
                       const View& cu_seqlens_q, const View& cu_seqlens_k, bool causal, float scale,
                       const View& workspace) {
  expect_grouped(q, "k", k.rank == 3 ? k.shape[1] : 0);
  require(kReadsValues || scale > 0, "scale", "is not positive");
  const int64_t queries = q.shape[0], heads = q.shape[1], head_dim = q.shape[2];
  expect_shape(k, {-1, -1, head_dim});
  expect_shape(v, {k.shape[0], k.shape[1], head_dim});
  expect_shape(out, {queries, heads, head_dim});
  for (const View* x : {&k, &v, &out}) expect_dtype(*x, q.dtype);
  expect_dtype(log_sum_exp, DType::f32);
  expect_shape(log_sum_exp, {heads, queries});
  expect_cu_seqlens(cu_seqlens_q, queries);
  expect_cu_seqlens(cu_seqlens_k, k.shape[0]);
  expect_aligned(out, 0);
  require(cu_seqlens_k.shape[0] == cu_seqlens_q.shape[0], "cu_seqlens_k",
          "has " + std::to_string(cu_seqlens_k.shape[0]) + " entries; expected " +
              std::to_string(cu_seqlens_q.shape[0]) + " as cu_seqlens_q");
  PackedAttention a{.dtype = q.dtype,
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
                    .log_sum_exp = log_sum_exp.as<float>(),
                    .workspace = workspace.data};
  if (!workspace.given) return a;
  expect_dtype(workspace, DType::u8);
  expect_aligned(workspace, 0);
  require(workspace.numel() >= attention_workspace(a), "workspace",
          "has " + std::to_string(workspace.numel()) + " bytes; expected " + std::to_string(attention_workspace(a)));
  return a;
}

void packed_attention(py::object q, py::object k, py::object v, py::object out, py::object log_sum_exp,
                      py::object cu_seqlens_q, py::object cu_seqlens_k, bool causal, float scale,
                      py::object workspace) {
  run(kernels().packed_attention,
      packed(view(q, "q", 2), view(k, "k", 2), view(v, "v", 2), view(out, "out"), view(log_sum_exp, "log_sum_exp"),
             view(cu_seqlens_q, "cu_seqlens_q"), view(cu_seqlens_k, "cu_seqlens_k"), causal, scale,
             optional_view(workspace, "workspace")));
}

// grad like x. Of scratch the CPU's kernels need as much as of x in float32, those on a device for keys and values one
// or several times as much, the parts, or none.
Gradient gradient_of(const View& grad, const View& sum, const View& x, int parts) {
  expect_dtype(grad, x.dtype);
  expect_shape(grad, {x.shape[0], x.shape[1], x.shape[2]});
  expect_aligned(grad, 0);
  if (sum.given) {
    expect_dtype(sum, DType::f32);
    expect_aligned(sum, 0);
    kReadsValues ? expect_shape(sum, {x.shape[0], x.shape[1], x.shape[2]})
                 : expect_shape(sum, {parts, x.shape[0], x.shape[1], x.shape[2]});
  }
  require(!kReadsValues || sum.given, sum.name, "is missing");
  return {.out = grad.data, .sum = sum.as<float>()};
}

// Of the query heads that share a head, each part of the scratch takes some.
int parts_of(const View& sum_k, const View& sum_v, int64_t group) {
  if (kReadsValues || !sum_k.given) return 1;
  require(sum_v.given, sum_v.name, "is missing");
  require(sum_k.rank == 4 && sum_k.shape[0] >= 1 && sum_k.shape[0] <= group, sum_k.name,
          "has shape " + shape_text(sum_k) + "; expected 1 to " + std::to_string(group) + " parts");
  return static_cast<int>(sum_k.shape[0]);
}

void packed_attention_backward(py::object grad_out_, py::object q_, py::object k_, py::object v_, py::object out_,
                               py::object log_sum_exp_, py::object delta_, py::object grad_q, py::object grad_k,
                               py::object grad_v, py::object sum_q, py::object sum_k_, py::object sum_v_,
                               py::object cu_seqlens_q, py::object cu_seqlens_k, bool causal, float scale,
                               py::object workspace) {
  const View grad_out = view(grad_out_, "grad_out", 2), q = view(q_, "q", 2), k = view(k_, "k", 2),
             v = view(v_, "v", 2), log_sum_exp = view(log_sum_exp_, "log_sum_exp"), delta = view(delta_, "delta"),
             sum_k = optional_view(sum_k_, "sum_k"), sum_v = optional_view(sum_v_, "sum_v");
  const PackedAttention forward =
      packed(q, k, v, view(out_, "out"), log_sum_exp, view(cu_seqlens_q, "cu_seqlens_q"),
             view(cu_seqlens_k, "cu_seqlens_k"), causal, scale, optional_view(workspace, "workspace"));
  expect_dtype(grad_out, q.dtype);
  expect_shape(grad_out, {q.shape[0], q.shape[1], q.shape[2]});
  expect_dtype(delta, DType::f32);
  expect_shape(delta, {q.shape[1], q.shape[0]});
  const int parts = parts_of(sum_k, sum_v, forward.heads / forward.kv_heads);
  require(sum_v.given == sum_k.given, sum_v.name, "is given exactly when sum_k is");
  run(kernels().packed_attention_backward,
      {.forward = forward,
       .grad_out = tokens_of(grad_out),
       .delta = delta.as<float>(),
       .parts = parts,
       .q = gradient_of(view(grad_q, "grad_q"), optional_view(sum_q, "sum_q"), q, 0),
       .k = gradient_of(view(grad_k, "grad_k"), sum_k, k, parts),
       .v = gradient_of(view(grad_v, "grad_v"), sum_v, v, parts)});
}

// Every sequence has at least as many keys as queries, and the blocks of its keys are blocks of the cache.
void expect_block_table(const View& block_table, const View& cu_seqlens_q, const View& key_lengths,
                        const View& k_cache) {
  expect_dtype(block_table, DType::i32);
  expect_dtype(key_lengths, DType::i32);
  const int64_t sequences = cu_seqlens_q.shape[0] - 1, blocks = k_cache.shape[0], block_size = k_cache.shape[1];
  expect_shape(block_table, {sequences, -1});
  expect_shape(key_lengths, {sequences});
  if constexpr (!kReadsValues) return;
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

// partial [splits, T, H, D] and log2_sums [splits, T, H]: scratch of kernels on a device that split the keys, or none.
void paged_attention(py::object q_, py::object k_cache_, py::object v_cache_, py::object out_, py::object block_table_,
                     py::object cu_seqlens_q_, py::object key_lengths_, float scale, py::object partial_,
                     py::object log2_sums_) {
  const View q = view(q_, "q", 2), k_cache = view(k_cache_, "k_cache"), v_cache = view(v_cache_, "v_cache"),
             out = view(out_, "out"), block_table = view(block_table_, "block_table"),
             cu_seqlens_q = view(cu_seqlens_q_, "cu_seqlens_q"), key_lengths = view(key_lengths_, "key_lengths"),
             partial = optional_view(partial_, "partial"), log2_sums = optional_view(log2_sums_, "log2_sums");
  expect_grouped(q, "k_cache", k_cache.rank == 4 ? k_cache.shape[2] : 0);
  const int64_t queries = q.shape[0], heads = q.shape[1], head_dim = q.shape[2];
  expect_shape(k_cache, {-1, -1, -1, head_dim});
  require(k_cache.shape[1] > 0, "k_cache", "has blocks of 0 tokens; expected at least 1");
  expect_shape(v_cache, {k_cache.shape[0], k_cache.shape[1], k_cache.shape[2], head_dim});
  expect_shape(out, {queries, heads, head_dim});
  for (const View* x : {&k_cache, &v_cache, &out}) expect_dtype(*x, q.dtype), expect_aligned(*x, 0);
  require(kReadsValues || scale > 0, "scale", "is not positive");
  expect_cu_seqlens(cu_seqlens_q, queries);
  expect_block_table(block_table, cu_seqlens_q, key_lengths, k_cache);
  require(log2_sums.given == partial.given, "log2_sums", "is given exactly when partial is");
  if (partial.given) {
    for (const View* x : {&partial, &log2_sums}) expect_dtype(*x, DType::f32), expect_aligned(*x, 0);
    expect_shape(partial, {-1, queries, heads, head_dim});
    require(partial.shape[0] > 0, "partial", "has no splits");
    expect_shape(log2_sums, {partial.shape[0], queries, heads});
  }
  run(kernels().paged_attention, {.dtype = q.dtype,
                                  .sequences = cu_seqlens_q.shape[0] - 1,
                                  .heads = static_cast<int>(heads),
                                  .kv_heads = static_cast<int>(k_cache.shape[2]),
                                  .head_dim = static_cast<int>(head_dim),
                                  .scale = scale,
                                  .queries = queries,
                                  .blocks = k_cache.shape[0],
                                  .block_size = k_cache.shape[1],
                                  .max_blocks = block_table.shape[1],
                                  .cu_seqlens_q = cu_seqlens_q.as<const int32_t>(),
                                  .key_lengths = key_lengths.as<const int32_t>(),
                                  .block_table = block_table.as<const int32_t>(),
                                  .q = tokens_of(q),
                                  .k_cache = k_cache.data,
                                  .v_cache = v_cache.data,
                                  .out = out.data,
                                  .splits = partial.given ? partial.shape[0] : 1,
                                  .partial = partial.as<float>(),
                                  .log2_sums = log2_sums.as<float>()});
}

}  // namespace

void bind_attention(py::module_& m) {
  def(m, "packed_attention", packed_attention);
  def(m, "packed_attention_backward", packed_attention_backward);
  def(m, "paged_attention", paged_attention);
}

}  // namespace glm4v
