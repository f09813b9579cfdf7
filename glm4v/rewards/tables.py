"""The tables of names in `data/`: one entry a line, `#` begins a comment."""

from pathlib import Path


def rows(name: str, separator: str) -> list[list[str]]:
    """The columns of each line, without the spaces around them."""
    lines = (Path(__file__).parent / "data" / name).read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(separator)] for line in lines if line and not line.startswith("#")]
