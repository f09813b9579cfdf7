"""Domain `gui`: click on a widget. Tiers go from one big button to small labelled ones on a wallpaper."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from glm4v.gym.choice import pick, picks
from glm4v.gym.draw import COLOURS, SCALE, SHAPES, draw_shape, finish, paper, shade, to_pixels
from glm4v.gym.printing import font
from glm4v.gym.problem import Box, Problem
from glm4v.gym.scene import STEP, place, scatter

VERIFIER = "gui"
QUESTIONS = ("Click the {name}.", "Press the {name}.", "Tap the {name}.")
LABELS = ("OK", "Save", "Open", "Close", "Help", "Back", "Send", "Play", "Stop", "Edit")
SIDE = 112
TOLD = 4  # widgets that a caption names
INK = (30, 35, 60)
BAR = 150  # the title bar's share of 1000


@dataclass(frozen=True)
class Tier:
    """rows, columns: of the grid that widgets lie on; widgets: fewest and most; kinds: of widget that occur."""

    rows: int
    columns: int
    widgets: tuple[int, int]
    kinds: tuple[str, ...]
    fill: tuple[float, float]
    noise: float
    photo: float = 0.0


TIERS = {
    1: Tier(rows=1, columns=1, widgets=(1, 1), kinds=("button",), fill=(0.3, 0.5), noise=4),
    2: Tier(rows=2, columns=2, widgets=(2, 3), kinds=("button",), fill=(0.7, 0.95), noise=6),
    3: Tier(rows=3, columns=2, widgets=(3, 5), kinds=("button", "icon"), fill=(0.65, 0.95), noise=12),
    4: Tier(rows=3, columns=2, widgets=(2, 4), kinds=("label",), fill=(0.8, 0.95), noise=12),
    5: Tier(rows=4, columns=2, widgets=(5, 8), kinds=("label", "icon"), fill=(0.75, 0.95), noise=25, photo=0.5),
}


def make(rng: np.random.Generator, tier: int, pool: str) -> Problem:
    """A window and one widget to click; the worked example says roughly where it is and clicks its middle."""
    spec = TIERS[tier]
    cells = scatter(rng, int(rng.integers(spec.widgets[0], spec.widgets[1] + 1)), spec.rows, spec.columns, spec.fill)
    boxes = [_below_bar(box) for _, _, box in cells]
    names = picks(rng, [(kind, name) for kind in spec.kinds for name in _names(kind)], len(boxes))
    sheet = paper(rng, pool, SIDE, SIDE, spec.photo)
    _window(rng, sheet)
    for (kind, name), box in zip(names, boxes, strict=True):
        _widget(rng, sheet, kind, name, box)
    chosen = int(rng.integers(len(boxes)))
    target, box = _title(*names[chosen]), boxes[chosen]
    listed = [f"{_title(*name)} {place(box)} {_middle(box)}" for name, box in zip(names, boxes, strict=True)]
    return Problem(
        pixels=finish(rng, sheet, spec.noise),
        question=pick(rng, QUESTIONS).format(name=target),
        truth={"action": "click", "box": list(box)},
        answer=f"click({_middle(box)})",
        thought=f"{target} {place(box)}",
        caption=f"A window: {', '.join(listed[:TOLD])}.",
    )


def _names(kind: str) -> tuple[str, ...]:
    return {"button": tuple(COLOURS), "icon": SHAPES, "label": LABELS}[kind]


def _title(kind: str, name: str) -> str:
    return f"{name} {'icon' if kind == 'icon' else 'button'}"


def _below_bar(box: Box) -> Box:
    """Squeezes a box of the whole picture into the part below the title bar, outwards to multiples of STEP."""
    top, bottom = (BAR + edge * (1000 - BAR) // 1000 for edge in (box[1], box[3]))
    return box[0], -(-top // STEP) * STEP, box[2], bottom // STEP * STEP


def _middle(box: Box) -> str:
    """The middle of the box on multiples of STEP, as "x,y"."""
    return ",".join(str((box[i] + box[i + 2]) // (2 * STEP) * STEP) for i in (0, 1))


def _window(rng: np.random.Generator, sheet: Image.Image) -> None:
    """A frame and a title bar with its three dots."""
    draw = ImageDraw.Draw(sheet)
    height = sheet.height * (BAR - 50) // 1000
    draw.rectangle((0, 0, sheet.width - 1, height), fill=(70, 80, int(rng.integers(90, 140))))
    draw.rectangle((0, 0, sheet.width - 1, sheet.height - 1), outline=(70, 80, 110), width=SCALE)
    for i in range(3):
        draw.circle((sheet.width - (6 + 8 * i) * SCALE, height / 2), 2 * SCALE, fill=(220, 220, 220))


def _widget(rng: np.random.Generator, sheet: Image.Image, kind: str, name: str, box: Box) -> None:
    """A coloured button, a grey button with a dark shape, or a grey button with a label."""
    left, top, right, bottom = to_pixels(box, sheet)
    middle = ((left + right) / 2, (top + bottom) / 2)
    face = shade(rng, name) if kind == "button" else (225, 225, 230)
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle((left, top, right - 1, bottom - 1), 3 * SCALE, face, outline=(90, 90, 100), width=SCALE)
    if kind == "label":
        type_face = font("DejaVuSans-Bold.ttf", min(14 * SCALE, int(0.8 * (bottom - top))))
        draw.text(middle, name, fill=INK, font=type_face, anchor="mm")
    if kind == "icon":
        x, y, reach = *middle, 0.36 * (bottom - top)
        draw_shape(sheet, name, (x - reach, y - reach, x + reach, y + reach), INK)
