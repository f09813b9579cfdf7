"""Ask a model in a folder about pictures and videos, and draw the boxes of its answer in the picture's own pixels."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from glm4v.data import Processor, load_image, to_pixel_box
from glm4v.model import Glm4v, best_device

BOX = re.compile(r"\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]")
VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm"}
COLOUR = (230, 30, 60)


def ask(
    folder: str | Path,
    question: str,
    media: Sequence[str | Path] = (),
    *,
    max_new_tokens: int = 1024,
    temperature: float = 0.0,
    thinking_budget: int | None = None,
    seed: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """The model's response, special tokens kept.

    Args:
        folder: of the model and its processor.
        media: pictures, and videos by their file's suffix, shown before the question.
        thinking_budget, seed: as in `glm4v.generation.generate`.
        on_progress: called as on_progress(tokens written, max_new_tokens) after each token.

    Raises:
        ValueError: a folder or a medium that cannot be read, named.
    """
    processor = Processor.from_pretrained(folder)
    model = Glm4v.from_pretrained(folder, device=best_device())
    kinds = ["video" if Path(path).suffix.lower() in VIDEO_SUFFIXES else "image" for path in media]
    shown = [{"type": kind, kind: str(path)} for kind, path in zip(kinds, media, strict=True)]
    prompt = processor([{"role": "user", "content": [*shown, {"type": "text", "text": question}]}])
    written = 0

    def count(completion: int, token: int) -> None:
        nonlocal written
        written += 1
        if on_progress:
            on_progress(written, max_new_tokens)

    [completion] = model.generate(
        [prompt],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        thinking_budget=thinking_budget,
        seed=seed,
        processor=processor,
        on_token=count,
    )
    assert completion.text is not None  # a processor was given
    return completion.text


def answer_boxes(response: str, image_size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """The boxes behind the thinking of a response, in pixels (x1, y1, x2, y2) of a picture of (width, height)."""
    answer = response.rpartition("</think>")[2]
    boxes = [tuple(int(number) for number in match) for match in BOX.findall(answer)]
    return [to_pixel_box(box, image_size) for box in boxes if _is_box(box)]


def draw_boxes(image: str | Path, response: str, out: str | Path) -> int:
    """Write `image` with the boxes of `response` drawn on it to `out`; returns how many there are."""
    picture = Image.fromarray(load_image(image).numpy())
    boxes = answer_boxes(response, picture.size)
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        draw.rectangle(box, outline=COLOUR, width=max(1, round(max(picture.size) / 200)))
    picture.save(out)
    return len(boxes)


def _is_box(box: Sequence[int]) -> bool:
    """Whether a model wrote a box: corners that ascend, within 0..1000."""
    x1, y1, x2, y2 = box
    return x1 <= x2 <= 1000 and y1 <= y2 <= 1000
