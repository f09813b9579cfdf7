"""Weights in and out of safetensors under transformers' names, and a checksum of them.

Each file that `save` writes carries the checksum of its tensors, which `load` verifies; files of others carry none.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GenerationConfig, Glm4vConfig

SHARD_BYTES = 5 * 10**9
INDEX = "model.safetensors.index.json"
HEAD = "lm_head.weight"
ARCHITECTURE = "Glm4vForConditionalGeneration"


def checksum(model: nn.Module, prefix: str = "") -> str:
    """A hash of the names, types, shapes and bits of all weights whose names start with `prefix` (64 hex digits).

    The same for equal weights on any device; weights that share memory (tied embeddings) count under each name.
    Raises ValueError when no weight has that prefix.
    """
    named = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefix)}
    if not named:
        raise ValueError(f"prefix is {prefix!r}, expected the start of a weight's name such as 'model.visual.'")
    return _digest((name, _hash(name, tensor)) for name, tensor in named.items())


def save(tensors: Mapping[str, Tensor], config: Glm4vConfig, folder: Path, max_shard_bytes: int = SHARD_BYTES) -> None:
    """Writes `tensors` (a state dict; on any device) and config.json to `folder` as transformers does: one file, or
    shards of at most `max_shard_bytes` (a larger tensor stands alone) and their index. Tied heads are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    tensors = {name: tensor for name, tensor in tensors.items() if not (config.tie_word_embeddings and name == HEAD)}
    shards = _shards(tensors, max_shard_bytes)
    files = ["model.safetensors"]
    if len(shards) > 1:
        files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
            "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2))
    for file, names in zip(files, shards, strict=True):
        shard = {name: tensors[name].detach().cpu().contiguous() for name in names}
        digest = _digest((name, _hash(name, tensor)) for name, tensor in shard.items())
        save_file(shard, folder / file, metadata={"format": "pt", "checksum": digest})

    written = deepcopy(config)
    written.architectures = [ARCHITECTURE]
    written.dtype = next(iter(tensors.values())).dtype
    written.save_pretrained(folder)
    GenerationConfig.from_model_config(written).save_pretrained(folder)


def load(model: nn.Module, folder: Path, dtype: torch.dtype | None, device: torch.device | str | None) -> None:
    """Fills `model`, built on the meta device, from the safetensors in `folder`: a tensor at a time from a mapped file
    into its parameter, so that the weights are never held twice. `dtype` None keeps the stored type.

    Raises FileNotFoundError when the folder holds no safetensors, ValueError that names every weight that is missing,
    unknown or misshapen, or the file whose checksum differs.
    """
    files = _files(folder)
    if dtype is None:
        with safe_open(files[0], framework="pt") as reader:
            dtype = reader.get_tensor(next(iter(reader.keys()))).dtype
    _check_names(model, files, folder)
    _allocate(model, dtype, torch.device(device or "cpu"))
    parameters = dict(model.named_parameters())
    for file in files:
        with safe_open(file, framework="pt") as reader:
            hashes = []
            for name in reader.keys():  # noqa: SIM118 - a reader, not a dict
                tensor = reader.get_tensor(name)
                hashes.append((name, _hash(name, tensor)))
                if name in parameters:  # a tied head that was written all the same is not
                    parameters[name].data.copy_(tensor)
            expected = (reader.metadata() or {}).get("checksum")
        if expected not in (None, _digest(hashes)):
            raise ValueError(f"{file}: the weights are not those that were saved (checksum {expected}); copy it again")


def _files(folder: Path) -> list[Path]:
    if (folder / INDEX).exists():
        return [folder / name for name in sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))]
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    raise FileNotFoundError(f"{folder} holds neither model.safetensors nor {INDEX}; save the model as safetensors")


def _check_names(model: nn.Module, files: list[Path], folder: Path) -> None:
    """Compares names and shapes with the files' headers, before any weight is read."""
    stored: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="pt") as reader:
            stored |= {name: tuple(reader.get_slice(name).get_shape()) for name in reader.keys()}  # noqa: SIM118
    wanted = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    known = model.state_dict().keys()  # with tied names, which named_parameters leaves out
    problems = [f"missing: {name} {shape}" for name, shape in wanted.items() if name not in stored]
    problems += [f"unknown: {name} {shape}" for name, shape in stored.items() if name not in known]
    problems += [
        f"misshapen: {name} is {stored[name]}, the config asks for {shape}"
        for name, shape in wanted.items()
        if stored.get(name, shape) != shape
    ]
    if problems:
        raise ValueError(f"the weights in {folder} do not fit its config.json:\n  " + "\n  ".join(problems))


def _allocate(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Gives every parameter of a meta-built model unwritten memory; parameters that were one stay one."""
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in replaced:
                replaced[parameter] = nn.Parameter(torch.empty_like(parameter, dtype=dtype, device=device))
            setattr(module, name, replaced[parameter])


def _shards(tensors: Mapping[str, Tensor], max_bytes: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards


def _hash(name: str, tensor: Tensor) -> bytes:
    bits = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    head = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
    return hashlib.sha256(head.encode() + hashlib.sha256(bits).digest()).digest()


def _digest(hashes: Iterable[tuple[str, bytes]]) -> str:
    """One hash of many, whatever their order."""
    return hashlib.sha256(b"".join(digest for _, digest in sorted(hashes))).hexdigest()
