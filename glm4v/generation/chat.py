"""Chat requests to the engine and its completions back, in the words of `wire`; no HTTP."""

import io
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from queue import Full
from typing import Any, TypeVar

from PIL import Image
from safetensors import SafetensorError

from glm4v.data import Processor, Sample
from glm4v.data.images import data_url_bytes
from glm4v.generation.engine import EngineThread, Written
from glm4v.generation.generate import media_ids, stop_ids, thinking
from glm4v.generation.settings import Completion, Settings
from glm4v.generation.wire import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ImagePart,
    LogProb,
    LogProbs,
    Message,
    Part,
    ReloadRequest,
    ReloadResponse,
    TextPart,
    Usage,
    WireError,
)

MOST_PIXELS = 200_000_000  # of all images of a request together, as they are stored; decoded they take 3 bytes each
LISTEN = 0.5  # seconds between two looks at whether the client is still there

T = TypeVar("T")


class Chat:
    """Answers requests of any number of threads.

    name: of the model; config: the model's; reload_from: the folder below which weights may be loaded, None: nowhere.
    """

    def __init__(
        self, engine: EngineThread, processor: Processor, config: Any, name: str, reload_from: Path | None
    ) -> None:
        self.engine, self.processor, self.config, self.name = engine, processor, config, name
        self.reload_from = reload_from
        self._reading = threading.Lock()  # tokenizers are not safe to use from several threads
        self._texts: dict[int, str] = {}  # of single tokens: decoded once, not once for every place

    def health(self) -> dict[str, Any]:
        """Raises WireError 503 when the engine has ended."""
        if not self.engine.alive:
            raise WireError(503, "the engine has ended")
        return {"status": "ok", "checksum": self.engine.checksum}

    def models(self) -> dict[str, Any]:
        about = {"id": self.name, "object": "model", "created": 0, "owned_by": "glm4v"}
        return {"object": "list", "data": [about | {"max_model_len": self.engine.capacity.max_tokens}]}

    def complete(self, request: ChatRequest, gone: Callable[[], bool]) -> ChatResponse:
        """Raises WireError; the work ends early where `gone` says that the client has left (ConnectionError)."""
        if request.model not in (None, self.name):
            raise WireError(404, f"there is no model {request.model!r}; this server has {self.name!r}", "model")
        sample = self._read(request)
        settings = self._settings(request, len(sample))
        listener = StopTexts(self.processor, request.stop_texts) if request.stop_texts else None
        try:
            future = self.engine.submit(sample, settings, listener)
        except Full as error:
            raise WireError(429, f"{error}; ask again later") from error
        return self._answer(request, sample, settings, _wait(future, gone))

    def reload(self, request: ReloadRequest, gone: Callable[[], bool]) -> ReloadResponse:
        """Raises WireError 403 outside of `reload_from`, 400 where the folder holds no weights that fit."""
        if self.reload_from is None:
            raise WireError(403, "this server was started without --reload-from", "model_path")
        folder = Path(request.model_path).resolve()
        if not folder.is_relative_to(self.reload_from.resolve()):
            raise WireError(403, f"{folder} is not below {self.reload_from.resolve()} (--reload-from)", "model_path")
        try:
            checksum = _wait(self.engine.reload(folder), gone)
        except (WireError, ConnectionError):
            raise
        except (ValueError, OSError, SafetensorError) as error:
            raise WireError(400, str(error), "model_path") from error
        return ReloadResponse(success=True, message=f"weights of {folder}", checksum=checksum)

    def _read(self, request: ChatRequest) -> Sample:
        pixels = Pixels()
        messages = [
            {"role": message.role, "content": _content(message, f"messages.{number}.content", pixels)}
            for number, message in enumerate(request.messages)
        ]
        try:
            with self._reading:
                return self.processor(messages, add_generation_prompt=True)
        except ValueError as error:
            raise WireError(400, str(error), "messages") from error

    def _settings(self, request: ChatRequest, length: int) -> Settings:
        most = self.engine.capacity.max_tokens
        room = most - length
        if room < 1:
            raise WireError(
                400, f"the prompt has {length} tokens; this server takes {most} with the answer", "messages"
            )
        if (wanted := request.new_tokens or room) > room:
            name = "max_tokens" if request.max_tokens else "max_completion_tokens"
            raise WireError(400, f"{wanted} and {length} of the prompt are above {most}; at most {room} here", name)
        try:
            budget = request.thinking_token_budget
            close = None if budget is None else thinking(budget, self.processor)
        except ValueError as error:
            raise WireError(400, str(error), "thinking_token_budget") from error
        return Settings(
            max_new_tokens=wanted,
            min_new_tokens=0,
            temperature=request.temperature,
            top_p=request.top_p,
            repetition_penalty=1.0,
            samples_per_prompt=request.n,
            seed=secrets.randbits(63) if request.seed is None else request.seed,
            stop=stop_ids(self.config, self.processor, ()),
            invalid=media_ids(self.config, self.processor),
            thinking=close,
        )

    def _answer(self, request: ChatRequest, sample: Sample, settings: Settings, written: Written) -> ChatResponse:
        prompt, completions = sample.input_ids.tolist(), written.completions
        new = sum(len(completion.tokens) for completion in completions)
        return ChatResponse(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=self.name,
            system_fingerprint=written.checksum,
            choices=[self._choice(request, settings, *numbered) for numbered in enumerate(completions)],
            usage=Usage(prompt_tokens=len(prompt), completion_tokens=new, total_tokens=len(prompt) + new),
            prompt_token_ids=prompt if request.return_token_ids else None,
        )

    def _choice(self, request: ChatRequest, settings: Settings, index: int, completion: Completion) -> Choice:
        tokens = completion.tokens
        text = completion.text or ""
        if tokens[-1] in settings.stop:
            text = self.processor.decode(tokens[:-1])
        ends = [place for stop in request.stop_texts if (place := text.find(stop)) >= 0]
        log_probs = None
        if request.logprobs:
            pairs = zip(tokens, completion.log_probs, strict=True)
            log_probs = LogProbs(content=[LogProb(token=self._text(t), logprob=p) for t, p in pairs])
        return Choice(
            index=index,
            message=ChatMessage(content=text[: min(ends, default=len(text))]),
            finish_reason=completion.finish_reason,
            logprobs=log_probs,
            token_ids=list(tokens) if request.return_token_ids else None,
            forced=list(completion.forced) if request.return_token_ids else None,
        )

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self.processor.decode([token])
        return self._texts[token]


