"""Pictures inside the page, and marks on them."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from glm4v.report.pictures import MAX_FRAMES, MAX_SIDE, data_uri, shot


def _picture(path: Path, size: tuple[int, int]) -> Path:
    Image.new("RGB", size, (200, 10, 10)).save(path)
    return path


def test_small_pictures_keep_their_pixels_and_large_ones_are_scaled(tmp_path: Path) -> None:
    for size, expected in (((30, 20), (30, 20)), ((2000, 1000), (MAX_SIDE, MAX_SIDE // 2))):
        uri = data_uri(_picture(tmp_path / "a.png", size))
        image = Image.open(BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
        assert image.size == expected
        assert image.getpixel((0, 0)) == (200, 10, 10)


def test_a_video_shows_frames_from_first_to_last(tmp_path: Path) -> None:
    frames = [_picture(tmp_path / f"{i}.png", (8 + i, 8)) for i in range(20)]
    html = shot(frames, None, "3")
    assert html.count("<img") == MAX_FRAMES
    assert data_uri(frames[0]) in html
    assert data_uri(frames[-1]) in html
    assert "single" not in html


def test_boxes_and_clicks_are_drawn(tmp_path: Path) -> None:
    paths = [_picture(tmp_path / "a.png", (40, 40))]
    boxes = shot(paths, "[100,200,300,400]", {"boxes": [[110, 200, 300, 400]]})
    assert 'x="110" y="200" width="190" height="200"' in boxes
    assert 'x="100" y="200" width="200" height="200"' in boxes
    click = shot(paths, "click(500,600)", {"action": "click", "box": [400, 500, 600, 700]})
    assert 'x="400"' in click
    assert "M455 600H545" in click
    assert 'x="100"' in shot(paths, None, "[[100, 200, 300, 400]]")
    assert "<rect" not in shot(paths, "[100,200,300,400]", "red")


def test_files_that_are_gone_show_nothing(tmp_path: Path) -> None:
    assert shot([tmp_path / "gone.png", tmp_path / "film.mp4"], None, "3") == ""
