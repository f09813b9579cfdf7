"""The judge of open answers, against a real server in a process of its own."""

import json
import multiprocessing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from glm4v.rewards import assess, verify
from glm4v.rewards.judge import Judge, JudgeError


def serve(pipe: Connection, script: list[tuple[int, str]]) -> None:
    """Answers with the statuses and replies of a script, the last of which is repeated, and tells what was asked."""

    class Handler(BaseHTTPRequestHandler):
        asked = 0

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pipe.send((self.path, self.headers.get("Authorization"), json.loads(body)))
            status, reply = script[min(Handler.asked, len(script) - 1)]
            Handler.asked += 1
            text = reply if status != 200 else json.dumps({"choices": [{"message": {"content": reply}}]})
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_port)
    server.serve_forever()


class Server:
    """A running server: its url, and what it was asked since the last look."""

    def __init__(self, script: list[tuple[int, str]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, script), daemon=True)
        self.process.start()
        self.url = f"http://127.0.0.1:{self.pipe.recv()}/v1"

    def asked(self) -> list[tuple[str, str | None, dict]]:
        found = []
        while self.pipe.poll(0.05):
            found.append(self.pipe.recv())
        return found


@pytest.fixture
def start() -> Iterator:
    servers: list[Server] = []

    def begin(*script: tuple[int, str]) -> Server:
        servers.append(Server(list(script)))
        return servers[-1]

    yield begin
    for server in servers:
        server.process.terminate()
        server.process.join()


def test_what_it_says_counts_and_is_remembered(start, tmp_path: Path) -> None:
    server = start((200, "CORRECT"))
    judge = Judge(server.url, "small", key="secret", cache=tmp_path / "verdicts.jsonl")
    verdict = judge("a form of rule by the people", "democracy", "What is it?")
    assert verdict.reward == 1.0
    assert "says small" in verdict.reason
    assert judge("a form of rule by the people", "democracy", "What is it?").reward == 1.0
    ((path, key, body),) = server.asked()
    assert path == "/v1/chat/completions"
    assert key == "Bearer secret"
    assert body["temperature"] == 0
    assert json.loads(body["messages"][1]["content"])["reference"] == "democracy"
    again = Judge(server.url, "small", cache=tmp_path / "verdicts.jsonl")
    assert again("a form of rule by the people", "democracy", "What is it?").reward == 1.0
    assert server.asked() == []


def test_it_is_asked_again_after_failures_and_nonsense(start) -> None:
    server = start((503, "busy"), (200, "It depends."), (200, "**Incorrect.**"))
    assert Judge(server.url, "small", wait=0.01)("x", "y").reward == 0.0
    assert len(server.asked()) == 3


def test_a_broken_server_is_an_error_not_a_reward(start) -> None:
    server = start((500, "broken"))
    with pytest.raises(JudgeError, match="no verdict in 2 attempts, last: 500"):
        Judge(server.url, "small", attempts=2, wait=0.01)("x", "y")
    refused = start((401, "who are you"))
    with pytest.raises(JudgeError, match="refused with 401"):
        Judge(refused.url, "small", wait=0.01)("x", "y")
    assert len(refused.asked()) == 1
    with pytest.raises(JudgeError, match="gave no verdict"):
        Judge("http://127.0.0.1:9", "small", attempts=2, wait=0.01)("x", "y")


@pytest.mark.parametrize(
    ("domain", "prediction", "truth", "question"),
    [
        ("math", "8", "7", "What is 3 + 4?"),
        ("math", "7", "7", "What is 3 + 4?"),
        ("physics", "5 J", "5 N", "What is the force?"),
        ("choice", "B", "A", "Which? A. red B. blue"),
        ("chemistry", "CO", "CO2", "Which gas?"),
        ("vqa", "red or blue", "red", "Which colour?"),
        ("vqa", "", "red", "Which colour?"),
        ("yes_no", "no", "yes", "Is it?"),
        ("liberal_arts", "1915", "1914", "In which year?"),
    ],
)
def test_it_is_never_asked_where_rules_decide(start, domain: str, prediction: str, truth: str, question: str) -> None:
    server = start((200, "CORRECT"))
    judge = Judge(server.url, "small")
    expected = verify(domain, prediction, truth, question)
    assert verify(domain, prediction, truth, question, judge=judge) == expected
    assert server.asked() == []


def test_it_is_asked_about_words_that_the_rules_do_not_know(start) -> None:
    server = start((200, "CORRECT"))
    truth, question = "perseverance", "What does the poem praise?"
    assert verify("liberal_arts", "keeping at it", truth, question) == 0.0
    assert assess("liberal_arts", "keeping at it", truth, question, judge=Judge(server.url, "small")).reward == 1.0
    assert len(server.asked()) == 1


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="url: 'localhost', expected"):
        Judge("localhost", "small")
    with pytest.raises(ValueError, match="attempts: 0"):
        Judge("http://127.0.0.1:1", "small", attempts=0)
