"""Rollouts from a server that speaks OpenAI's chat completions and returns token ids: `glm4v serve`, or vLLM.

Messages and images travel there, token ids and log-probabilities back; text is never tokenised again. A request is
answered whole or asked again, so that a server may die and another take its place at any time.
"""

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from glm4v.data import Processor, Sample
from glm4v.data.files import Problem
from glm4v.generation import Completion
from glm4v.generation.wire import (
    CHAT,
    MODELS,
    RELOAD,
    RESET,
    RPC,
    ChatRequest,
    ChatResponse,
    Choice,
    Message,
    ReloadRequest,
    ReloadResponse,
    to_wire,
)
from glm4v.model.weights import checksum
from glm4v.rl.recipe import RolloutSection, ServerSection
from glm4v.train.distributed import Engine
from glm4v.train.run import console

AT_ONCE = 64  # requests of one process under way
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries
BUSY = (408, 425, 429, 500, 502, 503, 504)  # HTTP: ask again

A = TypeVar("A", bound=BaseModel)
V = TypeVar("V")


class Unreachable(Exception):
    """No answer, or one that says to ask again; `lost`: the connection broke."""

    def __init__(self, reason: str, lost: bool = False) -> None:
        super().__init__(reason)
        self.lost = lost


class Refused(Exception):
    """An answer that asking again does not change."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


class Served:
    """Backend of a server at `section.url`, which the policy's weights are handed to through a folder.

    engine: holds the policy; folder: for the weights, seen by the server under the same path.

    Raises ValueError that names the server where it returns no token ids or no log-probabilities, tokenises prompts to
    other ids, does not mark forced tokens when there is a thinking budget, loads other weights or none;
    ConnectionError when it gives no answer for `section.patience` seconds.
    """

    def __init__(self, section: ServerSection, processor: Processor, engine: Engine, folder: Path) -> None:
        assert section.url is not None
        self.url, self.section = section.url.rstrip("/").removesuffix("/v1"), section
        self.processor, self.engine, self.folder = processor, engine, folder.resolve()
        self._named: str | None = None  # the model, by the server
        self._verifies = False  # answers carry the checksum of the weights that wrote them
        self._checksum: str | None = None  # of the weights that were handed over
        text: Any = engine.model.config.text_config
        self._vocabulary: int = text.vocab_size
        self._stale = True  # the server has not got the policy's weights yet
        self._handing = threading.Lock()
        self._handed = 0  # times that the server took weights
        self._given_up = threading.Event()
        self._open: set[HTTPConnection] = set()
        self._retries = 0
        self._seconds = 0.0

    # the interface of a backend -------------------------------------------------------------------------------------

    def policy_changed(self) -> None:
        """The next rollouts need a hand-over first."""
        self._stale = True

    def complete(
        self, problems: Sequence[Problem], prompts: Sequence[Sample], settings: RolloutSection, seed: int
    ) -> list[Completion]:
        """`settings.responses` completions of each prompt, prompt by prompt; every rank must call it."""
        self._given_up.clear()
        if self._stale:
            self._hand_over()
        copies: Counter[bytes] = Counter()
        seeds = []
        for prompt in prompts:  # a prompt that comes again has other random numbers
            content = _content(prompt)
            seeds.append(_seed(seed, copies[content]))
            copies[content] += 1
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rollout")
        try:
            futures = [
                pool.submit(self._ask, number, problem, prompt, settings, own)
                for number, (problem, prompt, own) in enumerate(zip(problems, prompts, seeds, strict=True))
            ]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises what went wrong
            return [completion for future in futures for completion in future.result()]
        finally:
            self._given_up.set()
            for connection in tuple(self._open):  # after an error: nobody waits for these answers any more
                if connection.sock is not None:
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
            pool.shutdown(wait=False, cancel_futures=True)

    def metrics(self) -> dict[str, float]:
        """Since the last call: requests that were asked again, and the seconds that hand-overs took."""
        figures = {"rollout_retries": float(self._retries), "seconds/hand_over": self._seconds}
        self._retries, self._seconds = 0, 0.0
        return figures

    # weights --------------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Writes the policy's weights and has the server load them; together on all ranks."""
        begin = time.perf_counter()
        self.engine.save_model(self.folder)
        with self.engine.whole_model() as model:
            self._checksum = checksum(model)
        failure: Exception | None = None
        if self.engine.rank == 0:
            try:
                self.processor.save_pretrained(self.folder)
                self._patiently(lambda: self._reload(self._handed), repair=False)
            except (ValueError, OSError) as error:
                failure = error
        failure, self._verifies = self.engine.gather((failure, self._verifies))[0]
        if failure is not None:
            raise failure
        self._stale = False
        self._seconds += time.perf_counter() - begin

    def _reload(self, handed: int) -> None:
        """Has the server load what was written last, and compares checksums; unless it did so since `handed` times."""
        with self._handing:
            if self._handed != handed:
                return
            path = str(self.folder)
            try:
                answer = self._post(RELOAD, ReloadRequest(model_path=path), ReloadResponse)
            except Refused as refusal:
                if refusal.status != 404 or not self._reload_vllm():
                    raise ValueError(
                        f"rollout.server.url: {self.url} loads no weights from {path}: POST {RELOAD} gave {refusal}"
                    ) from refusal
                answer = ReloadResponse(success=True)
            if not answer.success:
                raise ValueError(f"rollout.server.url: {self.url} did not load {path}: {answer.message}")
            if answer.checksum not in (None, self._checksum):
                raise ValueError(
                    f"rollout.server.url: {self.url} loaded weights with the checksum {answer.checksum} from {path}; "
                    f"the policy's is {self._checksum}"
                )
            if answer.checksum is None and not self._handed:
                console.print(
                    f"[bold yellow]{self.url} gives no checksum of its weights: whether they are the policy's shows in "
                    "log_prob_gap alone[/]"
                )
            self._verifies = answer.checksum is not None
            self._handed += 1

    def _reload_vllm(self) -> bool:
        """The same for vLLM, which reloads the folder that it was started on; False where the server is none."""
        try:
            self._send("POST", RPC, b'{"method": "reload_weights"}')
        except Refused:
            return False
        served = self._send("GET", MODELS, None)["data"][0].get("root")
        if served is None or Path(served).resolve() != self.folder:
            raise ValueError(f"rollout.server.url: {self.url} serves {served}; start vLLM on {self.folder}")
        self._send("POST", f"{RESET}?reset_running_requests=true", b"")  # what old weights made of shared prompts
        return True

    # one request ----------------------------------------------------------------------------------------------------

    def _ask(
        self, number: int, problem: Problem, prompt: Sample, settings: RolloutSection, seed: int
    ) -> list[Completion]:
        """The completions of one prompt, whatever happens to the server meanwhile."""
        messages = to_wire(problem.messages, problem.root, problem.key)
        return self._patiently(lambda: self._once(number, problem, messages, prompt, settings, seed))

    def _once(
        self,
        number: int,
        problem: Problem,
        messages: list[Message],
        prompt: Sample,
        settings: RolloutSection,
        seed: int,
    ) -> list[Completion]:
        handed = self._handed
        request = ChatRequest(
            model=self._name,
            messages=messages,
            n=settings.responses,
            seed=seed,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_new_tokens,
            logprobs=True,
            thinking_token_budget=settings.thinking_budget,
            return_token_ids=True,
        )
        try:
            answer = self._post(CHAT, request, ChatResponse)
        except Refused as refusal:
            raise ValueError(f"{problem.key}: {self.url} refuses the request: {refusal}") from refusal
        if self._verifies and answer.system_fingerprint != self._checksum:
            self._reload(handed)
            raise Unreachable("it wrote with other weights than those that were handed over")
        return self._completions(number, problem, prompt, settings, answer)

    def _completions(
        self, number: int, problem: Problem, prompt: Sample, settings: RolloutSection, answer: ChatResponse
    ) -> list[Completion]:
        if answer.prompt_token_ids is None:
            raise self._unfit("no prompt_token_ids")
        if answer.prompt_token_ids != prompt.input_ids.tolist():
            raise ValueError(
                f"{problem.key}: {self.url} reads the prompt as {len(answer.prompt_token_ids)} other tokens than the "
                f"{len(prompt)} of here; expected the same tokenizer, chat template, min_pixels and max_pixels"
            )
        choices = sorted(answer.choices, key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(settings.responses)):
            raise self._unfit(f"{len(choices)} choices where n is {settings.responses}")
        return [self._completion(number, choice, settings) for choice in choices]

    def _completion(self, number: int, choice: Choice, settings: RolloutSection) -> Completion:
        tokens = choice.token_ids
        if not tokens:
            raise self._unfit("no choices[].token_ids")
        if choice.logprobs is None or choice.logprobs.content is None:
            raise self._unfit("no choices[].logprobs.content")
        log_probs = tuple(entry.logprob for entry in choice.logprobs.content)
        if settings.thinking_budget is not None and choice.forced is None:
            raise self._unfit("no choices[].forced, which rollout.thinking_budget needs")
        forced = tuple(choice.forced or [False] * len(tokens))
        if not len(tokens) == len(log_probs) == len(forced):
            raise self._unfit(f"{len(tokens)} token ids, {len(log_probs)} log-probabilities and {len(forced)} marks")
        vocabulary = self._vocabulary
        if min(tokens) < 0 or max(tokens) >= vocabulary:
            raise self._unfit(f"the token id {max(tokens)}, above the policy's {vocabulary - 1}")
        return Completion(
            prompt=number,
            tokens=tuple(tokens),
            text=self.processor.decode(tokens),
            log_probs=log_probs,
            forced=forced,
            finish_reason="length" if choice.finish_reason == "length" else "stop",
        )

    def _unfit(self, what: str) -> ValueError:
        return ValueError(
            f"rollout.server.url: {self.url} answers with {what}; rollouts need a server that "
            "returns token ids and their log-probabilities, such as `glm4v serve`, or vLLM with return_token_ids"
        )

    # HTTP -----------------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        """What the server calls its model."""
        if self._named is None:
            models = self._send("GET", MODELS, None).get("data") or [{}]
            self._named = str(models[0].get("id"))
        return self._named

    def _post(self, route: str, request: BaseModel, kind: type[A]) -> A:
        try:
            body = request.model_dump_json(exclude_none=True).encode()
            return kind.model_validate(self._send("POST", route, body))
        except ValidationError as error:
            raise self._unfit(f"{kind.__name__} that cannot be read: {error}") from error

    def _send(self, method: str, route: str, body: bytes | None) -> dict[str, Any]:
        """The JSON of an answer. Raises Unreachable where asking again may help, else Refused."""
        address = urlsplit(self.url)
        kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
        connection = kind(address.netloc, timeout=self.section.timeout)
        self._open.add(connection)
        try:
            connection.request(method, address.path + route, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            status, text = response.status, response.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{type(error).__name__}: {error}", lost=True) from error
        finally:
            self._open.discard(connection)
            connection.close()
        shown = text[:500].decode(errors="replace")
        if status in BUSY:
            raise Unreachable(f"{status} {shown}")
        if status != 200:
            raise Refused(status, shown)
        try:
            answer = json.loads(text or b"{}")
        except ValueError as error:
            raise Refused(status, f"no JSON: {shown}") from error
        if not isinstance(answer, dict):
            raise Refused(status, f"JSON that is no object: {shown}")
        return answer

    # a server that may be gone --------------------------------------------------------------------------------------

    def _patiently(self, ask: Callable[[], V], repair: bool = True) -> V:
        """What `ask` gives; while there is no answer it is asked again, for `section.patience` seconds. `repair`: hand
        the weights over first where the server was lost, since another, started with others, may stand in its place."""
        since, pause, lost, handed = None, FIRST_PAUSE, False, 0
        while True:
            try:
                if lost and repair:
                    self._named = None
                    self._reload(handed)
                lost, handed = False, self._handed
                return ask()
            except Unreachable as error:
                lost = lost or error.lost
                since = since or time.monotonic()
                self._retries += 1
                if time.monotonic() - since > self.section.patience:
                    raise ConnectionError(
                        f"rollout.server.url: no answer from {self.url} for {self.section.patience:g} s ({error}); "
                        "start it again and go on with --resume"
                    ) from error
            if self._given_up.wait(pause):
                raise ConnectionError(f"rollout.server.url: {self.url} was given up")
            pause = min(2 * pause, LONGEST_PAUSE)


def _seed(seed: int, copy: int) -> int:
    """Of the prompt's `copy`-th appearance in a round; servers may count on from it for the samples of a prompt."""
    if copy == 0:
        return seed
    digest = hashlib.blake2b(b"%d %d" % (seed, copy), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2


def _content(prompt: Sample) -> bytes:
    """A short name for a prompt's tokens and pixels."""
    content = hashlib.blake2b(digest_size=16)
    for part in (prompt.input_ids, *prompt.images):
        content.update(part.contiguous().numpy().data)
    return content.digest()
