"""Names of figures: triangles and what they are congruent to, angles, segments, parallel and perpendicular lines."""

import re

from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import unwrap

_WORDS = {
    **{
        "\\triangle": "△",
        "triangle": "△",
        "三角形": "△",
        "\\cong": "≅",
        "is congruent to": "≅",
        "congruent to": "≅",
        "全等于": "≅",
        "≌": "≅",
    },
    **{
        "\\sim": "∼",
        "is similar to": "∼",
        "similar to": "∼",
        "相似于": "∼",
        "∽": "∼",
        "~": "∼",
        "\\angle": "∠",
        "angle": "∠",
        "角": "∠",
    },
    **{
        "\\parallel": "∥",
        "is parallel to": "∥",
        "parallel to": "∥",
        "平行于": "∥",
        "//": "∥",
        "||": "∥",
        "\\perp": "⊥",
    },
    **{
        "is perpendicular to": "⊥",
        "perpendicular to": "⊥",
        "垂直于": "⊥",
        "line segment": "",
        "segment": "",
        "线段": "",
        "the ": "",
    },
    **{
        "\\overline": "",
        "\\overleftrightarrow": "",
        "line": "",
        "直线": "",
        "side": "",
        "chord": "",
        "弦": "",
        "边": "",
        "diameter": "",
    },
    **{
        "radius": "",
        "{": "",
        "}": "",
        "$": "",
        "measure of": "",
        "lines": "",
        "square ": "",
        "rectangle": "",
        "quadrilateral": "",
        "正方形": "",
        "四边形": "",
        "△s": "△",
    },
}
_RELATION = re.compile(r"(△?)([A-Za-z]'?(?:[A-Z]'?)*)([≅∼∥⊥])(△?)([A-Za-z]'?(?:[A-Z]'?)*)")
_FIGURE = re.compile(r"([∠△⊙]?)((?:[A-Z]'?){1,6})")


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of figures: None where the truth is none, else whether the answer is the same figure."""
    right = _figure(truth)
    if right is None or not re.search(r"[≅∼∥⊥∠△⊙]|segment|overline|line|线段|^[A-Z]{2}$", _signs(truth) + truth):
        return None
    if re.fullmatch(r"[A-Z]{2,}", truth) and not re.search(
        r"segment|line|side|chord|angle|线|边|弦|figure|triangle|diameter|radius|square|rectangle|quadrilateral"
        r"|polygon|四边形|正方形",
        question or "",
    ):
        return None
    if hedge(text, truth) is not None and _figure(text) is None:
        return False
    return any(_figure(core) == right for core in cores(text, question))


def _signs(text: str) -> str:
    text = unwrap(text)
    for word, sign in _WORDS.items():
        text = text.replace(word, sign)
    return text


def _figure(text: str) -> tuple[str, ...] | None:
    """A figure or relation in one of its equal spellings."""
    if len(text) > 120:
        return None
    text = re.sub(
        r"\s+",
        "",
        _signs(text[:1].lower() + text[1:] if text[:4] in ("Tria", "Angl", "Segm", "Line", "The ") else text),
    )
    match = _RELATION.fullmatch(text)
    if match:
        return _relation(match[1] + match[4], match[2], match[3], match[5])
    match = _FIGURE.fullmatch(text)
    if match is None:
        return None
    points = re.findall(r"[A-Z]'?", match[2])
    if match[1] == "∠":
        return ("∠", *(points if len(points) != 3 or points[0] < points[2] else points[::-1]))
    if match[1] in ("△", "⊙"):
        return (match[1], *sorted(points))
    if len(points) <= 2:
        return ("", *sorted(points))
    turns = [order[n:] + order[:n] for order in (points, points[::-1]) for n in range(len(points))]
    return ("", *min(turns))  # the corners of a polygon, one after another


def _relation(triangles: str, one: str, sign: str, other: str) -> tuple[str, ...] | None:
    first, second = (re.findall(r"[A-Za-z]'?", name) for name in (one, other))
    if len(first) != len(second):
        return None
    if sign in "≅∼":  # corresponding vertices stay together, whatever their order and sides
        pairs = [sorted(zip(*pair, strict=True)) for pair in ((first, second), (second, first))]
        return (sign, *("".join(pair) for pair in min(pairs)))
    return (sign, *sorted("".join(sorted(name)) for name in (first, second)))
