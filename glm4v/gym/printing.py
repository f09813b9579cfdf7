"""Printed letters: the fonts that matplotlib brings, and pronounceable strings that belong to one pool each."""

from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import ImageFont

FONTS = (
    *("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    *("STIXGeneral.ttf", "STIXGeneralBol.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf", "DejaVuSans-Oblique.ttf"),
)
"""Held-out problems are printed in the same fonts: what differs is the text."""

CONSONANTS, VOWELS = "BCDFGHKLMNPRSTVZ", "AEIOU"


@lru_cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of matplotlib's folder at `size` pixels."""
    import matplotlib  # here, not above: only drawing needs the extra packages

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def word(rng: np.random.Generator, pool: str, length: int) -> str:
    """A string of `length` capitals, consonant and vowel in turn, that no other pool ever shows."""
    while True:
        turn = int(rng.integers(2))
        letters = [(VOWELS if (turn + i) % 2 else CONSONANTS) for i in range(length)]
        text = "".join(group[rng.integers(len(group))] for group in letters)
        if pool_of(text) == pool:
            return text


def pool_of(text: str) -> str:
    """The pool a string belongs to, by its checksum: one in five is held out, one in ten validates."""
    turn = crc32(text.encode()) % 10
    return "heldout" if turn < 2 else "validation" if turn == 2 else "train"
