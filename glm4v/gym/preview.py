"""A contact sheet to look at: a row a domain, a column a tier, the texts of each problem below its picture."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.printing import font
from glm4v.gym.problem import Problem

ZOOM, WIDTH, TITLE, LINE, GAP = 2, 480, 22, 17, 14  # WIDTH of a cell and the heights, pixels


def preview(out: Path, *, seed: int = 0, pool: str = "train") -> Path:
    """Writes the sheet as PNG and returns its path; a video is shown as one frame a second, side by side."""
    rows = []
    for row, (name, domain) in enumerate(DOMAINS.items()):
        problems = [domain.make(np.random.default_rng([seed, row, tier]), tier, pool) for tier in TIERS]
        rows.append(_row(name, problems))
    sheet = Image.new("RGB", (WIDTH * len(TIERS), sum(row.height for row in rows)))
    top = 0
    for image in rows:
        sheet.paste(image, (0, top))
        top += image.height
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out


def _row(domain: str, problems: list[Problem]) -> Image.Image:
    """The domain's problems side by side, each with question, thought, answer and caption."""
    pictures = [_enlarged(problem) for problem in problems]
    height = TITLE + max(picture.height for picture in pictures) + 4 * LINE + GAP
    row = Image.new("RGB", (WIDTH * len(problems), height), (250, 250, 250))
    draw = ImageDraw.Draw(row)
    face = font("DejaVuSans.ttf", 13)
    for column, (problem, picture) in enumerate(zip(problems, pictures, strict=True)):
        left = column * WIDTH + 6
        draw.text((left, 3), f"{domain}, tier {TIERS[column]}", fill=(120, 120, 120), font=face)
        row.paste(picture, (left, TITLE))
        for i, text in enumerate((problem.question, problem.thought, problem.answer, problem.caption)):
            draw.text((left, TITLE + picture.height + 3 + LINE * i), _fitted(text, face), fill=(20, 20, 20), font=face)
    return row


def _enlarged(problem: Problem) -> Image.Image:
    """The picture at ZOOM, or smaller where the cell is too narrow."""
    pixels = problem.pixels if problem.frame_rate is None else np.concatenate(list(problem.pixels[::2]), axis=1)
    zoom = min(ZOOM, (WIDTH - 12) / pixels.shape[1])
    size = (round(pixels.shape[1] * zoom), round(pixels.shape[0] * zoom))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def _fitted(text: str, face: ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it is wider than a cell."""
    if face.getlength(text) <= WIDTH - 12:
        return text
    while face.getlength(text + "…") > WIDTH - 12:
        text = text[:-1]
    return text + "…"
