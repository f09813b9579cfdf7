"""Weights through files: ours to transformers and back, sharded or not; what does not fit is named; checksums."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Glm4vForConditionalGeneration

from glm4v.data.packing import PackedBatch
from glm4v.model import Glm4v, checksum

FILE = "model.safetensors"


def logits(tools: Any, ours: Glm4v) -> torch.Tensor:
    inputs = tools.inputs([[3, ("image", (1, 4, 4)), 5]])
    with torch.no_grad():
        return ours(PackedBatch.from_transformers(inputs, ours.config), logits=True).logits


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shard", ["20KB", "1GB"])
def test_reads_what_transformers_wrote(tools: Any, tmp_path: Path, tied: bool, shard: str) -> None:
    ours, theirs = tools.pair(tools.config(tied=tied))
    theirs.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    model = Glm4v.from_pretrained(tmp_path)
    assert checksum(model) == checksum(ours)
    assert torch.equal(logits(tools, model), logits(tools, ours))
    assert (model.lm_head.weight is model.model.language_model.embed_tokens.weight) == tied


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("max_shard_bytes", [20_000, 10**9])
def test_transformers_reads_what_we_wrote(tools: Any, tmp_path: Path, tied: bool, max_shard_bytes: int) -> None:
    ours, theirs = tools.pair(tools.config(tied=tied))
    ours.save_pretrained(tmp_path, max_shard_bytes)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_bytes == 20_000)
    loaded, info = Glm4vForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    inputs = {name: value for name, value in tools.inputs([[3, ("image", (1, 4, 4)), 5]]).items() if name != "labels"}
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, theirs.eval()(**inputs).logits)
    assert checksum(Glm4v.from_pretrained(tmp_path)) == checksum(ours)


def test_the_stored_type_is_kept_unless_another_is_asked_for(tools: Any, tmp_path: Path) -> None:
    ours, _ = tools.pair(tools.config())
    ours.bfloat16().save_pretrained(tmp_path)
    assert Glm4v.from_pretrained(tmp_path).dtype == torch.bfloat16
    wide = Glm4v.from_pretrained(tmp_path, dtype=torch.float32)
    assert wide.dtype == torch.float32
    assert checksum(wide.bfloat16()) == checksum(ours)
    assert all(parameter.requires_grad for parameter in wide.parameters())


def test_saving_again_leaves_no_stale_shard_and_may_replace_the_folder_it_was_read_from(
    tools: Any, tmp_path: Path
) -> None:
    ours, _ = tools.pair(tools.config())
    ours.save_pretrained(tmp_path, 20_000)
    loaded = Glm4v.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == [FILE]
    assert checksum(loaded) == checksum(ours) == checksum(Glm4v.from_pretrained(tmp_path))


def test_missing_unknown_and_misshapen_weights_are_all_named(tools: Any, tmp_path: Path) -> None:
    ours, _ = tools.pair(tools.config())
    ours.save_pretrained(tmp_path)
    stored = load_file(tmp_path / FILE)
    del stored["model.visual.blocks.1.norm2.weight"]
    stored["model.visual.extra"] = torch.zeros(3)
    stored["model.language_model.norm.weight"] = torch.ones(7)
    save_file(stored, tmp_path / FILE)
    with pytest.raises(ValueError, match=r"do not fit its config\.json") as caught:
        Glm4v.from_pretrained(tmp_path)
    message = str(caught.value)
    assert "missing: model.visual.blocks.1.norm2.weight (64,)" in message
    assert "unknown: model.visual.extra (3,)" in message
    assert "misshapen: model.language_model.norm.weight is (7,), the config asks for (128,)" in message


def test_a_tied_head_that_was_written_all_the_same_is_accepted(tools: Any, tmp_path: Path) -> None:
    ours, _ = tools.pair(tools.config(tied=True))
    ours.save_pretrained(tmp_path)
    stored = load_file(tmp_path / FILE)
    assert "lm_head.weight" not in stored
    save_file(stored | {"lm_head.weight": ours.lm_head.weight.detach().clone()}, tmp_path / FILE)
    assert checksum(Glm4v.from_pretrained(tmp_path)) == checksum(ours)


def test_a_folder_without_safetensors_is_refused(tools: Any, tmp_path: Path) -> None:
    tools.config().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"neither model.safetensors nor model.safetensors.index.json"):
        Glm4v.from_pretrained(tmp_path)


def test_changed_bits_are_noticed(tools: Any, tmp_path: Path) -> None:
    ours, _ = tools.pair(tools.config())
    ours.save_pretrained(tmp_path)
    written = bytearray((tmp_path / FILE).read_bytes())
    written[-5] ^= 1
    (tmp_path / FILE).write_bytes(written)
    with pytest.raises(ValueError, match=r"model.safetensors: the weights are not those that were saved"):
        Glm4v.from_pretrained(tmp_path)


def test_checksum_of_a_part(tools: Any) -> None:
    first, _ = tools.pair(tools.config(), seed=1)
    second, _ = tools.pair(tools.config(), seed=1)
    assert checksum(first) == checksum(second)
    with torch.no_grad():
        second.model.language_model.norm.weight[3] += 1
    assert checksum(first) != checksum(second)
    assert checksum(first, "model.visual.") == checksum(second, "model.visual.")
    assert checksum(first, "model.language_model.") != checksum(second, "model.language_model.")
    with pytest.raises(ValueError, match="prefix is 'visual'"):
        checksum(first, "visual")


def test_the_index_lists_every_shard(tools: Any, tmp_path: Path) -> None:
    ours, _ = tools.pair(tools.config())
    ours.save_pretrained(tmp_path, 30_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == ours.state_dict().keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in ours.state_dict().values())
    assert set(index["weight_map"].values()) == {path.name for path in tmp_path.glob("*.safetensors")}


PEAK = """
import sys
from glm4v.model import Glm4v

def memory(kind):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines[kind].split()[0]) * 1024

before = memory("VmRSS")
Glm4v.from_pretrained(sys.argv[1])
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
def test_loading_never_holds_the_weights_twice(tools: Any, tmp_path: Path) -> None:
    config = tools.config()
    config.text_config.intermediate_size = 120_000
    ours = Glm4v(config)
    size = sum(tensor.nbytes for tensor in ours.state_dict().values())
    assert size > 300e6  # next to which libraries loaded on the way are small
    ours.save_pretrained(tmp_path, max_shard_bytes=70_000_000)
    result = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(result.stdout) < 1.6 * size
