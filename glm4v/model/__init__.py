"""The model: GLM-4.1V on packed sequences, its configuration and its weights in files."""

from glm4v.model.config import check_config, small_config
from glm4v.model.model import Glm4v, Output, best_device
from glm4v.model.weights import checksum

__all__ = ["Glm4v", "Output", "best_device", "check_config", "checksum", "small_config"]
