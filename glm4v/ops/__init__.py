"""The operators: packed layout, checked, differentiable. Twins in plain torch stand in `glm4v.ops.reference`."""

from glm4v.ops.linear import linear
from glm4v.ops.linear_cross_entropy import linear_cross_entropy
from glm4v.ops.packed_attention import packed_attention
from glm4v.ops.paged_attention import paged_attention
from glm4v.ops.patch_embed import patch_embed
from glm4v.ops.patchify import patchify
from glm4v.ops.position_embedding import add_position_embedding
from glm4v.ops.reference import Patches
from glm4v.ops.rms_norm import add_rms_norm, rms_norm, sandwich_norm
from glm4v.ops.rope import rope_2d, rope_3d
from glm4v.ops.sample_tokens import sample_tokens
from glm4v.ops.swiglu import swiglu

__all__ = [
    "Patches",
    "add_position_embedding",
    "add_rms_norm",
    "linear",
    "linear_cross_entropy",
    "packed_attention",
    "paged_attention",
    "patch_embed",
    "patchify",
    "rms_norm",
    "rope_2d",
    "rope_3d",
    "sample_tokens",
    "sandwich_norm",
    "swiglu",
]
