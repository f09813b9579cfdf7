"""Decoding: logits of the next token of every live sequence; on CUDA devices by replaying a graph.

A step's few hundred kernels take the device less time than the host needs to start them. So for each number of rows a
step is recorded once, in a CUDA graph, and then replayed. A graph reads and writes the same memory each time: which
slots the rows stand for is copied there, and all else that a step needs lies in `Slots` and the cache.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from glm4v.generation.slots import Slots
from glm4v.model import Glm4v
from glm4v.model.cache import PagedCache
from glm4v.ops.library import CHECKS


class Decoder:
    """decoder(rows): logits [R, V] of the next token of the slots `rows` [R] int64, whose last token enters the cache.

    The padding slot may stand there any number of times. What a graph returns is written over by its next replay.
    graphs: whether steps are recorded; checks of values, which read from the device, cannot be.
    """

    def __init__(self, model: Glm4v, cache: PagedCache, slots: Slots, graphs: bool | None = None) -> None:
        self.model, self.cache, self.slots = model, cache, slots
        self._graphs = model.device.type == "cuda" and not CHECKS if graphs is None else graphs
        self._recorded: dict[int, tuple[Tensor, Callable[[], object], Tensor]] = {}  # by rows: input, replay, output
        self._recorder = Recorder(model.device)

    def __call__(self, rows: Tensor) -> Tensor:
        if not self._graphs:
            return self._step(rows)
        if len(rows) not in self._recorded:
            fixed = rows.clone()
            self._recorded[len(rows)] = fixed, *self._recorder(lambda: self._step(fixed))
        fixed, replay, logits = self._recorded[len(rows)]
        fixed.copy_(rows)
        replay()
        return logits

    def _step(self, rows: Tensor) -> Tensor:
        slots, step = self.slots, self.slots.step[rows]
        x = self.model.model.language_model.embed_tokens(slots.tokens[rows, step - 1])
        positions = (slots.first_position[rows] + step - 1).expand(3, -1)
        attend = self.cache.decode(slots.table[rows], slots.prompt_length[rows] + step)
        return self.model.head(self.model.text(x, positions, attend))


class Recorder:
    """Records functions of no arguments in CUDA graphs, which share their memory for what lies in between."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool: Any = None

    def __call__(self, function: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """What replays `function`, and the tensor that a replay writes."""
        with torch.cuda.device(self.device):
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            stream, current = recording_stream(self.device), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):  # libraries set themselves up, which a graph cannot hold
                function()
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # other threads of the process may go on to use the device
            with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
                out = function()
        return graph.replay, out


@cache
def recording_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all graphs: libraries keep memory for every stream that they were called on."""
    return torch.cuda.Stream(device)
