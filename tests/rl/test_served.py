"""Rollouts from a real `glm4v serve`: those of our own engine, also when it dies in the middle; and who is refused."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from glm4v.data import Processor
from glm4v.generation.wire import CHAT, RELOAD
from glm4v.model import Glm4v
from glm4v.model.weights import checksum
from glm4v.rl import rlcs
from glm4v.rl.pool import Pool
from glm4v.rl.recipe import RlcsRecipe, RolloutSection, ServerSection
from glm4v.rl.rollout import Group, OwnEngine, roll_out
from glm4v.rl.served import Served
from glm4v.train.distributed import Engine
from glm4v.train.recipe import OptimSection
from tests.serving import ServerProcess

EXTRA = ("seconds/", "sight/", "time", "rollout_retries")  # figures that differ between the two backends


@pytest.fixture(scope="module")
def problems(bandit: Path) -> Path:
    """The bandit's problems, each with words of its own, so that none is asked twice; every third with a picture."""
    lines = [json.loads(line) for line in (bandit / "problems.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        parts = [{"type": "text", "text": f"{line['domain']} {line['id']}"}]
        if number % 3 == 0:
            Image.new("RGB", (56, 28 + 28 * (number % 2)), (5 * number, 90, 0)).save(bandit / f"{number}.png")
            parts.insert(0, {"type": "image", "image": f"{number}.png"})
        line["messages"] = [{"role": "user", "content": parts}]
    path = bandit / "own_words.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


@pytest.fixture(scope="module")
def server(bandit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(bandit / "model", "--max-tokens", 256, "--reload-from", tmp_path_factory.getbasetemp())
    yield server
    errors = server.stop()
    assert "Traceback" not in errors, errors


def above_three(prediction: str, truth: object, question: str | None = None) -> float:
    """A reward that about half of the responses earn."""
    return float(prediction.strip() > "3")


@pytest.fixture
def recipe(settings: dict[str, Any], problems: Path) -> dict[str, Any]:
    settings |= {"steps": 3, "reward": f"{__name__}:above_three"}
    settings["data"]["train"] = str(problems)
    settings["rollout"] |= {"groups": 8, "responses": 4, "thinking_budget": 2}
    settings["curriculum"] = {"sampling": "weights"}  # so that steps train
    return settings


def run(recipe: dict[str, Any], out: Path, url: str | None = None) -> tuple[list[dict[str, float]], str]:
    """Metrics that do not depend on the backend, and the checksum of the trained weights."""
    section = {"url": url, "timeout": 30, "patience": 60}
    changed = recipe | {"out": str(out), "rollout": recipe["rollout"] | {"server": section}}
    rlcs.run(RlcsRecipe.model_validate(changed))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in line.items() if not k.startswith(EXTRA)} for line in lines]
    return kept, checksum(Glm4v.from_pretrained(out / "model"))


def test_a_run_is_the_same_with_a_server(recipe: dict[str, Any], server: ServerProcess, tmp_path: Path) -> None:
    """Every figure, and every bit of the weights."""
    own = run(recipe, tmp_path / "own")
    served = run(recipe, tmp_path / "served", server.url + "/v1")
    assert served == own
    assert sum(line["gradient_norm"] > 0 for line in own[0]) > 1
    assert all(0 < line["forced_share"] < 1 for line in own[0])
    assert max(line["log_prob_gap"] for line in served[0]) < 1e-5
    lines = [json.loads(line) for line in (tmp_path / "served" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["rollout_retries"] == 0 and line["seconds/hand_over"] > 0 for line in lines)
    assert all("sight/swapped" in line for line in lines)  # after every hand-over
    last = tmp_path / "served" / "rollout_weights"  # of the policy that the last step rolled out
    assert server.ask("GET", "/health")[1]["checksum"] == checksum(Glm4v.from_pretrained(last))
    assert checksum(Glm4v.from_pretrained(last)) != served[1]


@pytest.mark.slow
def test_a_server_that_dies_is_replaced(
    recipe: dict[str, Any], bandit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed among the rollouts of the second step and again at the hand-over before the third, and started again each
    time with the weights of before the first: nothing is lost, counted twice, or sampled by another policy."""
    own = run(recipe, tmp_path / "own")
    servers: list[ServerProcess] = []

    def start() -> None:
        port = servers[0].port if servers else 0
        servers.append(ServerProcess(bandit / "model", "--max-tokens", 256, "--reload-from", tmp_path, port=port))

    start()
    restarts: list[threading.Thread] = []
    asked: Counter[str] = Counter()
    send, hand_over, lock = Served._send, Served._hand_over, threading.Lock()

    def counted(self: Served) -> None:
        asked["hand-overs"] += 1
        hand_over(self)

    def deadly(self: Served, method: str, route: str, body: bytes | None) -> dict[str, Any]:
        with lock:
            asked[route] += 1
            amid_rollouts = route == CHAT and asked[CHAT] == 8 + 4
            at_hand_over = route == RELOAD and asked["hand-overs"] == 3
            if (amid_rollouts, at_hand_over)[len(restarts) :][:1] == (True,):
                servers[-1].kill()
                restarts.append(threading.Thread(target=start))
                restarts[-1].start()
        return send(self, method, route, body)

    monkeypatch.setattr(Served, "_hand_over", counted)
    monkeypatch.setattr(Served, "_send", deadly)
    try:
        served = run(recipe, tmp_path / "served", servers[0].url)
    finally:
        for thread in restarts:
            thread.join()
        for server in servers:
            server.stop()
    lines = [json.loads(line) for line in (tmp_path / "served" / "metrics.jsonl").read_text().splitlines()]
    assert len(servers) == 3
    assert [line["rollout_retries"] > 0 for line in lines] == [False, True, True]
    assert served == own


@pytest.mark.slow
def test_two_ranks_share_a_server(recipe: dict[str, Any], bandit: Path, tmp_path: Path) -> None:
    """ZeRO-3: no rank has all weights by itself, and each asks for its own problems."""
    recipe["optim"] |= {"zero_stage": 3}
    recipe["steps"] = 2
    own, _ = run(recipe, tmp_path / "own")
    server = ServerProcess(bandit / "model", "--max-tokens", 256, "--reload-from", tmp_path)
    out, file = tmp_path / "two", tmp_path / "recipe.json"
    changed = recipe | {"out": str(out), "rollout": recipe["rollout"] | {"server": {"url": server.url}}}
    file.write_text(json.dumps(changed))
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*ranks, Path(__file__).with_name("ranks.py"), file]
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    server.stop()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for name in ("reward", "response_length", "forced_share", "trained_tokens"):
        assert [line[name] for line in lines] == pytest.approx([line[name] for line in own]), name
    assert all(line["log_prob_gap"] < 1e-5 for line in lines)
    assert any(line["gradient_norm"] > 0 for line in lines)


# one backend, without a run -------------------------------------------------------------------------------------------


class World:
    """A policy, problems by number, and a backend at some server."""

    def __init__(self, bandit: Path, problems: Path, processor: Processor, folder: Path) -> None:
        self.engine = Engine.create(Glm4v.from_pretrained(bandit / "model"), OptimSection(), "cpu")
        self.pool, self.processor, self.folder = Pool([str(problems)], processor), processor, folder

    def served(self, url: str, **section: Any) -> Served:
        section = {"url": url, "timeout": 10.0, "patience": 0.5, **section}
        return Served(ServerSection(**section), self.processor, self.engine, self.folder)

    def ask(self, backend: Any, numbers: list[int], **changes: Any) -> list[Group]:
        settings = RolloutSection(responses=2, max_new_tokens=10).model_copy(update=changes)
        problems, prompts = [self.pool[n] for n in numbers], [self.pool.prompt(n) for n in numbers]
        return roll_out(backend, self.processor, problems, prompts, numbers, settings, None, 7).groups


@pytest.fixture
def world(bandit: Path, problems: Path, processor: Processor, tmp_path: Path) -> World:
    return World(bandit, problems, processor, tmp_path / "weights")


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.7, "top_p": 0.9}, {"thinking_budget": 1}])
def test_groups_are_those_of_our_own_engine(world: World, server: ServerProcess, changes: dict[str, Any]) -> None:
    own = OwnEngine.of(world.engine.model, world.processor)
    numbers = [30, 0, 21, 3, 5]
    assert world.ask(world.served(server.url), numbers, **changes) == world.ask(own, numbers, **changes)


def test_a_prompt_that_comes_again_is_answered_otherwise(world: World, server: ServerProcess) -> None:
    first, again, other = world.ask(world.served(server.url), [3, 3, 4], responses=8)
    own = world.ask(OwnEngine.of(world.engine.model, world.processor), [3, 4], responses=8)
    assert [first, other] == own
    assert [r.tokens for r in again.responses] != [r.tokens for r in first.responses]


def test_new_weights_are_handed_over_before_the_next_rollouts(world: World, server: ServerProcess) -> None:
    backend, own = world.served(server.url), OwnEngine.of(world.engine.model, world.processor)
    before = world.ask(backend, [0, 1])
    with torch.no_grad():
        world.engine.model.lm_head.weight[:300] *= 1.01
    assert world.ask(backend, [0, 1]) == before  # until it is told
    backend.policy_changed()
    after = world.ask(backend, [0, 1])
    assert after == world.ask(own, [0, 1])
    assert after != before
    # someone else's weights do not stay unseen
    status, _ = server.ask("POST", "/update_weights_from_disk", {"model_path": str(world.pool[0].root / "model")})
    assert status == 200
    assert world.ask(backend, [0, 1]) == after


class Stand(BaseHTTPRequestHandler):
    """A server that answers as `change` makes of what a good one would say."""

    change: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
    good: dict[str, Any]
    asked: list[str]

    def do_GET(self) -> None:
        self._send("/v1/models", {"data": [{"id": "stand"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path in ("/collective_rpc", "/reset_prefix_cache?reset_running_requests=true"):
            self._send(self.path, {})
            return
        if self.path == "/update_weights_from_disk":
            self._send(self.path, {"success": True, "checksum": self.good["checksum"]})
            return
        choice = {"message": {}, "finish_reason": "stop", "token_ids": [5, 6], "forced": [False] * 2}
        choice["logprobs"] = {"content": [{"token": "x", "logprob": -1.0}] * 2}
        answer = {"id": "1", "created": 0, "model": "stand", "system_fingerprint": self.good["checksum"]}
        answer |= {"choices": [choice | {"index": n} for n in range(request["n"])]}
        self._send(self.path, answer | {"prompt_token_ids": self.good["prompt"]})

    def _send(self, path: str, answer: dict[str, Any]) -> None:
        self.asked.append(path)
        status, answer = type(self).change(path, answer)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass


@pytest.fixture
def stand(world: World) -> Iterator[Callable[..., str]]:
    """The address of a Stand with a change."""
    servers = []

    def start(change: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]) -> str:
        good = {"checksum": checksum(world.engine.model), "prompt": world.pool.prompt(1).input_ids.tolist()}
        handler = type("Changed", (Stand,), {"change": staticmethod(change), "good": good, "asked": []})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=[0.01], daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_stand_that_changes_nothing_will_do(world: World, stand: Callable[..., str]) -> None:
    [group] = world.ask(world.served(stand(lambda path, answer: (200, answer))), [1])
    assert [(r.tokens, r.log_probs, r.forced) for r in group.responses] == [((5, 6), (-1.0, -1.0), (False, False))] * 2


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        for choice in answer["choices"] if len(path) > 1 else [answer]:
            del choice[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("prompt_token_ids"), "no prompt_token_ids; .*vLLM with return_token_ids"),
        (without("choices", "token_ids"), r"no choices\[\].token_ids; .*vLLM with return_token_ids"),
        (without("choices", "logprobs"), r"no choices\[\].logprobs.content"),
        (without("choices", "forced"), r"no choices\[\].forced, which rollout.thinking_budget needs"),
        (lambda answer: answer["choices"].pop(), "1 choices where n is 2"),
        (lambda answer: answer["choices"][1].update(index=0), "2 choices where n is 2"),
        (lambda answer: answer["choices"][0].update(token_ids=[1]), "1 token ids, 2 log-probabilities"),
        (lambda answer: answer["choices"][0].update(token_ids=[1, 10**6]), "the token id 1000000"),
        (lambda answer: answer["prompt_token_ids"].append(3), "other tokens than the .* of here; expected the same"),
        (lambda answer: answer.update(choices="none"), "ChatResponse that cannot be read"),
    ],
)
def test_a_server_that_will_not_do_is_named(
    world: World, stand: Callable[..., str], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "choices" in answer:
            change(answer)
        return 200, answer

    url = stand(changed)
    with pytest.raises(ValueError, match=words) as raised:
        world.ask(world.served(url), [1], thinking_budget=5)
    assert url in str(raised.value)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (404, {}, "loads no weights from .*/weights: POST /update_weights_from_disk gave 404"),
        (403, {"error": {"message": "started without --reload-from"}}, "gave 403 .*--reload-from"),
        (200, {"success": False, "message": "no room"}, "did not load .*/weights: no room"),
        (200, {"success": True, "checksum": "00ff"}, "checksum 00ff .*; the policy's is"),
    ],
)
def test_weights_that_are_not_loaded_are_told(
    world: World, stand: Callable[..., str], status: int, answer: dict[str, Any], words: str
) -> None:
    routes = ("/update_weights_from_disk", "/collective_rpc")
    url = stand(lambda path, good: (status, answer) if path in routes else (200, good))
    with pytest.raises(ValueError, match=words):
        world.ask(world.served(url), [1])


def test_a_server_without_checksums_is_warned_of(
    world: World, stand: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, {k: v for k, v in answer.items() if k not in ("checksum", "system_fingerprint")}

    assert len(world.ask(world.served(stand(changed)), [1])) == 1
    assert "gives no checksum" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("root", ["weights", "elsewhere"])
def test_vllm_reloads_the_folder_that_it_serves(world: World, stand: Callable[..., str], root: str) -> None:
    """An imitation of its routes: what it is asked, and that another folder is refused by name."""
    asked: list[str] = []

    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(path)
        if path == "/v1/models":
            return 200, {"data": [{"id": "vllm", "root": str(world.folder.with_name(root))}]}
        answer.pop("system_fingerprint", None)
        return (404 if path == "/update_weights_from_disk" else 200), answer

    backend = world.served(stand(changed))
    if root == "elsewhere":
        with pytest.raises(ValueError, match=r"serves .*/elsewhere; start vLLM on .*/weights"):
            world.ask(backend, [1])
        return
    assert len(world.ask(backend, [1])) == 1
    reload = ["/update_weights_from_disk", "/collective_rpc", "/v1/models"]
    assert asked[:4] == [*reload, "/reset_prefix_cache?reset_running_requests=true"]
    backend.policy_changed()
    world.ask(backend, [1])
    assert asked.count("/collective_rpc") == 2


def test_a_busy_server_is_asked_again(world: World, stand: Callable[..., str]) -> None:
    asked: list[str] = []

    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(path)
        return (503 if asked.count(path) < 3 else 200), answer

    backend = world.served(stand(changed), patience=10)
    assert len(world.ask(backend, [1])[0].responses) == 2
    assert asked.count("/v1/chat/completions") == asked.count("/update_weights_from_disk") == 3
    assert backend.metrics()["rollout_retries"] == 6
    assert backend.metrics()["rollout_retries"] == 0


def test_other_weights_are_replaced_before_anything_counts(world: World, stand: Callable[..., str]) -> None:
    """As after a restart: the first answer is of some other weights, and is thrown away."""
    asked: list[str] = []

    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(path)
        if path == "/v1/chat/completions" and asked.count(path) == 1:
            answer |= {"system_fingerprint": "another"}
            answer["choices"][0]["token_ids"] = [7, 7]
        return 200, answer

    [group] = world.ask(world.served(stand(changed)), [1])
    assert [response.tokens for response in group.responses] == [(5, 6)] * 2
    assert asked.count("/update_weights_from_disk") == 2


def test_no_answer_ends_after_the_patience(world: World, stand: Callable[..., str]) -> None:
    with pytest.raises(ConnectionError, match=r"no answer from http://127.0.0.1:9 for 0.5 s .*--resume"):
        world.ask(world.served("http://127.0.0.1:9"), [1])
    hang = threading.Event()

    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/chat/completions":
            hang.wait(5)
        return 200, answer

    with pytest.raises(ConnectionError, match="TimeoutError"):
        world.ask(world.served(stand(changed), timeout=0.2), [1])
    hang.set()


def test_an_error_does_not_wait_for_other_answers(world: World, stand: Callable[..., str]) -> None:
    hang, asked = threading.Event(), Counter[str]()

    def changed(path: str, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked[path] += 1
        if path == CHAT and asked[CHAT] == 1:
            hang.wait(30)
        return (400 if path == CHAT else 200), answer

    before = set(threading.enumerate())
    with pytest.raises(ValueError, match=r"own_words.jsonl:2 .*refuses the request: 400"):
        world.ask(world.served(stand(changed)), [1, 1, 1])
    workers = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("rollout")]
    for thread in workers:
        thread.join(10)
    assert not any(thread.is_alive() for thread in workers)
    assert not hang.is_set()
    hang.set()


def test_a_video_file_does_not_travel(world: World, stand: Callable[..., str]) -> None:
    problem = replace(world.pool[1], messages=[{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}])
    backend = world.served(stand(lambda path, answer: (200, answer)))
    with pytest.raises(ValueError, match=r"own_words.jsonl:2 .*a video file does not travel"):
        backend.complete([problem], [world.pool.prompt(1)], RolloutSection(), 0)


def test_the_address_is_checked() -> None:
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        ServerSection(url="localhost:8000")
