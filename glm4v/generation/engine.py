"""A model that many threads ask at once: their requests join one running batch, in the one thread that owns it."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import Full
from typing import Any

import torch

from glm4v.data import Processor, Sample, pack
from glm4v.generation.scheduler import Capacity, Request, Scheduler
from glm4v.generation.settings import Completion, Settings
from glm4v.model import Glm4v
from glm4v.model.weights import checksum

MOST_WAITING = 8192  # samples that are asked for and not finished


@dataclass(frozen=True)
class Written:
    """The completions of a request, and the checksum of the weights that wrote them."""

    completions: list[Completion]
    checksum: str


class EngineThread:
    """Takes requests and new weights from any thread; a request never sees two sets of weights.

    capacity: of the batch; a request must fit it. checksum: of the weights in use.
    """

    def __init__(self, model: Glm4v, processor: Processor, capacity: Capacity) -> None:
        self.checksum = checksum(model)
        self.capacity = capacity
        self._processor = processor
        self._scheduler = Scheduler(model, capacity)
        self._numbers = count()
        self._inbox: deque[tuple[Request | Path, Future[Any]]] = deque()
        self._asked: dict[Request, Future[Written]] = {}  # those that the scheduler has
        self._samples = 0  # that are asked for and not finished
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(
        self, sample: Sample, settings: Settings, on_token: Callable[[int, int], bool] | None = None
    ) -> Future[Written]:
        """Asks for the completions of a prompt; cancelling the future ends the work on them.

        Raises queue.Full when too many wait. The future raises what the engine did, such as FloatingPointError.
        """
        mean, std = self._processor.image_mean, self._processor.image_std
        with self._changed:
            if self._samples + settings.samples_per_prompt > MOST_WAITING:
                raise Full(f"{self._samples} samples wait, {MOST_WAITING} may")
            self._samples += settings.samples_per_prompt
            request = Request(
                next(self._numbers), len(sample), lambda: pack([sample], mean, std), settings, on_token=on_token
            )
            future = self._put(request)
        future.add_done_callback(lambda _: self._forget(settings.samples_per_prompt))
        return future

    def reload(self, folder: Path) -> "Future[str]":
        """Weights from `folder` once what runs is finished; requests that come later wait for them. Gives the checksum.

        The future raises ValueError, OSError or SafetensorError when they do not fit; the old ones then stay.
        """
        with self._changed:
            return self._put(folder)

    def close(self) -> None:
        """Ends the thread; what is unfinished is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _put(self, task: Request | Path) -> "Future[Any]":
        future: Future[Any] = Future()
        self._inbox.append((task, future))
        self._changed.notify()
        return future

    def _forget(self, samples: int) -> None:
        with self._changed:
            self._samples -= samples

    @torch.inference_mode()
    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._inbox or self._scheduler.busy or self._closed)
                if self._closed:
                    unfinished = [*self._asked.values(), *(future for _, future in self._inbox)]
                    break
            try:
                self._take()
                for request in self._scheduler.step():
                    self._give(request)
                for request in [request for request, future in self._asked.items() if future.cancelled()]:
                    self._scheduler.cancel(request)
                    del self._asked[request]
            except Exception as error:  # whatever it is, those who wait must hear of it, and the next ones be served
                asked, self._asked = self._asked, {}
                self._scheduler = Scheduler(self._scheduler.model, self.capacity)
                for future in asked.values():
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error.with_traceback(None))  # which holds the old scheduler
        for future in unfinished:
            future.cancel()

    def _take(self) -> None:
        """Hands the scheduler what has come in, up to new weights, which wait until nothing runs."""
        while True:
            with self._changed:
                if not self._inbox or (isinstance(self._inbox[0][0], Path) and self._scheduler.busy):
                    return
                task, future = self._inbox.popleft()
            if isinstance(task, Request):
                self._asked[task] = future
                self._scheduler.submit(task)
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._load(task))
                except Exception as error:
                    future.set_exception(error)

    def _load(self, folder: Path) -> str:
        """Beside the old weights, so that these stay where anything is wrong."""
        old = self._scheduler.model
        new = Glm4v.from_pretrained(folder, device=old.device)
        shapes, expected = ({k: v.shape for k, v in model.state_dict().items()} for model in (new, old))
        if shapes != expected or new.dtype != old.dtype:
            raise ValueError(f"folder {folder} holds another architecture or type; start a server of its own for it")
        self._scheduler.model = new  # nothing runs, so that the cache holds nothing of the old one
        self.checksum = checksum(new)
        return self.checksum

    def _give(self, request: Request) -> None:
        future = self._asked.pop(request)
        if not future.set_running_or_notify_cancel():
            return
        completions = [request.completions[sample] for sample in range(request.settings.samples_per_prompt)]
        decoded = [replace(one, prompt=0, text=self._processor.decode(one.tokens)) for one in completions]
        future.set_result(Written(decoded, self.checksum))
