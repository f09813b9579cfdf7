"""`glm4v serve` in a real process: the very tokens of `generate`, in any company; and what it says to bad requests."""

import base64
import http.client
import io
import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from glm4v.data import Processor, Sample
from glm4v.generation import Completion
from glm4v.model import Glm4v
from glm4v.model.weights import checksum
from tests.generation.conftest import image
from tests.serving import ServerProcess, data_url, together

LONGEST = 600
TEXT = [{"role": "user", "content": "Hello"}]


def with_image(seed: int, question: str = "What is shown?") -> list[dict[str, Any]]:
    """Messages as they travel."""
    parts = [{"type": "image_url", "image_url": {"url": data_url(image(seed))}}, {"type": "text", "text": question}]
    return [{"role": "user", "content": parts}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Glm4v, processor: Processor) -> Path:
    """model/, and other/ with other weights."""
    folder = tmp_path_factory.mktemp("serve")
    other = Glm4v(model.config)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.model.visual.patch_embed.proj.weight.mul_(1.5)
    for name, weights in (("model", model), ("other", other)):
        weights.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(folder / "model", "--max-tokens", LONGEST, "--reload-from", folder, "--sequences", 24)
    yield server
    errors = server.stop()
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def sight(processor: Processor) -> Sample:
    """What `with_image(0)` asks."""
    parts = [{"type": "image", "image": image(0)}, {"type": "text", "text": "What is shown?"}]
    return processor([{"role": "user", "content": parts}])


def as_completions(answer: dict[str, Any]) -> list[Completion]:
    return [
        Completion(
            prompt=0,
            tokens=tuple(choice["token_ids"]),
            text=None,
            log_probs=tuple(entry["logprob"] for entry in choice["logprobs"]["content"]),
            forced=tuple(choice["forced"]),
            finish_reason=choice["finish_reason"],
        )
        for choice in answer["choices"]
    ]


def test_it_says_who_it_is(server: ServerProcess, model: Glm4v) -> None:
    assert server.checksum == checksum(model)
    assert server.ask("GET", "/health") == (200, {"status": "ok", "checksum": server.checksum})
    status, models = server.ask("GET", "/v1/models")
    assert (status, [(entry["id"], entry["max_model_len"]) for entry in models["data"]]) == (200, [("model", LONGEST)])


