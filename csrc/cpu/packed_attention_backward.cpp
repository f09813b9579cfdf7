// packed_attention, backward. The rectangle of (rows of queries) x (keys) of a head is cut into blocks, and a wave is a
// diagonal of blocks: no two of them add to the same gradient, so threads need no atomics and every sum has one order.
#include "attention/backward.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

struct Block {
  int32_t sequence, kv_head;
  int64_t first_row, first_key;
};

template <typename T>
void sum_rows(const PackedAttentionBackward& b) {
  const PackedAttention& a = b.forward;
  parallel_for(a.queries, a.queries * a.heads * a.head_dim, [&](int64_t query) {
    for (int head = 0; head < a.heads; ++head) {
      const T* const grad =
          static_cast<const T*>(b.grad_out.data) + query * b.grad_out.token_stride + int64_t{head} * a.head_dim;
      const T* const out = static_cast<const T*>(a.out) + (query * a.heads + head) * a.head_dim;
      F32 products{};
      for_vectors(a.head_dim, [&](int64_t i, int n) { products += load_some(grad + i, n) * load_some(out + i, n); });
      b.delta[head * a.queries + query] = sum(products);
    }
  });
}

// Calls f for every block of diagonal `wave` that has anything to do: the first ones always, as they clear the
// gradients of rows that see no key and of keys that nobody sees.
template <typename T, typename F>
void for_blocks(const PackedAttentionBackward& b, int64_t wave, F&& f) {
  for (int64_t s = 0; s < b.forward.sequences; ++s)
    for (int64_t head = 0; head < b.forward.kv_heads; ++head) {
      const Sequence<T> sequence(b, s, head);
      for (int64_t i = 0; i <= wave && (i == 0 || i * kBlockRows < sequence.rows()); ++i) {
        const int64_t first_row = i * kBlockRows, first_key = (wave - i) * kBlockKeys;
        const int64_t end = first_row + kBlockRows < sequence.rows() ? first_row + kBlockRows : sequence.rows();
        const bool seen = first_key < sequence.keys && (end == 0 || first_key < sequence.visible(end - 1));
        if (first_key == 0 || seen) f(Block{static_cast<int32_t>(s), static_cast<int32_t>(head), first_row, first_key});
      }
    }
}

template <typename T>
void backward(const PackedAttentionBackward& b) {
  const PackedAttention& a = b.forward;
  sum_rows<T>(b);
  int64_t waves = 0, work = 0;
  for (int64_t s = 0; s < a.sequences; ++s) {
    const Sequence<T> sequence(b, s, 0);
    const int64_t row_blocks = sequence.rows() / kBlockRows + 1, key_blocks = sequence.keys / kBlockKeys + 1;
    waves = row_blocks + key_blocks > waves ? row_blocks + key_blocks : waves;
    work += sequence.queries * sequence.keys * a.heads * a.head_dim;
  }
  for (int64_t wave = 0; wave < waves; ++wave) {
    int64_t count = 0;
    for_blocks<T>(b, wave, [&](const Block&) { ++count; });
    Scratch<Block> blocks(count);
    int64_t next = 0;
    for_blocks<T>(b, wave, [&](const Block& block) { blocks[next++] = block; });
    parallel_for_uneven(count, work, [&](int64_t i) {
      const Sequence<T> sequence(b, blocks[i].sequence, blocks[i].kv_head);
      BackwardBlock<T>(sequence, blocks[i].first_key).run(blocks[i].first_row);
    });
  }
}

}  // namespace

void packed_attention_backward(const PackedAttentionBackward& b) {
  b.forward.dtype == DType::f32 ? backward<float>(b) : backward<bf16>(b);
}

}  // namespace glm4v::GLM4V_ISA
