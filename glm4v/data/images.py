"""Images, wherever they come from (path, bytes, data URL, PIL, array), as uint8 RGB, and the size a model sees them at.

`smart_resize` agrees with transformers' `glm4v` function of that name, but takes any aspect ratio.
"""

import base64
import binascii
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from glm4v.data.sample import UNIT

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of pixel values in 0..1, per channel
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def load_image(source: Any, root: Path | None = None) -> Tensor:
    """The picture as uint8 [H, W, 3] RGB.

    source: a path (relative ones against `root`), encoded bytes, a `data:` URL, a PIL image, or an array or tensor
    [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in uint8, uint16 or float (0..1). EXIF rotation is applied, alpha is laid
    on white, palettes, grey and 16 bit become 8-bit RGB. Raises ValueError that says what was wrong.
    """
    if isinstance(source, np.ndarray | Tensor):
        return _from_array(np.asarray(source))
    if isinstance(source, Image.Image):
        return _from_pil(source)
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source))
    if isinstance(source, str) and source.startswith("data:"):
        return _decode(io.BytesIO(data_url_bytes(source)))
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise ValueError(f"{source} is on the network, where nothing is read from; download it and give its path")
    if isinstance(source, str | Path):
        return _decode(resolve(source, root))
    raise ValueError(f"image is a {type(source).__name__}; expected a path, bytes, data URL, PIL image or array")


def resolve(path: str | Path, root: Path | None) -> Path:
    """`path` against `root`; raises ValueError when there is no such file."""
    full = (root or Path()) / str(path).removeprefix("file://")
    if not full.is_file():
        raise ValueError(f"there is no file {full}")
    return full


def data_url_bytes(url: str) -> bytes:
    """What a base64 `data:` URL holds. Raises ValueError where it is none."""
    header, _, data = url.partition(",")
    if not header.endswith(";base64"):
        raise ValueError(f"data URL starts with {header[:40]!r}; expected 'data:image/...;base64,'")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"data URL is no base64: {error}") from error


def _decode(file: Path | io.BytesIO) -> Tensor:
    try:
        with Image.open(file) as image:
            return _from_pil(image)
    except (OSError, SyntaxError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        name = f"{file} " if isinstance(file, Path) else ""
        raise ValueError(f"image {name}cannot be decoded: {error}") from error


def _from_pil(image: Image.Image) -> Tensor:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("image has floating point pixels (mode F), whose range is unknown; give an array in 0..1")
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip instead of scale
        return _from_array(np.asarray(image).astype(np.uint16))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return torch.from_numpy(np.array(image.convert("RGB")))


def _from_array(array: np.ndarray) -> Tensor:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.size == 0:
        raise ValueError(f"image array is {list(array.shape)}; expected [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]")
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) + 128) // 257
    elif array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"image array holds {array.min()}..{array.max()}; floats must be in 0..1, else give uint8")
        array = np.rint(array * 255)
    elif array.dtype != np.uint8:
        raise ValueError(f"image array is {array.dtype}; expected uint8, uint16 or float in 0..1")
    array = array.astype(np.uint8)
    if array.shape[-1] == 4:
        return _from_pil(Image.fromarray(array, "RGBA"))
    return torch.from_numpy(np.repeat(array, 3 // array.shape[-1], axis=-1))


def smart_resize(frames: int, height: int, width: int, min_pixels: float, max_pixels: float) -> tuple[int, int]:
    """(height, width) in pixels, multiples of 28, at which a medium of `frames` frames of height x width is seen.

    The limits count the pixels of all frames (a still image is one frame here; transformers counts it twice, its limits
    are twice as large). Both sides are rounded to the nearest multiple; beyond a limit the aspect ratio is kept as well
    as multiples allow, a side is never below 28.
    """
    if height < UNIT or width < UNIT:  # enlarged until the short side is one token
        scale = max(UNIT / height, UNIT / width)
        height, width = int(height * scale), int(width * scale)
    rounded = round(height / UNIT) * UNIT, round(width / UNIT) * UNIT
    pixels = frames * rounded[0] * rounded[1]
    if pixels > max_pixels:
        shrink = math.sqrt(frames * height * width / max_pixels)
        rounded = _floor(height / shrink), _floor(width / shrink)
        if max(height, width) > 200 * min(height, width):  # transformers refuses these; here the limit holds for them
            longest = _floor(max_pixels / (frames * UNIT))
            rounded = min(rounded[0], longest), min(rounded[1], longest)
    elif pixels < min_pixels:
        grow = math.sqrt(min_pixels / (frames * height * width))
        rounded = math.ceil(height * grow / UNIT) * UNIT, math.ceil(width * grow / UNIT) * UNIT
    return rounded


def _floor(side: float) -> int:
    return max(UNIT, math.floor(side / UNIT) * UNIT)
