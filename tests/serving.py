"""A real `glm4v serve` in a process of its own, and requests to it."""

import base64
import http.client
import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class ServerProcess:
    """Started by `glm4v serve FOLDER OPTIONS`; ready once it has printed its address."""

    def __init__(self, folder: Path, *options: object, port: int = 0) -> None:
        command = [
            sys.executable,
            "-c",
            "from glm4v.cli import main; main()",
            "serve",
            folder,
            "--port",
            port,
            *options,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
        self.process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"at http://127.0.0.1:(\d+), .* weights (\w+)", line)
        assert found, line + self.stop()
        self.port, self.checksum = int(found[1]), found[2]
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Ends it; what it wrote to stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer to one request; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        status, text = response.status, response.read()
        connection.close()
        return status, json.loads(text)

    def chat(self, messages: Any, **fields: Any) -> dict[str, Any]:
        """A completion with token ids and log-probabilities."""
        body = {"messages": messages, "return_token_ids": True, "logprobs": True, **fields}
        status, answer = self.ask("POST", "/v1/chat/completions", body)
        assert status == 200, answer
        return answer


def together(calls: list[Any]) -> list[Any]:
    """The results of calls made in threads of their own at once."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def data_url(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
