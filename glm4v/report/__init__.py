"""A run's folder in, one self-contained HTML page out."""

from glm4v.report.build import build

__all__ = ["build"]
