"""The page around the sections: one HTML document that needs no network and no script."""

from collections.abc import Sequence
from html import escape

from glm4v.report.style import STYLE


def page(title: str, lead: str, sections: Sequence[str], foot: str) -> str:
    """The document; sections are HTML, the rest is text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>'
        f"<main>{''.join(sections)}</main><footer>{escape(foot)}</footer></body></html>\n"
    )


def section(title: str, lead: str, body: str) -> str:
    """A headed part of the page; body is HTML."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(lead)}</p>{body}</section>"


def figure(title: str, meaning: str, body: str) -> str:
    """A chart (HTML) under its title and what it means in plain words."""
    return f"<figure><h3>{escape(title)}</h3><figcaption>{escape(meaning)}</figcaption>{body}</figure>"


def grid(parts: Sequence[str], columns: int = 2) -> str:
    """Figures beside one another where the screen is wide enough."""
    return f'<div class="grid-{columns}">{"".join(parts)}</div>'
