"""Spatial questions over several pictures: directions, distances, which object, how the camera moved."""

from glm4v.rewards.multi_image import check

__all__ = ["check"]
