// The sm_90a kernels of packed_attention as its launch functions call them: bf16 and fp16, TMA and wgmma.
#pragma once

#include "../kernels.h"

namespace glm4v::cuda {

// Whether these kernels serve the arguments on this device: they need a workspace, TMA wants pointers and strides of
// whole 16 bytes, and the scale has to be positive. What they do not take goes to the kernels for sm_80.
bool takes_sm90(const PackedAttention&);
bool takes_sm90(const PackedAttentionBackward&);

Error packed_attention_sm90(const PackedAttention&, Stream);
// After delta; parts of k's and v's gradients are left for the caller to add.
Error packed_attention_backward_sm90(const PackedAttentionBackward&, Stream);

}  // namespace glm4v::cuda
