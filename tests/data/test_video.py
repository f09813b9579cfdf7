"""Frames and times of videos, from files and from lists, against transformers' rule."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor
from transformers.video_utils import VideoMetadata

from glm4v import ops
from glm4v.data.images import CLIP_MEAN, CLIP_STD
from glm4v.data.video import load_video as load
from glm4v.data.video import sample_frames


def write_video(path, frames, rate, codec="mpeg4", height=48, width=64):
    """A file whose frame i is grey of level 6 i + 8."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 10_000_000
        for number in range(frames):
            image = np.full((height, width, 3), 6 * number + 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def load_video(source, **settings):
    """Frames as they are decoded."""
    return load(source, lambda frames, height, width: (height, width), **settings)


def levels(video):
    """The number of each frame, from its grey level."""
    return [round((float(frame.float().mean()) - 8) / 6) for frame in video.frames]


@given(
    total=st.integers(1, 20_000),
    rate=st.floats(0.1, 60),
    fps=st.floats(0.1, 10),
    known=st.booleans(),
)
def test_frames_are_chosen_as_by_transformers(total, rate, fps, known):
    duration = total / rate if known else None
    metadata = VideoMetadata(total_num_frames=total, fps=rate, duration=duration)
    expected = Glm4vVideoProcessor.sample_frames(SimpleNamespace(fps=2, max_duration=300), metadata, fps=fps)
    assert sample_frames(total, rate, fps, duration) == expected.tolist()


def test_a_file_is_sampled_at_two_frames_a_second(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=40, rate=10)
    video = load_video("a.mp4", fps=2, root=tmp_path)
    assert video.frames.dtype == torch.uint8
    assert video.frames.shape == (8, 48, 64, 3)
    assert levels(video) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert video.seconds == [0, 1, 2, 3]
    assert levels(load_video(path, fps=0.5)) == [0, 20]
    assert len(load_video(path, fps=100).frames) == 40


def test_a_container_that_does_not_count_its_frames(tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=30, rate=10)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert levels(load_video(path, fps=2)) == [0, 5, 10, 15, 20, 25]


def test_one_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=1, rate=10)
    for source in (path, [np.full((48, 64, 3), 8, np.uint8)]):
        video = load_video(source, fps=2)
        assert levels(video) == [0, 0]
        assert video.seconds == [0]


def test_a_list_of_frames_with_its_rate(tmp_path):
    frames = [np.full((30, 40, 3), 6 * number + 8, np.uint8) for number in range(13)]
    assert levels(load_video(frames, fps=2)) == [*range(13), 12]  # no rate: taken as they are
    video = load_video(frames, fps=2, frame_rate=4)
    assert levels(video) == [0, 2, 4, 6, 8, 10]
    assert video.seconds == [0, 1, 2]
    assert levels(load_video(frames, fps=0.3, frame_rate=0.3)) == [*range(13), 12]  # 13 / 0.3 * 0.3 is below 13
    Image.fromarray(frames[0]).save(tmp_path / "a.png")
    Image.fromarray(frames[3]).save(tmp_path / "b.png")
    assert levels(load_video(["a.png", "b.png"], fps=1, root=tmp_path)) == [0, 3]
    assert levels(load_video(np.stack(frames[:2]), fps=1)) == [0, 1]
    assert levels(load_video(torch.from_numpy(np.stack(frames[:2])), fps=1)) == [0, 1]


def test_patches_are_those_of_transformers(noise):
    frames = torch.from_numpy(np.stack([noise(56, 84, seed=seed) for seed in range(3)]))
    ours = ops.patchify([frames], CLIP_MEAN, CLIP_STD)
    normal = (frames / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    expected, *grid = Glm4vVideoProcessor.patchify(None, normal.permute(0, 3, 1, 2)[None], 14, 2, 2)
    assert ours.video_grid_thw.tolist() == [grid]
    assert torch.allclose(ours.video_patches, expected[0], atol=1e-5)


def test_large_frames_are_reduced_as_patchify_would(noise):
    frames = np.stack([noise(150, 260, seed=seed) for seed in range(3)])
    asked = []
    video = load(frames, lambda *shape: asked.append(shape) or (56, 84), fps=2)
    assert asked == [(4, 150, 260)]
    assert video.size == (56, 84)
    assert video.frames.shape == (4, 56, 84, 3)
    whole = ops.patchify([torch.from_numpy(frames)], CLIP_MEAN, CLIP_STD, [(56, 84)])
    ours = ops.patchify([video.frames], CLIP_MEAN, CLIP_STD, [video.size])
    assert torch.equal(ours.video_patches, whole.video_patches)
    assert load(frames, lambda *_: (308, 308), fps=2).frames.shape == (4, 150, 260, 3)


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("none.mp4", {}, "no file"),
        ([], {}, "list of at least one frame"),
        (7, {}, "int"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
            {},
            r"frame 1 is \[8, 9, 3\] and the first is \[8, 8, 3\]",
        ),
        ([np.zeros((8, 8, 3), np.uint8)], {"fps": 0}, "fps is 0"),
        ([np.zeros((8, 8, 3), np.uint8)], {"frame_rate": -1}, "frame_rate is -1"),
        ([b"no image"], {}, "frame 0: image cannot be decoded"),
    ],
)
def test_errors_say_what_was_wrong(source, settings, message):
    with pytest.raises(ValueError, match=message):
        load_video(source, **{"fps": 1} | settings)


def test_a_file_that_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be decoded"):
        load_video(tmp_path / "a.mp4", fps=1)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert len(load_video(tmp_path / "a.png", fps=1).frames) == 2  # a picture is a video of one frame
