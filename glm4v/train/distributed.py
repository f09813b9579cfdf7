"""The training engine: plain torch in one process, DeepSpeed (ZeRO 1, 2, 3) under torchrun or deepspeed.

The only file that knows DeepSpeed. A loop written for `Engine` runs under both.
"""

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from glm4v.data.packing import PackedBatch
from glm4v.model import Glm4v, Output, best_device, weights
from glm4v.train.optimisation import AdamW, parameter_groups
from glm4v.train.recipe import OptimSection

N = TypeVar("N", int, float, Tensor)
V = TypeVar("V")


def launched_rank() -> int:
    """The rank a launcher gave this process, 0 in a plain one; known before any engine is made."""
    return int(os.environ.get("RANK", 0))


class Engine:
    """A model, its optimizer and the processes that train it; this class is the single process of plain torch.

    One step, the same on every rank and with the same number of micro-batches on each:

        targets = engine.sum(targets of this rank's micro-batches)
        for number, batch in enumerate(batches, 1):
            engine.backward(engine(batch, num_targets=targets).loss, last=number == len(batches))
        gradient_norm = engine.step(learning_rate)

    Losses are shares of the global loss: over all micro-batches and ranks they add up to it.

    Attributes:
        model: the bare `Glm4v`; call the engine itself to train or measure, so that sharded weights are there.
        rank, world_size: of this process, and how many there are.
        device: where batches belong.
    """

    rank = 0
    world_size = 1

    def __init__(self, model: Glm4v, optim: OptimSection, device: torch.device):
        self.device = device
        self.model = model.to(device)
        # with gradients of 0 instead of None a step without images is the same in one process and in many
        self.model.vision_always = True
        self._optim = optim
        self._start()

    @staticmethod
    def create(model: Glm4v, optim: OptimSection, device: str = "auto") -> "Engine":
        """The engine for this process: DeepSpeed's where a launcher (torchrun, deepspeed) started it, else plain torch.

        Args:
            model: frozen parameters already frozen; moved to the device.
            optim: learning rates are given to `step`; `zero_stage` chooses what DeepSpeed partitions.
            device: "auto" (CUDA where there is one), "cpu" or "cuda".

        Raises:
            ImportError: started by a launcher, but DeepSpeed is not installed.
        """
        if device == "auto":
            device = best_device().type
        if "LOCAL_RANK" not in os.environ:
            return Engine(model, optim, torch.device(device))
        place = torch.device(device, int(os.environ["LOCAL_RANK"])) if device == "cuda" else torch.device(device)
        return DeepSpeedEngine(model, optim, place)

    def _start(self) -> None:
        self._optimizer = AdamW(self.model, self._optim)

    def __call__(self, batch: PackedBatch, **options: Any) -> Output:
        """`model(batch, **options)`."""
        return self.model(batch, **options)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`, this micro-batch's share of the global loss; `last` of the step or not."""
        loss.backward()

    def step(self, learning_rate: float) -> float:
        """Clip, update the weights, forget the gradients; returns the gradient's norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self._optimizer.stepped, self._optim.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(norm)

    def sum(self, value: N) -> N:
        """`value` summed over all ranks, the same on each."""
        return value

    def gather(self, value: V) -> list[V]:
        """Every rank's `value`, any plain Python object, in the order of ranks; the same list on each."""
        return [value]

    def barrier(self) -> None:
        """Wait until every rank is here."""

    @contextmanager
    def whole_model(self) -> Iterator[Glm4v]:
        """The model with all its weights on every rank, to generate with; every rank must enter."""
        yield self.model

    def save_model(self, folder: Path) -> None:
        """Write the weights in transformers' format; every rank must call it."""
        self.model.save_pretrained(folder)

    def save(self, folder: Path) -> None:
        """Write the optimizer's state into `folder`, which exists; every rank must call it."""
        torch.save(self._optimizer.state_dict(), folder / "optimizer.pt")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote, into a model that holds the weights `save_model` wrote at the same step."""
        state = torch.load(folder / "optimizer.pt", map_location=self.device, weights_only=True)
        self._optimizer.load_state_dict(state)

    def close(self) -> None:
        """Let go of what the engine holds; the processes stay together for the next one."""


class DeepSpeedEngine(Engine):
    """One of several processes: ZeRO partitions optimizer states (1), gradients too (2), weights too (3)."""

    def _start(self) -> None:
        try:
            import deepspeed
        except ImportError as error:
            raise ImportError("started by torchrun, which needs DeepSpeed: pip install 'glm4v[distributed]'") from error
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
        else:
            # else every new machine first compiles DeepSpeed's shared-memory operator; gloo does without
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        if not torch.distributed.is_initialized():
            deepspeed.init_distributed("nccl" if on_gpu else "gloo", verbose=False)
            # DeepSpeed keeps groups of the first start for good, so the processes part at their end, not after a run
            atexit.register(torch.distributed.destroy_process_group)
        self._zero = deepspeed.zero
        self.rank, self.world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        groups = [g for g in parameter_groups(self.model, self._optim.weight_decay) if g["params"]]
        optimizer = torch.optim.AdamW(
            groups, lr=self._optim.learning_rate, betas=self._optim.betas, eps=self._optim.epsilon
        )
        config = {
            "train_micro_batch_size_per_gpu": 1,  # accumulation is told by backward(last=...)
            "gradient_clipping": self._optim.clip,
            "zero_optimization": {"stage": self._optim.zero_stage},
            "bf16": {"enabled": self.model.dtype == torch.bfloat16},
            "steps_per_print": 10**9,
        }
        self._engine, *_ = deepspeed.initialize(model=self.model, optimizer=optimizer, config=config)

    def __call__(self, batch: PackedBatch, **options: Any) -> Output:
        return self._engine(batch, **options)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss * self.world_size)  # DeepSpeed averages over ranks, the losses are to be summed

    def step(self, learning_rate: float) -> float:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def sum(self, value: N) -> N:
        if isinstance(value, Tensor):
            total = value.clone()
            torch.distributed.all_reduce(total)
            return total
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(number)
        return type(value)(number.item())

    def gather(self, value: V) -> list[V]:
        values: list[V | None] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return cast(list[V], values)

    def barrier(self) -> None:
        torch.distributed.barrier()

    @contextmanager
    def whole_model(self) -> Iterator[Glm4v]:
        if self._optim.zero_stage < 3:
            yield self.model
            return
        # the same tensors in a model without DeepSpeed's hooks, which gather and release weights at every module: ranks
        # that generate call modules unequally often, and would wait for one another for ever
        with torch.device("meta"):
            bare = Glm4v(self.model.config)
        with self._zero.GatheredParameters(list(self.model.parameters())):
            bare.load_state_dict(self.model.state_dict(), assign=True)
            yield bare

    def save_model(self, folder: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            # one at a time: the whole never stands on a device beside its shards
            with self._zero.GatheredParameters([parameter], enabled=self._optim.zero_stage == 3):
                if self.rank == 0:
                    tensors[name] = parameter.detach().cpu().clone()
        if self.rank == 0:
            weights.save(tensors, self.model.config, folder)
        self.barrier()

    def save(self, folder: Path) -> None:
        self._engine.save_checkpoint(str(folder), tag="deepspeed")

    def load(self, folder: Path) -> None:
        if self._engine.load_checkpoint(str(folder), tag="deepspeed")[0] is None:
            raise FileNotFoundError(f"{folder} holds no state of DeepSpeed: resume with the launcher that wrote it")

    def close(self) -> None:
        self._engine.destroy()
