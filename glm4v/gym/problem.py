"""What every domain makes: one problem with its pixels, its question, its truth and a worked example."""

from dataclasses import dataclass

import numpy as np

POOLS = ("train", "validation", "heldout")
"""Source images (digits, photographs, printed strings) belong to exactly one pool."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in 0..1000 of the picture's width and height."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    pixels: uint8, [H, W, 3] a picture or [F, H, W, 3] a video; sides are multiples of 28.
    truth: what the domain's verifier takes; answer: the text that belongs into the box.
    thought: the reasoning of the worked example; caption: what pretraining says of the same kind of picture.
    frame_rate: frames a second of a video, else None.
    """

    pixels: np.ndarray
    question: str
    truth: str | dict
    answer: str
    thought: str
    caption: str
    frame_rate: float | None = None

    @property
    def remark(self) -> str:
        """The answer in plain words with what leads to it, for pretraining."""
        return f"{self.thought}; {self.answer}"

    @property
    def response(self) -> str:
        """The worked example in the model's own answer format."""
        box = f"<|begin_of_box|>{self.answer}<|end_of_box|>"
        return f"<think>{self.thought}</think><answer>{box}</answer>"
