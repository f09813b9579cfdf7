"""GLM-4.1V-Thinking on compiled kernels: model, data, generation and trainers.

The names below load on first use, so that `import glm4v` and the command line start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Glm4v": "glm4v.model",
    "Processor": "glm4v.data",
    "Sample": "glm4v.data",
    "PackedBatch": "glm4v.data",
    "pack": "glm4v.data",
}
__all__ = ["Glm4v", "PackedBatch", "Processor", "Sample", "__version__", "pack"]

if TYPE_CHECKING:
    from glm4v.data import PackedBatch, Processor, Sample, pack
    from glm4v.model import Glm4v


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'glm4v' has no attribute {name!r}")
