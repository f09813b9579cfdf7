"""Paged key/value cache (PagedAttention, arXiv 2309.06180): keys and values live in blocks of a few tokens, and a block
table says which blocks a sequence reads, so that sequences of any length share one store and samples of a prompt share
its blocks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glm4v import ops
from glm4v.model.layers import Attend

BLOCK_SIZE = 16  # tokens a block: at most 15 places of a sequence stay empty, and a table row stays short
MEMORY_SHARE = 0.5  # of the free memory, for keys and values


class PagedCache:
    """Keys and values of every layer in `blocks` blocks, and the account of who uses which block.

    config: Glm4vTextConfig, gives layers and key/value heads.
    keys, values: [layers, blocks + 1, BLOCK_SIZE, Hkv, D]; not initialised, so memory is touched only where tokens are.
    scratch: the last block, which nobody gets: rows that stand for no sequence write there.

    The functions `prefill` and `decode` give the `attend` of one forward pass: it writes the new keys and values where
    the block table says and attends to everything the sequence has so far.
    """

    def __init__(self, config: Any, blocks: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (
            config.num_hidden_layers,
            blocks + 1,
            BLOCK_SIZE,
            config.num_key_value_heads,
            config.hidden_size // config.num_attention_heads,
        )
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.scratch = blocks
        self._users = [0] * blocks
        self._free = list(range(blocks))[::-1]  # a stack: blocks that were touched before are used again first

    @property
    def free(self) -> int:
        """Blocks that nobody uses."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """`count` free blocks, now with one user each. Raises MemoryError when there are fewer."""
        if count > self.free:
            raise MemoryError(f"count is {count}; the cache has {self.free} free blocks of {len(self._users)}")
        blocks = [self._free.pop() for _ in range(count)]
        self.share(blocks)
        return blocks

    def share(self, blocks: Sequence[int]) -> None:
        """Counts one more user of each of `blocks`."""
        for block in blocks:
            self._users[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """Counts one user less of each of `blocks`; a block without users is free."""
        for block in blocks:
            self._users[block] -= 1
            if self._users[block] == 0:
                self._free.append(block)

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copies the contents of blocks `sources` to blocks `targets`, in every layer."""
        self.keys[:, targets] = self.keys[:, sources]
        self.values[:, targets] = self.values[:, sources]

    def prefill(self, block_table: Tensor, query_lengths: Sequence[int], key_lengths: Sequence[int]) -> Attend:
        """`attend` for sequences of several new tokens each, through `ops.packed_attention`.

        block_table: [N, max_blocks] int32; query_lengths: new tokens of each sequence, the last of its key_lengths.
        A sequence may come as several pieces, each a row of the table: all write before any reads. Rows after the last
        sequence's are padding and come out as zeros.
        """
        pairs = list(zip(query_lengths, key_lengths, strict=True))
        new = self._places(block_table, [range(keys - queries, keys) for queries, keys in pairs])
        read = self._places(block_table, [range(keys) for _, keys in pairs])
        cu_seqlens_q, cu_seqlens_k = (
            F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(block_table.device, torch.int32)
            for lengths in (query_lengths, key_lengths)
        )

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._write(layer, new, k, v)
            out = ops.packed_attention(q[: len(new)], keys[read], values[read], cu_seqlens_q, cu_seqlens_k, causal=True)
            return F.pad(out, (0, 0, 0, 0, 0, len(q) - len(new)))

        return attend

    def decode(self, block_table: Tensor, key_lengths: Tensor) -> Attend:
        """`attend` for sequences of one new token each, through `ops.paged_attention`; nothing waits for the device.

        block_table: [N, max_blocks] int32; key_lengths: [N] int64, the new token included.
        """
        position = key_lengths - 1
        block = block_table.gather(1, (position // BLOCK_SIZE)[:, None])[:, 0]
        new = block.long() * BLOCK_SIZE + position % BLOCK_SIZE
        lengths = key_lengths.int()
        cu_seqlens = torch.arange(len(lengths) + 1, dtype=torch.int32, device=block_table.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._write(layer, new, k, v)
            return ops.paged_attention(q, self.keys[layer], self.values[layer], block_table, cu_seqlens, lengths)

        return attend

    def _places(self, block_table: Tensor, spans: Sequence[range]) -> Tensor:
        """Where the tokens of `spans`, one span a row of the table, lie in a layer's store: [tokens] int64."""
        row = torch.tensor([index for index, span in enumerate(spans) for _ in span], device=block_table.device)
        position = torch.cat([torch.arange(span.start, span.stop) for span in spans]).to(block_table.device)
        return block_table[row, position // BLOCK_SIZE].long() * BLOCK_SIZE + position % BLOCK_SIZE

    def _write(self, layer: int, places: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the first rows of `k` and `v` at `places`; gives the layer's store, [tokens, Hkv, D] each."""
        keys, values = self.keys[layer].flatten(0, 1), self.values[layer].flatten(0, 1)
        keys.index_copy_(0, places, k[: len(places)])
        values.index_copy_(0, places, v[: len(places)])
        return keys, values


def affordable_blocks(config: Any, dtype: torch.dtype, device: torch.device) -> int:
    """Blocks that fit into MEMORY_SHARE of the memory that is free on `device`, or kept by torch without a use."""
    width = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    block = 2 * config.num_hidden_layers * BLOCK_SIZE * width * dtype.itemsize  # bytes
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + unused
    else:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    return int(free * MEMORY_SHARE) // block


def blocks_of(tokens: int) -> int:
    """Blocks that hold `tokens` tokens."""
    return -(-tokens // BLOCK_SIZE)
