"""Videos, from a file through PyAV or as a list of frames with its rate, to the frames that the model sees.

Frames are chosen as transformers' `Glm4vVideoProcessor.sample_frames` chooses them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glm4v.data.images import load_image, resolve

MAX_SECONDS = 300  # longer videos are sampled evenly, as many frames as one of this length would give


SizeOf = Callable[[int, int, int], tuple[int, int]]  # (frames, height, width) -> (height, width)


class Video(NamedTuple):
    """frames: the chosen ones, uint8 [F, H, W, 3], F even; size: (height, width) they are to be seen at; seconds: the
    time of each pair's first frame, whole seconds."""

    frames: Tensor
    size: tuple[int, int]
    seconds: list[int]


def load_video(
    source: Any, size_of: SizeOf, fps: float, frame_rate: float | None = None, root: Path | None = None
) -> Video:
    """`fps` frames a second of a video.

    source: the path of a file that PyAV opens, or a list of images (anything `load_image` takes) of one size that were
    recorded at `frame_rate` frames a second (None: at `fps`, so that all of them are kept).
    size_of: the size at which so many frames of such a size are seen. Larger frames are reduced to it as they are
    decoded (as PIL does it, which is how `ops.patchify` would): five minutes of film would not fit into memory else.
    """
    if fps <= 0:
        raise ValueError(f"fps is {fps}; expected frames a second above 0")
    if isinstance(source, str | Path):
        return _load_file(resolve(source, root), size_of, fps)
    if not isinstance(source, Sequence | np.ndarray | Tensor) or len(source) == 0:
        raise ValueError(f"video is a {type(source).__name__}; expected a path or a list of at least one frame")
    rate = fps if frame_rate is None else frame_rate
    if rate <= 0:
        raise ValueError(f"frame_rate is {rate}; expected frames a second above 0")
    if rate <= fps and len(source) <= MAX_SECONDS * fps:
        chosen = _even(list(range(len(source))))  # exactly all: the rule below may lose the last one to rounding
    else:
        chosen = sample_frames(len(source), rate, fps, len(source) / rate)
    return _collect(_listed(source, chosen, root), chosen, size_of, rate)


def sample_frames(total: int, rate: float, fps: float, seconds: float | None = None) -> list[int]:
    """Indices of the frames to keep of `total` at `rate` frames a second, an even number of them (the last may repeat).

    seconds: the duration where a file states it. Up to 300 s `fps` frames a second are kept, of longer videos as many
    as of 300 s, evenly spread.
    """
    last = total - 1
    duration = seconds or round(last / rate) + 1
    if duration <= MAX_SECONDS:
        count = max(math.floor(duration * fps), 1)
        chosen = [min(last, math.ceil(i * rate / fps)) for i in range(count)]
    elif (count := int(MAX_SECONDS * fps)) >= total:
        chosen = list(range(total))
    else:
        chosen = [min(last, math.ceil(t * rate)) for t in np.linspace(0, duration, count)]
    return _even(list(dict.fromkeys(chosen)))


def _even(chosen: list[int]) -> list[int]:
    return chosen + chosen[-1:] * (len(chosen) % 2)


def _listed(source: Any, chosen: list[int], root: Path | None) -> Iterator[tuple[int, Tensor]]:
    for index in sorted(set(chosen)):
        try:
            yield index, load_image(source[index], root)
        except ValueError as error:
            raise ValueError(f"frame {index}: {error}") from error


def _load_file(path: Path, size_of: SizeOf, fps: float) -> Video:
    try:
        import av
    except ImportError as error:
        raise ValueError(f"reading {path} needs PyAV: pip install 'glm4v[video]'") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            total = stream.frames
            if not total:  # as in Matroska, whose header does not count them
                total = sum(packet.size > 0 for packet in container.demux(stream))
                container.seek(0)
            if not total or not rate:
                raise ValueError(f"it has {total} frames at {rate} a second; expected some of both")
            chosen = sample_frames(total, rate, fps, total / rate)
            wanted = set(chosen)
            decoded = (
                (index, torch.from_numpy(frame.to_ndarray(format="rgb24")))
                for index, frame in enumerate(container.decode(stream))
                if index in wanted
            )
            return _collect(islice(decoded, len(wanted)), chosen, size_of, rate)
    except (ValueError, av.FFmpegError) as error:
        raise ValueError(f"video {path} cannot be decoded: {error}") from error


def _collect(frames: Iterable[tuple[int, Tensor]], chosen: list[int], size_of: SizeOf, rate: float) -> Video:
    """The video of numbered `frames`, which ascend. Numbers beyond them, which containers announce at times, stand for
    the last one."""
    kept: dict[int, Tensor] = {}
    shape, size = None, (0, 0)
    for index, frame in frames:
        if shape is None:
            shape, size = frame.shape, size_of(len(chosen), *frame.shape[:2])
        if frame.shape != shape:
            raise ValueError(f"frame {index} is {list(frame.shape)} and the first is {list(shape)}; expected one size")
        kept[index] = _reduced(frame, size)
    if not kept:
        raise ValueError("none of its frames could be decoded")
    last = max(kept)
    stacked = torch.stack([kept[min(index, last)] for index in chosen])
    return Video(stacked, size, [int(min(index, last) / rate) for index in chosen[::2]])


def _reduced(frame: Tensor, size: tuple[int, int]) -> Tensor:
    if frame.shape[0] * frame.shape[1] <= size[0] * size[1]:
        return frame
    image = Image.fromarray(frame.numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image))
