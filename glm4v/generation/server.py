"""`glm4v serve`: OpenAI's chat completions over HTTP, from the engine that evaluation and rollouts use.

Every connection has a thread that reads and waits; the model runs in one thread for all of them.
"""

import json
import select
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from glm4v.data import Processor
from glm4v.generation.chat import Chat
from glm4v.generation.engine import EngineThread
from glm4v.generation.scheduler import Capacity
from glm4v.generation.wire import CHAT, HEALTH, MODELS, RELOAD, ChatRequest, ReloadRequest, WireError, parse
from glm4v.model import Glm4v

MOST_BYTES = 128 * 2**20  # of a request
MOST_CONNECTIONS = 512


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    name: str | None = None,
    max_tokens: int = 8192,
    sequences: int | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    reload_from: Path | None = None,
    on_ready: Callable[[str], None] = print,
) -> None:
    """Serves until it is interrupted.

    Args:
        folder: of the model and its processor.
        port: 0 takes a free one.
        name: of the model, for clients; default: the folder's.
        max_tokens: of a request, prompt and completion together.
        sequences: that are written at once; default: 512 on a CPU, 256 on a GPU.
        min_pixels, max_pixels: of one image; default: what the folder says.
        reload_from: folder below which POST /update_weights_from_disk may load; None: nowhere.
        on_ready: called with a line that has the address, once requests are taken.

    Raises:
        ValueError: a folder that cannot be read, or too little memory for `max_tokens`.
    """
    processor = Processor.from_pretrained(folder, max_pixels=max_pixels, min_pixels=min_pixels)
    model = Glm4v.from_pretrained(folder, device="cuda" if torch.cuda.is_available() else "cpu")
    try:
        capacity = Capacity.open(model, max_tokens, sequences)
    except MemoryError as error:
        raise ValueError(f"max_tokens: {error}") from error
    engine = EngineThread(model, processor, capacity)
    config = model.config
    del model  # else the first weights would stay in memory beside reloaded ones
    chat = Chat(engine, processor, config, name or folder.resolve().name, reload_from)
    with Server((host, port), chat) as server:
        address = f"http://{host}:{server.server_address[1]}"
        on_ready(f"serving {chat.name} at {address}, {max_tokens} tokens a request, weights {engine.checksum}")
        try:
            server.serve_forever()
        finally:
            engine.close()


class Server(ThreadingHTTPServer):
    """A thread a connection, at most MOST_CONNECTIONS; more are closed at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], chat: Chat) -> None:
        self.chat = chat
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class Handler(BaseHTTPRequestHandler):
    """HTTP around `Chat`: JSON in, JSON out, errors in OpenAI's form."""

    protocol_version = "HTTP/1.1"
    server_version = "glm4v"
    timeout = 60  # seconds that a client may take for a piece of its request
    server: Server

    def do_GET(self) -> None:
        self._respond(lambda: {HEALTH: self.server.chat.health, MODELS: self.server.chat.models}[self._route("GET")]())

    def do_POST(self) -> None:
        self._respond(self._post)

    def _post(self) -> BaseModel:
        route = self._route("POST")
        body = self._body()
        if route == CHAT:
            return self.server.chat.complete(parse(ChatRequest, body), self._gone)
        return self.server.chat.reload(parse(ReloadRequest, body), self._gone)

    def _route(self, method: str) -> str:
        path = self.path.partition("?")[0]
        methods = {HEALTH: "GET", MODELS: "GET", CHAT: "POST", RELOAD: "POST"}
        if path not in methods:
            raise WireError(404, f"there is no {path[:100]}; expected one of {', '.join(methods)}")
        if methods[path] != method:
            raise WireError(405, f"{path} takes {methods[path]}")
        return path

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise WireError(411, "expected a Content-Length", "Content-Length")
        if int(length) > MOST_BYTES:
            raise WireError(413, f"{length} bytes; a request may have {MOST_BYTES}", "Content-Length")
        body = self.rfile.read(int(length))
        self._read_whole = True
        return body

    def _respond(self, answer: Callable[[], BaseModel | dict[str, Any]]) -> None:
        self._read_whole = self.command == "GET"
        status, content = 200, b""
        try:
            result = answer()
            content = (
                result.model_dump_json(exclude_none=True).encode()
                if isinstance(result, BaseModel)
                else json.dumps(result).encode()
            )
        except WireError as error:
            status, content = error.status, json.dumps(error.body()).encode()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception as error:  # one client's trouble is not the others'
            self.log_error("%s", repr(error))
            status, content = 500, json.dumps(WireError(500, f"{type(error).__name__}: {error}").body()).encode()
        if not self._read_whole:  # what is left of the body would be taken for the next request
            self.close_connection = True
        self._send(status, content)

    def _send(self, status: int, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 429:
                self.send_header("Retry-After", "1")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _gone(self) -> bool:
        """Whether the client has closed its connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a line a request would be thousands in a step of rollouts."""
