"""Boxes between original pixels, which users give and get, and the 0..1000 form that the model reads and writes.

Resizing scales each axis as a whole, without padding, so the 0..1000 form is the same before and after it.
"""

from collections.abc import Sequence

SCALE = 1000


def to_normalised_box(box: Sequence[float], image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) in pixels of an image of `image_size` (width, height), as PIL gives it -> integers 0..1000.

    Raises ValueError when the corners do not ascend or leave the image.
    """
    x1, y1, x2, y2 = _checked(box, image_size, "box in pixels")
    width, height = image_size
    return (
        round(x1 * SCALE / width),
        round(y1 * SCALE / height),
        round(x2 * SCALE / width),
        round(y2 * SCALE / height),
    )


def to_pixel_box(box: Sequence[float], image_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) in 0..1000 -> pixels of the original image of `image_size` (width, height).

    Raises ValueError when the corners do not ascend or leave 0..1000.
    """
    x1, y1, x2, y2 = _checked(box, (SCALE, SCALE), "box in 0..1000")
    width, height = image_size
    return x1 * width / SCALE, y1 * height / SCALE, x2 * width / SCALE, y2 * height / SCALE


def _checked(box: Sequence[float], limits: tuple[int, int], what: str) -> Sequence[float]:
    if len(box) != 4 or not (0 <= box[0] <= box[2] <= limits[0] and 0 <= box[1] <= box[3] <= limits[1]):
        limit = f"{limits[0]} x {limits[1]}"
        raise ValueError(f"{what} is {tuple(box)}; expected (x1, y1, x2, y2), ascending, within {limit}")
    return box