def test_an_image_n_and_seed_give_what_generate_gives(
    server: ServerProcess, model: Glm4v, processor: Processor, sight: Sample
) -> None:
    answer = server.chat(with_image(0), n=3, seed=5, max_tokens=12, temperature=0.8, top_p=0.95, model="model")
    options: dict[str, Any] = {"max_new_tokens": 12, "samples_per_prompt": 3, "temperature": 0.8, "top_p": 0.95}
    expected = model.generate([sight], seed=5, processor=processor, **options)
    assert answer["prompt_token_ids"] == sight.input_ids.tolist()
    assert as_completions(answer) == [replace(completion, text=None) for completion in expected]
    for choice, completion in zip(answer["choices"], expected, strict=True):
        kept = completion.tokens[: -1 if completion.finish_reason == "stop" else None]
        assert choice["message"] == {"role": "assistant", "content": processor.decode(kept)}
        entries = choice["logprobs"]["content"]
        assert [entry["token"] for entry in entries] == [processor.decode([token]) for token in completion.tokens]
    assert answer["system_fingerprint"] == server.checksum
    new = sum(len(completion.tokens) for completion in expected)
    assert answer["usage"] == {
        "prompt_tokens": len(sight), "completion_tokens": new, "total_tokens": len(sight) + new
    }  # fmt: skip
    again = server.chat(with_image(0), n=3, seed=6, max_tokens=12, temperature=0.8, top_p=0.95)
    assert as_completions(again) != as_completions(answer)
    unseeded = [server.chat(TEXT, max_tokens=12)["choices"][0]["token_ids"] for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_ids_and_log_probs_come_only_when_asked_for(server: ServerProcess) -> None:
    status, answer = server.ask("POST", "/v1/chat/completions", {"messages": TEXT, "max_completion_tokens": 3})
    assert status == 200
    assert "prompt_token_ids" not in answer
    assert set(answer["choices"][0]) == {"index", "message", "finish_reason"}


def test_a_video_travels_as_frames(server: ServerProcess, processor: Processor) -> None:
    frames = [image(seed) for seed in range(3, 7)]
    parts: list[dict[str, Any]] = [
        {"type": "video", "video": frames, "frame_rate": 2},
        {"type": "text", "text": "When?"},
    ]
    prompt = processor([{"role": "user", "content": parts}])
    sent = [{"type": "video", "video": list(map(data_url, frames)), "frame_rate": 2}, parts[1]]
    answer = server.chat([{"role": "user", "content": sent}], max_tokens=2)
    assert answer["prompt_token_ids"] == prompt.input_ids.tolist()


def test_stop_texts(server: ServerProcess, processor: Processor) -> None:
    free = server.chat(TEXT, seed=1, max_tokens=40)["choices"][0]
    tokens = free["token_ids"]
    text = processor.decode(tokens[10:13])[1:-1]  # neither begins nor ends with a token
    assert len(text) >= 2
    place = free["message"]["content"].index(text)
    stopped = server.chat(TEXT, seed=1, max_tokens=40, stop=["never written", text])["choices"][0]
    assert stopped["message"]["content"] == free["message"]["content"][:place]
    assert stopped["finish_reason"] == "stop"
    count = len(stopped["token_ids"])
    assert stopped["token_ids"] == tokens[:count]
    assert text in processor.decode(stopped["token_ids"])
    assert text not in processor.decode(stopped["token_ids"][:-1])
    assert server.chat(TEXT, seed=1, max_tokens=40, stop=text)["choices"][0]["token_ids"] == stopped["token_ids"]


def test_the_thinking_budget_forces_an_answer(server: ServerProcess, model: Glm4v, processor: Processor) -> None:
    options: dict[str, Any] = {"max_new_tokens": 20, "seed": 0, "samples_per_prompt": 40, "temperature": 3.0}
    prompt = processor(TEXT)
    expected = model.generate([prompt], thinking_budget=2, processor=processor, **options)
    answer = server.chat(TEXT, seed=0, n=40, max_tokens=20, temperature=3.0, thinking_token_budget=2)
    assert as_completions(answer) == [replace(completion, text=None) for completion in expected]
    free = as_completions(server.chat(TEXT, seed=0, n=40, max_tokens=20, temperature=3.0))
    assert not any(any(completion.forced) for completion in free)


def test_clients_at_once_get_what_they_get_alone(server: ServerProcess, model: Glm4v, sight: Sample) -> None:
    """More sequences than the server writes at once, with settings of all kinds."""
    kinds: list[dict[str, Any]] = [
        {"max_tokens": 30, "n": 4},
        {"max_tokens": 5, "temperature": 0.0},
        {"max_tokens": 17, "temperature": 0.7, "top_p": 0.9, "n": 3},
        {"max_tokens": 25, "thinking_token_budget": 4, "n": 2},
    ]
    asked = [(with_image(seed % 3), {"seed": seed, **kinds[seed % 4]}) for seed in range(16)]
    alone = [as_completions(server.chat(messages, **fields)) for messages, fields in asked]
    crowd = together([lambda m=messages, f=fields: as_completions(server.chat(m, **f)) for messages, fields in asked])
    assert crowd == alone
    expected = model.generate([sight], max_new_tokens=30, samples_per_prompt=4, seed=0)
    assert crowd[0] == expected


def test_weights_come_from_a_folder_between_requests(server: ServerProcess, folder: Path) -> None:
    def reload(path: Path) -> tuple[int, dict[str, Any]]:
        return server.ask("POST", "/update_weights_from_disk", {"model_path": str(path)})

    def chat() -> dict[str, Any]:
        return server.chat(with_image(0), seed=0, n=16, max_tokens=200)

    def reload_amid_them() -> tuple[int, dict[str, Any]]:
        time.sleep(0.15)
        return reload(folder / "other")

    before = chat()
    try:
        results = together([chat, reload_amid_them, chat, chat])
        status, told = results.pop(1)
        other = checksum(Glm4v.from_pretrained(folder / "other"))
        assert (status, told["success"], told["checksum"]) == (200, True, other)
        after = chat()
        assert after["system_fingerprint"] == other != before["system_fingerprint"]
        assert as_completions(after) != as_completions(before)
        by_weights = {answer["system_fingerprint"]: as_completions(answer) for answer in (before, after)}
        for answer in results:  # of the old or of the new weights, and says of which
            assert as_completions(answer) == by_weights[answer["system_fingerprint"]]
        broken = folder / "broken"
        broken.mkdir()
        (broken / "config.json").write_bytes((folder / "other" / "config.json").read_bytes())
        (broken / "model.safetensors").write_bytes((folder / "other" / "model.safetensors").read_bytes()[:-400])
        status, told = reload(broken)
        assert (status, told["error"]["param"]) == (400, "model_path")
        assert server.ask("GET", "/health")[1]["checksum"] == other
        for outside in (folder.parent, folder / ".." / "x", Path("/")):
            status, told = reload(outside)
            assert (status, told["error"]["param"]) == (403, "model_path")
    finally:
        assert reload(folder / "model")[1]["checksum"] == server.checksum
    assert as_completions(chat()) == as_completions(before)


def test_weights_that_give_no_numbers_fail_a_request_and_no_more(server: ServerProcess, folder: Path) -> None:
    before = as_completions(server.chat(TEXT, seed=0, max_tokens=5))
    broken = Glm4v.from_pretrained(folder / "model")
    with torch.no_grad():
        broken.lm_head.weight.fill_(torch.nan)
    broken.save_pretrained(folder / "nan")
    reload = ("POST", "/update_weights_from_disk")
    assert server.ask(*reload, {"model_path": str(folder / "nan")})[0] == 200
    status, answer = server.ask("POST", "/v1/chat/completions", {"messages": TEXT, "max_tokens": 5})
    assert (status, answer["error"]["type"]) == (500, "server_error")
    assert "not finite" in answer["error"]["message"]
    assert server.ask(*reload, {"model_path": str(folder / "model")})[0] == 200
    assert as_completions(server.chat(TEXT, seed=0, max_tokens=5)) == before


def text_with(**fields: Any) -> dict[str, Any]:
    return {"messages": TEXT, **fields}


def parts(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def huge_png() -> str:
    """A small file whose header promises 17,000 x 17,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 17000, 17000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99)) + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


def large_png() -> str:
    """A grey one, 120 MB of pixels in a small file."""
    file = io.BytesIO()
    Image.new("1", (11000, 10900)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"[" * 100_000, 400, None),
        ([], 400, None),
        ({}, 400, "messages"),
        (text_with(n=0), 400, "n"),
        (text_with(n=100_000), 400, "n"),
        (text_with(temperature=-1), 400, "temperature"),
        (text_with(top_p=0), 400, "top_p"),
        (text_with(max_tokens=LONGEST), 400, "max_tokens"),
        (text_with(max_tokens=1.5), 400, "max_tokens"),
        (text_with(seed=2**64), 400, "seed"),
        (text_with(stop=["a", ""]), 400, "stop.1"),
        (text_with(stop=["a"] * 5), 400, "stop"),
        (text_with(thinking_token_budget=-1), 400, "thinking_token_budget"),
        (text_with(temprature=1), 400, "temprature"),
        (text_with(stream=True), 400, "stream"),
        (text_with(model="gpt"), 404, "model"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "Hello <|user|>"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 1000}]}, 400, "messages"),
        (parts({"type": "audio"}), 400, "messages.0.content.0"),
        (parts({"type": "text", "text": "a"}, image_part("/etc/hostname")), 400, "messages.0.content.1.image_url.url"),
        (parts(image_part("https://example.com/a.png")), 400, "messages.0.content.0.image_url.url"),
        (parts(image_part("data:image/png;base64,AAAA")), 400, "messages.0.content.0.image_url.url"),
        (parts(image_part("data:image/png;base64,?")), 400, "messages.0.content.0.image_url.url"),
        (parts(image_part(huge_png())), 400, "messages.0.content.0.image_url.url"),
        (parts(*[image_part(large_png())] * 2), 413, "messages.0.content.1.image_url.url"),
    ],
)
def test_bad_requests_are_told_which_field(server: ServerProcess, body: Any, status: int, field: str | None) -> None:
    got, answer = server.ask("POST", "/v1/chat/completions", body)
    assert (got, answer["error"]["param"]) == (status, field), answer
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"].startswith(field or "")


def test_bad_http(server: ServerProcess) -> None:
    assert server.ask("GET", "/v1/nothing")[0] == 404
    assert server.ask("GET", "/v1/chat/completions")[0] == 405
    assert server.ask("POST", "/v1/models", {})[0] == 405
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for length, status in ((str(10**12), 413), ("-1", 411), ("x", 411)):
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, response.headers["Connection"]) == (status, "close")
        assert json.loads(response.read())["error"]["param"] == "Content-Length"
        connection.close()
    assert server.ask("GET", "/health")[0] == 200


def test_a_client_that_leaves_frees_its_place(server: ServerProcess) -> None:
    """Its sequences end: else the next answer would come after all of theirs."""
    body = json.dumps({"messages": TEXT, "n": 32, "max_tokens": LONGEST - 20, "seed": 1, "temperature": 0.01}).encode()
    for _ in range(12):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", body)
        time.sleep(0.02)
        connection.close()
    begin = time.monotonic()
    server.chat(TEXT, max_tokens=2)
    left = time.monotonic() - begin
    begin = time.monotonic()
    assert server.ask("POST", "/v1/chat/completions", body)[0] == 200
    assert left < 4 * (time.monotonic() - begin)  # not 12 times
