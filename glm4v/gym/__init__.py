"""The gym: small procedural problems on real pixels, written as files that trainers and evaluation read."""

from pathlib import Path

from glm4v.gym.preview import preview
from glm4v.gym.write import write

__all__ = ["TOKENIZER", "preview", "write"]

TOKENIZER = Path(__file__).parent / "tokenizer"
"""The committed folder of the gym's tokenizer: `transformers.AutoTokenizer` and `glm4v.Processor` load it."""
