"""Loader: an endless, shuffled, weighted mixture of conversations as packed batches; resumes exactly from its state."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from glm4v.data.files import Conversation
from glm4v.data.packing import PackedBatch, pack, pack_to_budget
from glm4v.data.processor import Processor, Train
from glm4v.data.sample import Sample

PATIENCE = 256  # samples in a row that may fail to fit before the loader gives up


class Part(NamedTuple):
    """A dataset of the mixture: how often it is drawn from, relative to the others, once `after` samples were drawn."""

    data: Sequence[Conversation]
    weight: float = 1.0
    after: int = 0


class Draw(NamedTuple):
    """The `number`-th draw from a dataset, counted over all epochs: says which sample is meant, without decoding."""

    dataset: int
    number: int


class Loader(Iterator[PackedBatch]):
    """Batches of at most `max_tokens` tokens, without end; every epoch of a dataset is shuffled anew.

    datasets: parts of the mixture, or (conversations, weight); train: as in `Processor.__call__`.
    rank, world_size: each rank gets its own share of the same sequence of draws.
    window: samples that are decoded before they are distributed over batches; what does not fill a batch well waits for
        the next window, so batches are full and no sample is cut or lost.
    workers: threads that decode ahead (PIL and PyAV release the interpreter's lock); batches do not depend on it.
    dropped: samples left out so far because they are longer than `max_tokens`.
    """

    def __init__(
        self,
        datasets: Sequence[Part | tuple[Sequence[Conversation], float]],
        processor: Processor,
        *,
        max_tokens: int,
        seed: int,
        train: Train = "assistant",
        rank: int = 0,
        world_size: int = 1,
        window: int = 64,
        workers: int = 0,
    ) -> None:
        parts = [Part(*dataset) for dataset in datasets]
        if not parts or any(len(part.data) == 0 or part.weight <= 0 for part in parts):
            raise ValueError("datasets: expected at least one, none of them empty, each with a weight above 0")
        if (first := min(part.after for part in parts)) != 0:
            raise ValueError(f"datasets: the first joins after {first} samples; expected 0")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; expected 0..{world_size - 1}, as world_size is {world_size}")
        if window < 1 or seed < 0:
            raise ValueError(f"window is {window} and seed {seed}; expected at least 1 and 0")
        self.dropped = 0
        self._datasets = [part.data for part in parts]
        self._weights, self._after = (np.array([part[i] for part in parts]) for i in (1, 2))
        self._processor, self._max_tokens, self._seed, self._train = processor, max_tokens, seed, train
        self._rank, self._world_size, self._window = rank, world_size, window
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        self._orders: dict[tuple[int, int], np.ndarray] = {}  # (dataset, epoch) -> shuffled indices

        self._position = 0  # draws made by all ranks together
        self._drawn = [0] * len(parts)  # of each dataset
        self._waiting: list[Draw] = []  # decoded, in no batch yet
        self._ready: deque[list[Draw]] = deque()  # batches not yet given out
        self._samples: dict[Draw, Sample | Future[Sample]] = {}  # decoded, or being decoded; no part of the state

    def __next__(self) -> PackedBatch:
        misses = 0
        while not self._ready:
            dropped = self._fill()
            misses = misses + dropped if dropped == self._window else 0
            if misses >= PATIENCE:
                raise ValueError(
                    f"max_tokens is {self._max_tokens}; the last {misses} samples are all longer: raise it, or lower "
                    "the processor's max_pixels"
                )
        samples = self._decoded(self._ready[0])
        batch = pack(samples, self._processor.image_mean, self._processor.image_std)
        for draw in self._ready.popleft():
            del self._samples[draw]
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, in plain numbers: loading it gives the very batches that would have come next."""
        return {
            "position": self._position,
            "drawn": list(self._drawn),
            "waiting": [tuple(draw) for draw in self._waiting],
            "ready": [[tuple(draw) for draw in batch] for batch in self._ready],
            "dropped": self.dropped,
            "identity": self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the state is of another rank, seed, budget or of other datasets."""
        for name, value in self._identity().items():
            if state["identity"][name] != value:
                raise ValueError(f"state: {name} was {state['identity'][name]} when it was saved and is {value} now")
        self._position, self._drawn, self.dropped = state["position"], list(state["drawn"]), state["dropped"]
        self._waiting = [Draw(*draw) for draw in state["waiting"]]
        self._ready = deque([Draw(*draw) for draw in batch] for batch in state["ready"])
        self._samples.clear()

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "rank": self._rank,
            "world_size": self._world_size,
            "max_tokens": self._max_tokens,
            "window": self._window,
            "train": self._train,
            "lengths": [len(data) for data in self._datasets],
            "weights": self._weights.tolist(),
            "after": self._after.tolist(),
        }

    def _fill(self) -> int:
        """Draws a window and makes the batches that it fills; how many of its samples were dropped."""
        fresh, self._position, self._drawn = self._draws()
        waited = len(self._waiting)
        sizes = [len(sample) for sample in self._decoded(self._waiting + fresh)]
        # what waited is one unit and leaves now if anything does, else the shortest samples would wait for ever
        units = [self._waiting, *([draw] for draw in fresh)]
        lengths = [sum(sizes[:waited]), *sizes[waited:]]
        packing = pack_to_budget([range(length) for length in lengths], self._max_tokens)
        self.dropped += len(packing.dropped)
        for unit in packing.dropped:
            del self._samples[units[unit][0]]
        younger = [batch for batch in packing.batches if 0 not in batch]
        rest = min(younger or packing.batches, key=lambda batch: sum(lengths[unit] for unit in batch))
        self._waiting = [draw for unit in rest for draw in units[unit]]  # the emptiest batch waits for more
        self._ready.extend(
            [draw for unit in batch for draw in units[unit]] for batch in packing.batches if batch != rest
        )
        if self._pool:
            for draw in self._draws()[0]:
                self._request(draw)
        return len(packing.dropped)

    def _draws(self) -> tuple[list[Draw], int, list[int]]:
        """This rank's next window, and position and counts of draws after it."""
        stop = self._position + self._window * self._world_size
        drawn, mine = list(self._drawn), []
        for position in range(self._position, stop):
            chance = np.random.default_rng((self._seed, position)).random()
            weights = np.cumsum(self._weights * (self._after <= position))
            dataset = int(np.searchsorted(weights / weights[-1], chance, side="right"))
            if position % self._world_size == self._rank:
                mine.append(Draw(dataset, drawn[dataset]))
            drawn[dataset] += 1
        return mine, stop, drawn

    def _decoded(self, draws: Sequence[Draw]) -> list[Sample]:
        for draw in draws:
            self._request(draw)
        for draw in draws:
            sample = self._samples[draw]
            if isinstance(sample, Future):
                self._samples[draw] = sample.result()
        return [self._samples[draw] for draw in draws]  # type: ignore[misc]

    def _request(self, draw: Draw) -> None:
        """Decodes the sample of `draw`, in a worker where there are some, unless that has been done."""
        if draw in self._samples:
            return
        data = self._datasets[draw.dataset]
        epoch, place = divmod(draw.number, len(data))
        if (draw.dataset, epoch) not in self._orders:
            self._orders.pop((draw.dataset, epoch - 2), None)
            rng = np.random.default_rng((self._seed, draw.dataset, epoch))
            self._orders[draw.dataset, epoch] = rng.permutation(len(data))
        index = int(self._orders[draw.dataset, epoch][place])
        self._samples[draw] = self._pool.submit(self._decode, data, index) if self._pool else self._decode(data, index)

    def _decode(self, data: Sequence[Conversation], index: int) -> Sample:
        conversation = data[index]
        return self._processor(conversation.messages, train=self._train, root=conversation.root, key=conversation.key)
