"""Pixels to patches: resize as PIL does, normalise and lay out in merge order, in one pass over uint8 images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glm4v.ops.library import MODULES, check_device, check_dtype, define, native, native_for
from glm4v.ops.reference import PATCH, Patches

BLOCK = 2 * PATCH  # sides are multiples of it: 2x2 patches merge into one token


def patchify(
    images: Sequence[Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    sizes: Sequence[tuple[int, int]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Patches:
    """Patches of still images and videos.

    images: uint8, all on the CPU or on one CUDA device, [H, W, 3] (a still image) or [F, H, W, 3] (a video; an odd F
    repeats its last frame).
    mean, std: of the channels, on pixels divided by 255. sizes: (height, width) in pixels of each, multiples of 28;
    images of another size are resized (bicubic, antialiased, equal to Pillow 13 to the bit). dtype: of the patches.
    Returns Patches: image_patches [Pi, 3*1*14*14] and video_patches [Pv, 3*2*14*14] in merge order, elements ordered
    channel, frame, row, column; image_grid_thw and video_grid_thw int64 [N, 3].
    Raises ValueError that names the image. Source: transformers' Glm4vImageProcessorPil; a still image's second,
    equal frame is left out.
    """
    if sizes is not None and len(sizes) != len(images):
        raise ValueError(f"sizes: has {len(sizes)} entries; expected one for each of the {len(images)} images")
    for name, triple in (("mean", mean), ("std", std)):
        if len(triple) != 3:
            raise ValueError(f"{name}: has {len(triple)} entries; expected three, one a channel")
    if min(std) <= 0:
        raise ValueError(f"std: is {tuple(std)}; expected positive numbers")
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype: is {dtype}; expected float32, bfloat16 or float16")
    for i, image in enumerate(images):
        check_device("images[0]", images[0], **{f"images[{i}]": image})
    targets = [size for i, image in enumerate(images) for size in target_size(f"images[{i}]", image, sizes, i)]
    if not images:  # without a tensor the dispatcher knows no device
        return Patches(*empty_patches([], [], dtype))
    return Patches(*_patchify(list(images), list(mean), list(std), targets, dtype))


def target_size(name: str, image: Tensor, sizes: Sequence[tuple[int, int]] | None, index: int) -> tuple[int, int]:
    check_dtype(name, image, torch.uint8)
    if image.device.type != "meta" and not MODULES.get(image.device.type):
        raise ValueError(f"{name}: is on {image.device}, for which this build has no kernels; expected a CPU tensor")
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"{name}: has shape {list(image.shape)}; expected [H, W, 3] or [F, H, W, 3], none empty")
    height, width = sizes[index] if sizes is not None else image.shape[-3:-1]
    if height <= 0 or width <= 0 or height % BLOCK or width % BLOCK:
        raise ValueError(
            f"{name}: {'target' if sizes is not None else 'pixel'} size ({height}, {width}); expected positive "
            f"multiples of {BLOCK}"
        )
    return height, width


def grid_of(image: Tensor, height: int, width: int) -> tuple[int, int, int]:
    """(t, h, w) in patches."""
    times = 1 if image.ndim == 3 else -(-image.shape[0] // 2)
    return times, height // PATCH, width // PATCH


def grids_of(images: list[Tensor], sizes: list[int]) -> tuple[list[tuple[int, int, int]], ...]:
    """The grids of still images and of videos."""
    grids: tuple[list[tuple[int, int, int]], ...] = ([], [])
    for image, height, width in zip(images, sizes[0::2], sizes[1::2], strict=True):
        grids[image.ndim - 3].append(grid_of(image, height, width))
    return grids


def shapes_of(grids: tuple[list[tuple[int, int, int]], ...]) -> list[tuple[int, int]]:
    return [(sum(t * h * w for t, h, w in part), 3 * span * PATCH * PATCH) for span, part in enumerate(grids, start=1)]


def empty_patches(images: list[Tensor], sizes: list[int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    device = images[0].device if images else torch.device("cpu")
    grids = grids_of(images, sizes)
    stills, videos = (torch.empty(shape, dtype=dtype, device=device) for shape in shapes_of(grids))
    still_grids, video_grids = (torch.tensor(part, dtype=torch.int64, device="cpu").view(-1, 3) for part in grids)
    if device.type == "cuda":  # from pinned memory: the host does not wait
        still_grids, video_grids = (g.pin_memory().to(device, non_blocking=True) for g in (still_grids, video_grids))
    return stills, videos, still_grids, video_grids


def scratch_for(frames: Tensor, height: int, width: int) -> Tensor:
    """What CUDA kernels need to resize `frames`: room for the pixels after either axis and for the taps.

    An axis has at most nine 32-bit numbers of taps a pixel of its longer side; 64 bytes are for alignment.
    """
    count, rows, columns, _ = frames.shape
    if native_for(frames) is native or (rows, columns) == (height, width):
        return frames.new_empty(0)
    rows, columns = max(rows, height), max(columns, width)
    return frames.new_empty(2 * count * rows * columns * 3 + 9 * 4 * (rows + columns) + 64)


def meta(
    images: list[Tensor], mean: list[float], std: list[float], sizes: list[int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grids = grids_of(images, sizes)
    stills, videos = (images[0].new_empty(shape, dtype=dtype) for shape in shapes_of(grids))
    still_grids, video_grids = (images[0].new_empty((len(part), 3), dtype=torch.int64) for part in grids)
    return stills, videos, still_grids, video_grids


def run_patchify(
    images: list[Tensor], mean: list[float], std: list[float], sizes: list[int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    module = native_for(images[0])
    if dtype == torch.float16 and module is native:
        stills, videos, *grids = run_patchify(images, mean, std, sizes, torch.float32)
        return stills.half(), videos.half(), *grids  # type: ignore[return-value]
    out = empty_patches(images, sizes, dtype)
    scale = tuple(1 / (255 * s) for s in std)
    shift = tuple(-m / s for m, s in zip(mean, std, strict=True))
    start = {3: 0, 4: 0}
    for image, height, width in zip(images, sizes[0::2], sizes[1::2], strict=True):
        t, h, w = grid_of(image, height, width)
        span = image.ndim - 2
        rows = out[span - 1][start[image.ndim] :][: t * h * w]
        frames = (image if image.ndim == 4 else image[None]).contiguous()
        module.patchify(frames, rows, scratch_for(frames, height, width), height, width, span, scale, shift)
        start[image.ndim] += t * h * w
    return out


_patchify = define(
    "patchify(Tensor[] images, float[] mean, float[] std, int[] sizes, ScalarType dtype) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    run_patchify,
    meta,
    cuda=True,
)
