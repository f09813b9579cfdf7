// What the kernels of every operator take, on the CPU and on CUDA devices, and their list. A new kernel is one struct
// here (or an existing one) and one line in GLM4V_FOR_EACH_KERNEL. Arguments were checked by the bindings; tensors are
// contiguous except where a stride is named.
#pragma once

#include <cstdint>

namespace glm4v {

enum class DType : int { f32, bf16, f16, i32, i64, u8 };

// rms_norm, add_rms_norm and sandwich_norm, forward: pointers that an operator does not have are null.
//   h = residual + norm(x; post_weight)   (sandwich)     h = x + residual   (add)     h = x   (plain)
//   out = norm(h; weight)
struct RmsNorm {
  DType dtype;
  int64_t rows, columns;
  float eps;
  const void *x, *residual, *post_weight, *weight;  // [rows, columns] twice, [columns] twice
  void *h, *out;                                    // [rows, columns]
};

struct RmsNormBackward {
  DType dtype;
  int64_t rows, columns;
  float eps;
  const void *grad_out, *grad_h;             // [rows, columns]; grad_h null for the plain norm
  const void *x, *h, *post_weight, *weight;  // x and post_weight for the sandwich only; h is the input of the last norm
  void *grad_x, *grad_residual;              // grad_residual for the sandwich only
  int64_t partials;  // how many partial sums over rows make a weight's gradient: this decides its bits
  float *partial_weight, *partial_post_weight;  // [partials, columns] scratch
  float *grad_weight, *grad_post_weight;        // [columns]
};

// gate_up [rows, 2 * columns]; forward: out [rows, columns]; backward: grad_out [rows, columns], out like gate_up.
struct Swiglu {
  DType dtype;
  int64_t rows, columns;
  const void *gate_up, *grad_out;
  void* out;
};

// One image or video in patches; its rows of all frames are numbered from first_row on.
struct Grid {
  int64_t frames, height, width;
  int64_t first_patch, first_row;
};

struct Grids {
  const Grid* grid;              // on the CPU
  const int64_t* grid_thw;       // [count, 3]: what CUDA kernels read, with values that nobody checked
  int64_t count, rows, patches;  // rows (on the CPU) and patches of all together
};

// Queries or keys: tokens [heads, head_dim] dense, a free stride (in elements) from token to token.
struct RopeHeads {
  const void* in;
  void* out;  // [tokens, heads, head_dim] without gaps
  int64_t heads, token_stride;
};

struct Rope2d {
  DType dtype;
  int head_dim;
  bool inverse;  // rotate back: the gradient
  double theta;
  Grids grids;
  RopeHeads queries_and_keys[2];
};

struct Rope3d {
  DType dtype;
  int64_t tokens;
  int head_dim, rotary_dim;
  int sections[3];  // frequencies of the temporal, height and width axis
  bool inverse;
  double theta;
  const int64_t* position_ids;  // [3, tokens]
  RopeHeads queries_and_keys[2];
};

// Forward: out = x + table adapted to the grids. Backward: x is the gradient of out, grad_table [side * side, columns].
struct PositionEmbedding {
  DType dtype;
  int64_t columns;
  int side;
  Grids grids;
  const void *x, *table;
  void* out;
  float* grad_table;
};

// One image or video: frames [frame_count, height, width, 3] -> patches, `span` frames a patch, pixel * scale + shift.
struct Patchify {
  DType dtype;
  const uint8_t* frames;
  int64_t frame_count, height, width;
  int64_t out_height, out_width;  // multiples of 28
  int span;
  float scale[3], shift[3];
  void* out;      // [patches, 3 * span * 14 * 14]
  void* scratch;  // of CUDA kernels that resize
};

// A block of logits: `columns` vocabulary entries from `first` on. Everything else is [rows], float32. CUDA kernels
// leave the statistics of rows whose target is -100 as they are and set their gradients to 0.
struct CrossEntropy {
  DType dtype;
  int64_t rows, columns, first;
  float inverse_temperature;
  void* logits;  // [rows, columns]; backward leaves their gradients here
  const int64_t* targets;
  float *maximum, *sum, *weighted, *picked;                            // forward: running statistics
  const float *log_sum_exp, *entropy, *grad_log_probs, *grad_entropy;  // backward
};

// temperature 0 takes the largest; seen and banned are null, or bytes [rows, columns] with a free stride between rows.
struct SampleTokens {
  DType dtype;
  int64_t rows, columns;
  float temperature, top_p, repetition_penalty;
  const void* logits;  // [rows, columns]
  const uint8_t *seen, *banned;
  int64_t seen_stride, banned_stride;
  const int64_t *seeds, *steps;  // [rows]
  int64_t* tokens;               // [rows]
  float* log_probs;              // [rows]
};

// Heads of packed tokens: [heads, head_dim] dense, a free stride (in elements) from token to token.
struct TokenHeads {
  const void* data;
  int64_t token_stride;
};

struct PackedAttention {
  DType dtype;
  int64_t sequences, queries, keys;  // queries and keys of all sequences together
  int heads, kv_heads, head_dim;
  bool causal;
  float scale;
  const int32_t *cu_seqlens_q, *cu_seqlens_k;  // [sequences + 1]
  TokenHeads q, k, v;
  void* out;           // [queries, heads, head_dim]
  float* log_sum_exp;  // [heads, queries]
  void* workspace;     // on CUDA devices attention_workspace bytes, or null: then the kernels for sm_80 run
};

// Like q, k or v without gaps. `sum` is scratch. On the CPU it holds what blocks have added so far, read and written
// only where a gradient comes from several of them; float32 gradients may take `out` itself for it. On CUDA devices it
// is null, or for k and v [parts, keys, kv_heads, head_dim], each part from some of the query heads that share a head.
struct Gradient {
  void* out;
  float* sum;
};

struct PackedAttentionBackward {
  PackedAttention forward;  // with the out and log_sum_exp it gave
  TokenHeads grad_out;
  float* delta;  // [heads, queries] scratch
  int parts;     // of k's and v's sums on CUDA devices, 1 where they have none
  Gradient q, k, v;
};

// Queries are the last of their sequence's key_lengths tokens, whose keys and values lie in the blocks of the table.
struct PagedAttention {
  DType dtype;
  int64_t sequences;
  int heads, kv_heads, head_dim;
  float scale;
  int64_t queries, blocks, block_size, max_blocks;          // queries of all sequences together, blocks of the cache
  const int32_t *cu_seqlens_q, *key_lengths, *block_table;  // [sequences + 1], [sequences], [sequences, max_blocks]
  TokenHeads q;
  const void *k_cache, *v_cache;  // [blocks, block_size, kv_heads, head_dim]
  void* out;                      // [queries, heads, head_dim]
  // On CUDA devices keys are split into equal parts: the results of each and log2 of its sum of exponentials, of which
  // there are none when a block has all keys.
  int64_t splits;
  float *partial, *log2_sums;  // [splits, queries, heads, head_dim], [splits, queries, heads]
};

// A matrix in bfloat16 for tensor cores of CUDA devices: rows without gaps, `stride` numbers apart, a multiple of 8.
struct Rows {
  const void* data;  // starts at a multiple of 16 bytes
  int64_t stride;
};

// linear_cross_entropy on a block of the vocabulary, on CUDA devices: the logits are x [rows, width] * weight [columns,
// width]^T. Forward: `of` the whole vocabulary, its statistics overwritten. Backward: of.logits, in bfloat16, become
// the gradients, each row filled up to a multiple of 8 numbers.
struct FusedCrossEntropy {
  CrossEntropy of;
  int64_t width;
  Rows x, weight;
  float* partials;  // forward: [3, tiles, rows] scratch, the statistics of each tile of fused_tile() columns
};

// patch_embed of still images, on CUDA devices: out [patches, channels] = x [patches, width] * (both temporal slices of
// the weight)^T + bias. Row 16 * i + 8 * f + j of `slices` is the slice f of channel 8 * i + j.
struct FusedPatchEmbed {
  int64_t patches, width, channels;  // channels a multiple of 8
  Rows x, slices;
  const void* bias;
  void* out;
};

#define GLM4V_FOR_EACH_KERNEL(KERNEL)                        \
  KERNEL(rms_norm, RmsNorm)                                  \
  KERNEL(rms_norm_backward, RmsNormBackward)                 \
  KERNEL(swiglu, Swiglu)                                     \
  KERNEL(swiglu_backward, Swiglu)                            \
  KERNEL(rope_2d, Rope2d)                                    \
  KERNEL(rope_3d, Rope3d)                                    \
  KERNEL(add_position_embedding, PositionEmbedding)          \
  KERNEL(add_position_embedding_backward, PositionEmbedding) \
  KERNEL(patchify, Patchify)                                 \
  KERNEL(cross_entropy, CrossEntropy)                        \
  KERNEL(cross_entropy_backward, CrossEntropy)               \
  KERNEL(sample_tokens, SampleTokens)                        \
  KERNEL(packed_attention, PackedAttention)                  \
  KERNEL(packed_attention_backward, PackedAttentionBackward) \
  KERNEL(paged_attention, PagedAttention)

}  // namespace glm4v
