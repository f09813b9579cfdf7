"""Chat messages as users write them (OpenAI's or transformers' parts) -> what a chat template takes, and the media."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from glm4v.data.special import SpecialTokens, special

ROLES = ("system", "user", "assistant")
SOURCES = {"image": ("image", "url", "path"), "video": ("video", "url", "path")}  # where a part keeps its medium
SETTINGS = {"image": ("max_pixels", "min_pixels"), "video": ("max_pixels", "min_pixels", "fps", "frame_rate")}
RESERVED = [special(field.name) for field in fields(SpecialTokens) if field.name != "endoftext"]


@dataclass(frozen=True)
class Medium:
    """An image or video part, not yet read. `place` says where in the conversation it stands; None: the processor's."""

    kind: Literal["image", "video"]
    source: Any
    place: str
    max_pixels: int | None = None
    min_pixels: int | None = None
    fps: float | None = None
    frame_rate: float | None = None


def read_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[Medium]]:
    """Messages for the chat template, media reduced to {"type": kind}, and the media in order of appearance.

    Raises ValueError that names message and part.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise ValueError(f"messages is {type(messages).__name__}; expected a list of at least one message")
    media: list[Medium] = []
    rendered = []
    for number, message in enumerate(messages):
        place = f"message {number}"
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise ValueError(f"{place} is {str(message)[:80]}; expected a dict with 'role' and 'content'")
        if message["role"] not in ROLES:
            raise ValueError(f"{place} has the role {message['role']!r}; expected one of {', '.join(ROLES)}")
        content = message["content"]
        if isinstance(content, str):
            _check_text(content, place)
        else:
            content = list(_read_parts(content, place, media))
            # GLM's templates print what a system or an assistant says as it is: only a string is right there
            if message["role"] != "user" and all(part["type"] == "text" for part in content):
                content = "".join(part["text"] for part in content)
        rendered.append({**message, "content": content})
    return rendered, media


def _read_parts(parts: Any, place: str, media: list[Medium]) -> Iterator[dict[str, Any]]:
    if not isinstance(parts, Sequence):
        raise ValueError(f"{place}: content is a {type(parts).__name__}; expected text or a list of parts")
    for number, part in enumerate(parts):
        here = f"{place}, part {number}"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            _check_text(part["text"], here)
            yield {"type": "text", "text": part["text"]}
        elif kind == "image_url" and isinstance(part.get("image_url"), Mapping):
            settings = {key: value for key, value in part.items() if key not in ("type", "image_url")}
            media.append(_medium("image", {"url": part["image_url"].get("url"), **settings}, here))
            yield {"type": "image"}
        elif kind in SOURCES:
            media.append(_medium(kind, {key: value for key, value in part.items() if key != "type"}, here))
            yield {"type": kind}
        else:
            raise ValueError(
                f"{here} is {str(part)[:80]}; expected {{'type': 'text', 'text': ..}}, {{'type': 'image', 'image': ..}}"
                ", {'type': 'image_url', 'image_url': {'url': ..}} or {'type': 'video', 'video': ..}"
            )


def _medium(kind: Any, part: dict[str, Any], place: str) -> Medium:
    place = f"{place} ({kind})"
    sources = [key for key in SOURCES[kind] if part.get(key) is not None]
    if len(sources) != 1:
        raise ValueError(f"{place} has {sources or 'no source'}; expected exactly one of {', '.join(SOURCES[kind])}")
    settings = {key: value for key, value in part.items() if key not in SOURCES[kind]}
    for key, value in settings.items():
        if key not in SETTINGS[kind]:
            raise ValueError(f"{place} has the key {key!r}; expected settings among {', '.join(SETTINGS[kind])}")
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ValueError(f"{place}: {key} is {value!r}; expected a number above 0")
    return Medium(kind, part[sources[0]], place, **settings)


def _check_text(text: str, place: str) -> None:
    """Text must not forge a turn or a medium: such tokens would not fit the images, or the loss, any more."""
    for forged in RESERVED:
        if forged in text:
            raise ValueError(f"{place}: the text contains {forged}, which only the chat template may write; remove it")
