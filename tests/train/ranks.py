"""What each of two processes does for test_distributed.py: `torchrun --nproc-per-node 2 ranks.py FOLDER`.

FOLDER holds recipe.json, the settings of 20 SFT steps, and train.jsonl.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from glm4v.data import PackedBatch, Processor, pack
from glm4v.data.files import read_messages
from glm4v.train import sft
from glm4v.train.distributed import Engine
from glm4v.train.recipe import SftRecipe
from glm4v.train.start import load_model, load_processor

STEPS = 20
STAGES = (1, 2, 3)
WITHOUT_IMAGE, WITH_IMAGES = (0, 3, 6, 9), (2, 5, 8, 11)  # lines of the file; those of the second show two pictures


def recipe(settings: dict[str, Any], stage: int, **fields: Any) -> SftRecipe:
    settings = settings | fields
    settings["optim"] = settings["optim"] | {"zero_stage": stage}
    return SftRecipe.model_validate(settings)


def uneven_batches(processor: Processor, file: Path, rank: int) -> list[PackedBatch]:
    """Two micro-batches of a rank: rank 0 never sees a picture, rank 1 sees some in each."""
    data = read_messages(file)
    lines = (WITHOUT_IMAGE, WITH_IMAGES)[rank]
    samples = [processor(data[i].messages, train="assistant", root=data[i].root) for i in lines]
    return [pack(samples[:1]), pack(samples[1:])]


def train_uneven(engine: Engine, batches: list[PackedBatch], targets: int, steps: int = 3) -> list[float]:
    """The global loss of each step."""
    losses = []
    for _ in range(steps):
        total = torch.zeros(())
        for number, batch in enumerate(batches, 1):
            loss = engine(batch, num_targets=targets).loss
            engine.backward(loss, last=number == len(batches))
            total += loss.detach()
        engine.step(3e-3)
        losses.append(engine.sum(total).item())
    return losses


def main(folder: Path) -> None:
    settings = json.loads((folder / "recipe.json").read_text())
    for stage in STAGES:
        run = recipe(settings, stage, out=str(folder / f"zero_{stage}"))
        sft.run(run.model_copy(update={"steps": STEPS // 2}))
        sft.run(run.model_copy(update={"resume": True}))

        torch.manual_seed(0)
        processor = load_processor(run.model)
        engine = Engine.create(load_model(run.model, processor), run.optim, "cpu")
        batches = uneven_batches(processor, folder / "train.jsonl", engine.rank)
        losses = train_uneven(engine, batches, engine.sum(sum(batch.num_targets for batch in batches)))
        engine.save_model(folder / f"uneven_{stage}")
        if engine.rank == 0:
            (folder / f"uneven_{stage}.json").write_text(json.dumps(losses))
        engine.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
