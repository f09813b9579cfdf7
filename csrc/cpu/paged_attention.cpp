// paged_attention: as packed_attention, keys and values found through the block table. A piece of work is a tile of
// rows of one sequence and key/value head; a decoded token is one short tile.
#include "attention/forward.h"
#include "kernels.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

template <typename T>
void attend_tile(const PagedAttention& a, int64_t sequence, int64_t kv_head, int64_t first_row) {
  const int group = a.heads / a.kv_heads;
  const int64_t first_query = a.cu_seqlens_q[sequence], queries = a.cu_seqlens_q[sequence + 1] - first_query;
  const int64_t left = queries * group - first_row;
  QueryRows<T> rows;
  rows.count = static_cast<int>(left < kQueryRows ? left : kQueryRows);
  int64_t token = first_row / group, in_group = first_row % group;
  for (int r = 0; r < rows.count; ++r) {
    const int64_t query = first_query + token, head = kv_head * group + in_group;
    rows.query[r] = static_cast<const T*>(a.q.data) + query * a.q.token_stride + head * a.head_dim;
    rows.out[r] = static_cast<T*>(a.out) + (query * a.heads + head) * a.head_dim;
    rows.log_sum_exp[r] = nullptr;
    rows.keys[r] = a.key_lengths[sequence] - queries + token + 1;
    if (++in_group == group) in_group = 0, ++token;
  }
  const int32_t* const blocks = a.block_table + sequence * a.max_blocks;
  ForwardTile<T>(a.head_dim, a.scale).attend(rows, [&](int64_t first, int count, const T** key, const T** value) {
    int64_t block = first / a.block_size, place = first % a.block_size;
    for (int j = 0; j < count; ++j) {
      const int64_t offset = ((blocks[block] * a.block_size + place) * a.kv_heads + kv_head) * a.head_dim;
      key[j] = static_cast<const T*>(a.k_cache) + offset;
      value[j] = static_cast<const T*>(a.v_cache) + offset;
      if (++place == a.block_size) place = 0, ++block;
    }
  });
}

template <typename T>
void attend_all(const PagedAttention& a) {
  int64_t work = 0;
  for (int64_t s = 0; s < a.sequences; ++s)
    work += int64_t{a.cu_seqlens_q[s + 1] - a.cu_seqlens_q[s]} * a.key_lengths[s];
  parallel_for_uneven(a.sequences * a.kv_heads, work * a.heads * a.head_dim, [&](int64_t i) {
    const int64_t sequence = i / a.kv_heads;
    const int64_t queries = a.cu_seqlens_q[sequence + 1] - a.cu_seqlens_q[sequence];
    for (int64_t row = 0; row < queries * (a.heads / a.kv_heads); row += kQueryRows)
      attend_tile<T>(a, sequence, i % a.kv_heads, row);
  });
}

}  // namespace

void paged_attention(const PagedAttention& a) { a.dtype == DType::f32 ? attend_all<float>(a) : attend_all<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
