"""The vision encoder AIMv2 with GLM's adapter: patches of any number of images and frame pairs in, merged features out.

Agrees with transformers' Glm4vVisionModel; images and video frames go through in one pass.
"""

from typing import Any

import torch
from torch import Tensor, nn

from glm4v import ops
from glm4v.model.layers import Linear, RmsNorm, initialise, run


class Convolution(nn.Module):
    """The parameters of a convolution whose stride is its kernel: a matrix product on patches."""

    def __init__(self, inputs: int, outputs: int, *kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *kernel))
        self.bias = nn.Parameter(torch.empty(outputs))


class PatchConvolution(Convolution):
    """Still patches [Pi, 588] and video patches [Pv, 1176] -> [Pi + Pv, width]."""

    def forward(self, image_patches: Tensor, video_patches: Tensor) -> Tensor:
        dtype = self.weight.dtype
        parts = [patches.to(dtype) for patches in (image_patches, video_patches) if len(patches)]
        return torch.cat([ops.patch_embed(patches, self.weight, self.bias) for patches in parts])


class PatchEmbedding(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = PatchConvolution(config.in_channels, config.hidden_size, config.temporal_patch_size, size, size)

    def forward(self, image_patches: Tensor, video_patches: Tensor) -> Tensor:
        return self.proj(image_patches, video_patches)


class PositionTable(nn.Module):
    """The learned table [S * S, width], resampled to each image's grid."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty((config.image_size // config.patch_size) ** 2, config.hidden_size))

    def forward(self, x: Tensor, grid_thw: Tensor) -> Tensor:
        return ops.add_position_embedding(x, self.weight, grid_thw)


class VisionEmbeddings(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.position_embedding = PositionTable(config)

    def forward(self, x: Tensor, grid_thw: Tensor) -> Tensor:
        return self.position_embedding(x, grid_thw)


class VisionAttention(nn.Module):
    """Bidirectional inside each image or frame pair, with 2D rotary positions."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.theta = config.rope_parameters["rope_theta"]
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.proj = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, grid_thw: Tensor, cu_seqlens: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), 3, self.heads, -1).unbind(1)  # [P, H, D] each
        q, k = ops.rope_2d(q, k, grid_thw, self.theta)
        v = v.contiguous()  # as a view it would keep all of qkv for the backward pass, 6% of a step's memory
        return self.proj(ops.packed_attention(q, k, v, cu_seqlens).flatten(1))


class GatedMlp(nn.Module):
    """SwiGLU whose gate and up matrices are separate parameters, as transformers names them."""

    def __init__(self, width: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = Linear(width, intermediate)
        self.up_proj = Linear(width, intermediate)
        self.down_proj = Linear(intermediate, width)

    def forward(self, x: Tensor) -> Tensor:
        # one product over joined weights: there are more patches than channels, so joining results would copy more
        weight = torch.cat([self.gate_proj.weight, self.up_proj.weight])
        return self.down_proj(ops.swiglu(ops.linear(x, weight)))


class VisionBlock(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.norm1 = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.norm2 = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.attn = VisionAttention(config)
        self.mlp = GatedMlp(config.hidden_size, config.out_hidden_size)
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor, grid_thw: Tensor, cu_seqlens: Tensor) -> Tensor:
        hidden = self.attn(self.norm1(x), grid_thw, cu_seqlens)
        hidden, x = ops.add_rms_norm(hidden, x, self.norm2.weight, self.eps)
        return x + self.mlp(hidden)


class Downsample(Convolution):
    """Each 2x2 block of patches to one token: [P, width] -> [P / 4, outputs]."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # patches of a block are neighbours: row, column, channel
        return ops.linear(x.view(-1, weight.shape[1]), weight, self.bias)


class Merger(GatedMlp):
    """Linear, LayerNorm, exact GELU, then SwiGLU, on merged tokens."""

    def __init__(self, width: int, intermediate: int) -> None:
        super().__init__(width, intermediate)
        self.proj = Linear(width, width)
        self.post_projection_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.gelu(self.post_projection_norm(self.proj(x))))


class VisionEncoder(nn.Module):
    """Patches in merge order -> features [P / 4, hidden of the text decoder]."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        merge = config.spatial_merge_size
        self.embeddings = VisionEmbeddings(config)
        self.patch_embed = PatchEmbedding(config)
        self.post_conv_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.post_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.downsample = Downsample(config.hidden_size, config.out_hidden_size, merge, merge)
        self.merger = Merger(config.out_hidden_size, config.intermediate_size)
        initialise(self, config.initializer_range)

    def forward(
        self,
        image_patches: Tensor,
        video_patches: Tensor,
        grid_thw: Tensor,
        cu_seqlens: Tensor,
        checkpointing: bool = False,
    ) -> Tensor:
        """Still patches [Pi, 588], video patches [Pv, 1176], the grids of both in that order [N, 3], and one attention
        sequence an image or frame pair (`cu_seqlens`, int32) -> [(Pi + Pv) / 4, hidden]."""
        x = self.post_conv_layernorm(self.patch_embed(image_patches, video_patches))
        x = self.embeddings(x, grid_thw)
        for block in self.blocks:
            x = run(block, checkpointing, x, grid_thw, cu_seqlens)
        return self.merger(self.downsample(self.post_layernorm(x)))
