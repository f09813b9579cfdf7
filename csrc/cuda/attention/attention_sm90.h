// The sm_90a kernels of packed_attention as its launch functions call them: bf16 and fp16, TMA and wgmma. `workspace`
// is device memory of as many bytes as the workspace functions say, at a multiple of 256 bytes.
#pragma once

#include "../kernels.h"

namespace glm4v::cuda {

// Whether these kernels serve the arguments: TMA wants pointers and strides of whole 16 bytes, and the scale has to be
// positive. What they do not take goes to the kernels for sm_80.
bool takes_sm90(const PackedAttention&);
bool takes_sm90(const PackedAttentionBackward&);

int64_t workspace_sm90(const PackedAttention&);
int64_t workspace_sm90(const PackedAttentionBackward&);

Error packed_attention_sm90(const PackedAttention&, void* workspace, Stream);
Error packed_attention_backward_sm90(const PackedAttentionBackward&, void* workspace, Stream);

}  // namespace glm4v::cuda
