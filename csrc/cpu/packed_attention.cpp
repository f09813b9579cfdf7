// packed_attention, forward: a piece of work is a tile of rows of one sequence and key/value head. The query heads of a
// group are rows of one tile, token by token, and share its keys.
#include "attention/forward.h"
#include "kernels.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

struct Piece {
  int32_t sequence, kv_head;
  int64_t first_row;
};

int64_t tiles_of(const PackedAttention& a, int64_t sequence) {
  const int64_t rows = int64_t{a.cu_seqlens_q[sequence + 1] - a.cu_seqlens_q[sequence]} * (a.heads / a.kv_heads);
  return (rows + kQueryRows - 1) / kQueryRows;
}

template <typename T>
void attend_piece(const PackedAttention& a, const Piece& piece) {
  const int group = a.heads / a.kv_heads;
  const int64_t first_query = a.cu_seqlens_q[piece.sequence], first_key = a.cu_seqlens_k[piece.sequence];
  const int64_t queries = a.cu_seqlens_q[piece.sequence + 1] - first_query;
  const int64_t keys = a.cu_seqlens_k[piece.sequence + 1] - first_key;
  const int64_t left = queries * group - piece.first_row;

  QueryRows<T> rows;
  rows.count = static_cast<int>(left < kQueryRows ? left : kQueryRows);
  int64_t token = piece.first_row / group, in_group = piece.first_row % group;
  for (int r = 0; r < rows.count; ++r) {
    const int64_t query = first_query + token, head = piece.kv_head * group + in_group;
    rows.query[r] = static_cast<const T*>(a.q.data) + query * a.q.token_stride + head * a.head_dim;
    rows.out[r] = static_cast<T*>(a.out) + (query * a.heads + head) * a.head_dim;
    rows.log_sum_exp[r] = a.log_sum_exp + head * a.queries + query;
    rows.keys[r] = a.causal ? keys - queries + token + 1 : keys;
    if (++in_group == group) in_group = 0, ++token;
  }
  const int64_t head_offset = int64_t{piece.kv_head} * a.head_dim;
  const T* const k = static_cast<const T*>(a.k.data) + first_key * a.k.token_stride + head_offset;
  const T* const v = static_cast<const T*>(a.v.data) + first_key * a.v.token_stride + head_offset;
  ForwardTile<T>(a.head_dim, a.scale).attend(rows, [&](int64_t first, int count, const T** key, const T** value) {
    for (int j = 0; j < count; ++j) {
      key[j] = k + (first + j) * a.k.token_stride;
      value[j] = v + (first + j) * a.v.token_stride;
    }
  });
}

template <typename T>
void attend_all(const PackedAttention& a) {
  int64_t count = 0, work = 0;
  for (int64_t s = 0; s < a.sequences; ++s) {
    count += tiles_of(a, s) * a.kv_heads;
    work += int64_t{a.cu_seqlens_q[s + 1] - a.cu_seqlens_q[s]} * (a.cu_seqlens_k[s + 1] - a.cu_seqlens_k[s]);
  }
  Scratch<Piece> pieces(count);
  int64_t next = 0;
  for (int64_t s = 0; s < a.sequences; ++s)
    for (int64_t tile = tiles_of(a, s) - 1; tile >= 0; --tile)  // the last rows see most keys: they start first
      for (int head = 0; head < a.kv_heads; ++head) pieces[next++] = {static_cast<int32_t>(s), head, tile * kQueryRows};
  parallel_for_uneven(count, work * a.heads * a.head_dim, [&](int64_t i) { attend_piece<T>(a, pieces[i]); });
}

}  // namespace

void packed_attention(const PackedAttention& a) { a.dtype == DType::f32 ? attend_all<float>(a) : attend_all<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
