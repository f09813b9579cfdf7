"""The operators: packed layout, checked, differentiable. Twins in plain torch stand in `glm4v.ops.reference`."""

from glm4v.ops.reference import (
    Patches,
    add_position_embedding,
    linear,
    linear_cross_entropy,
    packed_attention,
    paged_attention,
    patch_embed,
    patchify,
    rope_2d,
    rope_3d,
    swiglu,
)
from glm4v.ops.rms_norm import add_rms_norm, rms_norm, sandwich_norm

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
    "sandwich_norm",
    "swiglu",
]
