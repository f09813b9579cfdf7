"""Kernels in a loader's worker: in a forked child, where an OpenMP region would hang, and in a spawned one."""

import multiprocessing
from queue import Empty

import numpy as np
import pytest
import torch
from torch import Tensor

from glm4v import ops
from glm4v.ops.library import native

TIMEOUT = 60  # seconds: far more than a child needs


def work() -> list[list[float]]:
    """A part of what kernels give that are large enough for several threads.

    Inputs come from numpy: torch's own operators start OpenMP regions, which hang in a forked child of 2 threads.
    """
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3000, 256), dtype=np.float32))
    normed = ops.rms_norm(x, x[0], 1e-5)
    qkv = normed.view(3000, 4, 64)
    attended = ops.packed_attention(qkv, qkv, qkv, torch.tensor([0, 100, 3000], dtype=torch.int32), causal=True)
    image = torch.from_numpy(np.full((300, 300, 3), 7, dtype=np.uint8))
    patches = ops.patchify([image], (0.5,) * 3, (0.5,) * 3, [(280, 280)]).image_patches
    return [part(t) for t in (normed, ops.swiglu(x), attended, patches)]


def part(tensor: Tensor) -> list[float]:
    return tensor.flatten()[::997].tolist()


def put_work(queue: multiprocessing.Queue) -> None:
    torch.set_num_threads(2)
    queue.put((work(), native.threads()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_kernels_in_a_child(method):
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # the parent's OpenMP pool exists when the child is made
    expected = work()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=put_work, args=(queue,))
    child.start()
    try:
        got, threads = queue.get(timeout=TIMEOUT)
    except Empty:
        pytest.fail(f"the child gave nothing in {TIMEOUT} seconds")
    finally:
        child.kill()
        torch.set_num_threads(before)
    assert got == expected
    assert threads == (1 if method == "fork" else 2)
