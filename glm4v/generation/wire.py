"""What travels between a server and its clients: OpenAI's chat completions, with token ids as vLLM returns them.

Requests are checked to the last field and nothing unknown is taken; answers may hold more than is read here, since
other servers send more. Beyond OpenAI: `return_token_ids` (vLLM's) asks for `prompt_token_ids`, and for `token_ids` of
each choice; `thinking_token_budget` (vLLM's) closes a thought; `forced` says which tokens were written and not sampled;
parts of type "video" hold frames.
"""

import base64
import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationError, model_validator

from glm4v.data.images import resolve
from glm4v.data.messages import Medium, read_messages

CHAT, MODELS, HEALTH = "/v1/chat/completions", "/v1/models", "/health"
RELOAD = "/update_weights_from_disk"  # SGLang's name for it
RPC, RESET = "/collective_rpc", "/reset_prefix_cache"  # vLLM's, with VLLM_SERVER_DEV_MODE=1
MOST_SAMPLES = 128  # of one request
INT64 = 2**63

Pixels = Annotated[int, Field(ge=1, le=2**31)]
Rate = Annotated[float, Field(gt=0, le=1000)]


class Asked(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(Asked):
    type: Literal["text"]
    text: str


class ImageUrl(Asked):
    url: str = Field(pattern="^data:")
    detail: Literal["auto"] = "auto"


class ImagePart(Asked):
    type: Literal["image_url"]
    image_url: ImageUrl
    max_pixels: Pixels | None = None
    min_pixels: Pixels | None = None


class VideoPart(Asked):
    """A video as its frames, data URLs, recorded at `frame_rate` a second, of which `fps` a second are looked at."""

    type: Literal["video"]
    video: list[Annotated[str, Field(pattern="^data:")]] = Field(min_length=1, max_length=10_000)
    frame_rate: Rate | None = None
    fps: Rate | None = None
    max_pixels: Pixels | None = None
    min_pixels: Pixels | None = None


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]
ONE, SEVERAL = "(one)", "(several)"  # in an error's path; no field has such a name


def _one_or_several(value: Any) -> str:
    return SEVERAL if isinstance(value, list) else ONE


class Message(Asked):
    role: Literal["system", "user", "assistant"]
    content: Annotated[Annotated[str, Tag(ONE)] | Annotated[list[Part], Tag(SEVERAL)], Discriminator(_one_or_several)]


StopText = Annotated[str, Field(min_length=1, max_length=256)]
Stop = Annotated[
    Annotated[StopText | None, Tag(ONE)] | Annotated[list[StopText], Field(max_length=4), Tag(SEVERAL)],
    Discriminator(_one_or_several),
]


class ChatRequest(Asked):
    """POST /v1/chat/completions."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1, max_length=1000)
    n: int = Field(default=1, ge=1, le=MOST_SAMPLES)
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    temperature: float = Field(default=1.0, ge=0, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)  # its newer name
    logprobs: bool = False
    top_logprobs: Literal[0] | None = None
    stop: Stop = None
    thinking_token_budget: int | None = Field(default=None, ge=0)
    return_token_ids: bool = False
    stream: Literal[False] = False

    @model_validator(mode="after")
    def _one_limit(self) -> "ChatRequest":
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        return self

    @property
    def new_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    @property
    def stop_texts(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ReloadRequest(Asked):
    """POST /update_weights_from_disk: weights from a folder of the server's machine."""

    model_path: str = Field(min_length=1, max_length=4096)


class Answer(BaseModel):
    """A part of an answer. What OpenAI's format has and nobody here reads is left out of the checks."""

    model_config = ConfigDict(extra="allow", frozen=True)


class LogProb(Answer):
    token: str
    logprob: float  # at the sampling temperature, over the whole vocabulary, before top_p
    bytes: list[int] | None = None
    top_logprobs: list[JsonValue] = []


class LogProbs(Answer):
    content: list[LogProb] | None = None


class ChatMessage(Answer):
    role: str = "assistant"
    content: str | None = None


class Choice(Answer):
    index: int
    message: ChatMessage
    finish_reason: str | None
    logprobs: LogProbs | None = None
    token_ids: list[int] | None = None
    forced: list[bool] | None = None


class Usage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatResponse(Answer):
    id: str
    object: str = "chat.completion"
    created: int
    model: str
    system_fingerprint: str | None = None  # of this server: the checksum of the weights that wrote it
    choices: list[Choice]
    usage: Usage | None = None
    prompt_token_ids: list[int] | None = None


class ReloadResponse(Answer):
    success: bool
    message: str = ""
    checksum: str | None = None  # over all weights, `glm4v.model.weights.checksum`


class WireError(ValueError):
    """A request that is refused: the HTTP status, and the field that is wrong, if it is one."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.status, self.field = status, field

    def body(self) -> dict[str, Any]:
        """As OpenAI's servers tell it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": self.status}}


def parse(kind: type[Any], body: bytes) -> Any:
    """A request of class `kind` from its JSON. Raises WireError 400 that names the first wrong field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = list(first["loc"])
        if SEVERAL in path and path[0] == "messages" and len(path) > path.index(SEVERAL) + 2:
            del path[path.index(SEVERAL) + 2]  # the kind of part, which the discriminator puts behind its number
        field = ".".join(str(part) for part in path if part not in (ONE, SEVERAL))
        text = first["msg"].removeprefix("Value error, ")
        shown = f", was {json.dumps(first['input'], default=str)[:100]}"
        raise WireError(400, text + shown * (bool(field) and first["type"] != "missing"), field or None) from error


def to_wire(messages: Sequence[Mapping[str, Any]], root: Path, key: str) -> list[Message]:
    """Messages of a data file as they travel: files are read, from `root` on, and become data URLs byte by byte.

    Raises ValueError that begins with `key`.
    """
    try:
        rendered, media = read_messages(messages)
        remaining = iter(media)
        return [
            Message(role=message["role"], content=_content(message["content"], remaining, root)) for message in rendered
        ]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _content(content: Any, media: Any, root: Path) -> str | list[Part]:
    if isinstance(content, str):
        return content
    parts: list[Part] = []
    for part in content:
        if part["type"] == "text":
            parts.append(TextPart(type="text", text=part["text"]))
            continue
        medium: Medium = next(media)
        limits = {"max_pixels": medium.max_pixels, "min_pixels": medium.min_pixels}
        if medium.kind == "image":
            url = ImageUrl(url=_data_url(medium.source, root, medium.place))
            parts.append(ImagePart(type="image_url", image_url=url, **limits))
        elif isinstance(medium.source, Sequence) and not isinstance(medium.source, str | bytes):
            frames = [_data_url(frame, root, medium.place) for frame in medium.source]
            video = VideoPart(type="video", video=frames, frame_rate=medium.frame_rate, fps=medium.fps, **limits)
            parts.append(video)
        else:
            raise ValueError(f"{medium.place}: a video file does not travel to a server; give it as a list of frames")
    return parts


def _data_url(source: Any, root: Path, place: str) -> str:
    if isinstance(source, str) and source.startswith("data:"):
        return source
    if not isinstance(source, str | Path):
        raise ValueError(f"{place} is a {type(source).__name__}; expected the path of a file, or a data URL")
    path = resolve(source, root)
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
