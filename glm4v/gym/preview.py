"""A contact sheet to look at: a row a domain, a column a tier, with question and answer below each picture."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from glm4v.gym.domains import DOMAINS
from glm4v.gym.printing import font

ZOOM, CELL_WIDTH, CELL_HEIGHT = 2, 480, 330


def preview(out: Path, *, seed: int = 0, pool: str = "train") -> Path:
    """Writes the sheet as PNG and returns its path; a video is shown as its frames side by side, one a second."""
    sheet = Image.new("RGB", (CELL_WIDTH * 5, CELL_HEIGHT * len(DOMAINS)), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    face = font("DejaVuSans.ttf", 13)
    for row, (name, domain) in enumerate(DOMAINS.items()):
        for column in range(5):
            problem = domain.make(np.random.default_rng([seed, row, column]), column + 1, pool)
            pixels = problem.pixels if problem.pixels.ndim == 3 else np.concatenate(list(problem.pixels[::2]), axis=1)
            picture = Image.fromarray(pixels)
            zoom = min(ZOOM, (CELL_WIDTH - 12) / picture.width)
            size = (round(picture.width * zoom), round(picture.height * zoom))
            picture = picture.resize(size, Image.Resampling.NEAREST)
            x, y = column * CELL_WIDTH + 6, row * CELL_HEIGHT + 24
            draw.text((x, y - 20), f"{name} / {column + 1}", fill=(120, 120, 120), font=face)
            sheet.paste(picture, (x, y))
            lines = (problem.question, problem.thought, problem.answer, problem.caption)
            for i, line in enumerate(lines):
                draw.text((x, y + picture.height + 4 + 16 * i), line[:75], fill=(20, 20, 20), font=face)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out
