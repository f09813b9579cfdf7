// The CUDA kernels as the bindings call them. A new one is its line in GLM4V_FOR_EACH_CUDA_KERNEL; its arguments stand
// in operators.h. Pointers are device memory; a kernel is put on the stream and not waited for.
#pragma once

#include "../operators.h"

struct CUstream_st;  // what CUDA calls cudaStream_t points to one

namespace glm4v::cuda {

using Stream = CUstream_st*;
using Error = const char*;  // null when all is well

// Blocks of the norms' backward pass, and so partial sums over rows in a weight's gradient: three for each of the 132
// multiprocessors of an H100, fixed so that the bits of a gradient are the same on every device.
constexpr int kPartials = 396;

#define GLM4V_FOR_EACH_CUDA_KERNEL(KERNEL)                   \
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
  KERNEL(paged_attention, PagedAttention)                    \
  KERNEL(fused_cross_entropy, FusedCrossEntropy)             \
  KERNEL(fused_cross_entropy_backward, FusedCrossEntropy)    \
  KERNEL(fused_patch_embed, FusedPatchEmbed)

#define GLM4V_DECLARE(name, Arguments) Error name(const Arguments&, Stream);
GLM4V_FOR_EACH_CUDA_KERNEL(GLM4V_DECLARE)
#undef GLM4V_DECLARE

// Bytes of scratch that patchify needs: the pixels after each axis that it resizes, and the taps.
int64_t patchify_scratch(const Patchify&);

// Bytes of workspace that the sm_90a kernels of packed_attention need, forward and backward.
int64_t attention_workspace(const PackedAttention&);

// How many columns of logits a tile of fused_cross_entropy has; 0 where this build has no fused kernels.
int fused_tile();

struct Kernels {
#define GLM4V_MEMBER(name, Arguments) Error (*name)(const Arguments&, Stream) = cuda::name;
  GLM4V_FOR_EACH_CUDA_KERNEL(GLM4V_MEMBER)
#undef GLM4V_MEMBER
};

inline constexpr Kernels kernels() { return {}; }

}  // namespace glm4v::cuda
