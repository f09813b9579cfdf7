"""Pictures of problems inside the page: PNG data URIs, with boxes and clicks drawn on top as SVG."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from glm4v.rewards.boxes import Box, parse_boxes
from glm4v.rewards.gui import parse_action

MAX_SIDE = 336  # pixels; larger pictures are scaled down, smaller ones are scaled up by the browser, pixel by pixel
MAX_FRAMES = 6


def shot(paths: Sequence[Path], prediction: str | None, truth: Any) -> str:
    """The picture, or frames spread over a video, as HTML; "" when no file can be shown."""
    shown = [path for path in paths if path.is_file() and path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")]
    if not shown:
        return ""
    count = min(MAX_FRAMES, len(shown))
    chosen = [shown[i * (len(shown) - 1) // max(count - 1, 1)] for i in range(count)]
    marks = _marks(prediction, truth)
    frames = "".join(f'<div class="frame"><img alt="" src="{data_uri(path)}">{marks}</div>' for path in chosen)
    return f'<div class="shot{" single" * (len(chosen) == 1)}">{frames}</div>'


def data_uri(path: Path) -> str:
    """A picture as a PNG data URI, at most MAX_SIDE pixels wide and high."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _marks(prediction: str | None, truth: Any) -> str:
    """The truth's boxes and the prediction's boxes or click, on 0..1000 of the picture; "" where there are none."""
    truths = _boxes_of_truth(truth)
    if not truths:
        return ""
    marks = [_rectangle(box, "var(--truth)", "") for box in truths]
    marks += [_rectangle(box, "var(--guess)", ' stroke-dasharray="5 3"') for box in parse_boxes(prediction or "") or []]
    action = parse_action(prediction or "")
    if action is not None and action.point is not None:
        marks.append(_cross(*action.point))
    return f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{"".join(marks)}</svg>'


def _boxes_of_truth(truth: Any) -> list[Box]:
    if isinstance(truth, Mapping):
        listed = truth.get("boxes") or ([truth["box"]] if "box" in truth else [])
        return [Box(*map(float, box)) for box in listed]
    return parse_boxes(str(truth).partition(" ")[2]) or parse_boxes(str(truth)) or []


def _rectangle(box: Box, colour: str, dashes: str) -> str:
    """A frame with a light casing, so that it shows on any picture."""
    shape = f'x="{box.left:g}" y="{box.top:g}" width="{box.right - box.left:g}" height="{box.bottom - box.top:g}"'
    common = f'<rect {shape} fill="none" vector-effect="non-scaling-stroke"'
    return (
        f'{common} stroke="#fff" stroke-width="4" opacity=".8"/>{common} stroke="{colour}" stroke-width="2"{dashes}/>'
    )


def _cross(x: float, y: float) -> str:
    shape = f"M{x - 45:g} {y:g}H{x + 45:g}M{x:g} {y - 45:g}V{y + 45:g}"
    path = f'<path d="{shape}" vector-effect="non-scaling-stroke" fill="none"'
    return f'{path} stroke="#fff" stroke-width="5" opacity=".8"/>{path} stroke="var(--guess)" stroke-width="2.5"/>'