class StopTexts:
    """Ends a sample whose text holds one of `texts`; to be called with every token of it."""

    def __init__(self, processor: Processor, texts: tuple[str, ...]) -> None:
        self._processor, self._texts = processor, texts
        self._window = max(len(text.encode()) for text in texts) + 4  # tokens, each of a byte at least
        self._tail: dict[int, list[int]] = {}

    def __call__(self, sample: int, token: int) -> bool:
        tail = self._tail[sample] = [*self._tail.get(sample, ()), token][-self._window :]
        text = self._processor.decode(tail)
        return any(stop in text for stop in self._texts)


class Pixels:
    """Adds up the pixels of a request's images, from their headers."""

    def __init__(self) -> None:
        self._total = 0

    def read(self, url: str, field: str) -> bytes:
        """The encoded image of a data URL. Raises WireError where it is none, or with it they are too many pixels."""
        try:
            data = data_url_bytes(url)
            with Image.open(io.BytesIO(data)) as image:
                self._total += image.width * image.height
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise WireError(400, f"no image: {error}", field) from error
        if self._total > MOST_PIXELS:
            raise WireError(413, f"{self._total} pixels up to here; a request may have {MOST_PIXELS}", field)
        return data


def _content(message: Message, field: str, pixels: Pixels) -> str | list[dict[str, Any]]:
    """As the processor takes it."""
    if isinstance(message.content, str):
        return message.content
    return [_part(part, f"{field}.{number}", pixels) for number, part in enumerate(message.content)]


def _part(part: Part, field: str, pixels: Pixels) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    limits = {"max_pixels": part.max_pixels, "min_pixels": part.min_pixels}
    if isinstance(part, ImagePart):
        return {"type": "image", "image": pixels.read(part.image_url.url, f"{field}.image_url.url"), **limits}
    frames = [pixels.read(url, f"{field}.video.{number}") for number, url in enumerate(part.video)]
    return {"type": "video", "video": frames, "frame_rate": part.frame_rate, "fps": part.fps, **limits}


def _wait(future: "Future[T]", gone: Callable[[], bool]) -> T:
    """The future's result; it is cancelled when the client has gone."""
    while True:
        try:
            return future.result(LISTEN)
        except NotYet:
            if gone():
                future.cancel()
                raise ConnectionAbortedError("the client has gone") from None
        except CancelledError:
            raise WireError(503, "the server ends") from None
        except FloatingPointError as error:
            raise WireError(500, str(error)) from error
