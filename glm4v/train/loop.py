"""The loop of pretraining and SFT: next-token prediction on packed batches; evaluation, sight checks and samples."""

import math
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from glm4v.data.files import read_messages
from glm4v.data.loader import Loader, Part
from glm4v.data.packing import PackedBatch
from glm4v.data.processor import Processor, Train
from glm4v.train.optimisation import learning_rate
from glm4v.train.recipe import Source, StageRecipe, due
from glm4v.train.run import InterruptWatch, StepDisplay
from glm4v.train.sight import sight_check
from glm4v.train.start import Run, start

SAMPLES = 4  # decoded training sequences written at the start


def train(recipe: StageRecipe, targets: Train) -> Path:
    """Run a stage and return its folder; the trained model is in <folder>/model.

    Args:
        targets: which tokens are learned: "all" or "assistant".

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run was saved first and the message tells how to go on.
        FloatingPointError: the loss is not finite.
    """
    run = start(recipe)
    stage = Stage(run, recipe, targets)
    title = recipe.command
    with InterruptWatch() as watch, StepDisplay(title, recipe.steps, run.done, run.engine.rank) as display:
        for step in range(run.done + 1, recipe.steps + 1):
            metrics, stopping = stage.step(step, watch.requested)
            if due(step, recipe.evaluate_every, recipe.steps):
                metrics |= stage.evaluate(step)
            run.folder.log(step, metrics)
            display.update(step, figures(metrics))
            if stopping:
                run.stop(step, stage.state())
            if due(step, recipe.checkpoint_every):
                run.save(step, stage.state())
    return run.finish(stage.state())


def figures(metrics: dict[str, float]) -> str:
    """The line beside the progress bar."""
    return (
        f"loss {metrics['loss']:.4f}  {metrics['tokens_per_second']:,.0f} tokens/s  "
        f"{metrics['patches_per_second']:,.0f} image patches/s"
    )


class Stage:
    """One step, one evaluation, and the state between them."""

    def __init__(self, run: Run, recipe: StageRecipe, targets: Train):
        self.run, self.recipe, self.targets = run, recipe, targets
        self.loader = self._loader(recipe.data.train, recipe.seed, workers=recipe.data.workers)
        if run.done:
            self.loader.load_state_dict(run.state["loader"])

    def state(self) -> dict[str, object]:
        """What a checkpoint keeps beside weights and optimizer."""
        return {"loader": self.loader.state_dict()}

    def step(self, step: int, stop_requested: bool = False) -> tuple[dict[str, float], bool]:
        """Train on one global batch: its metrics, and whether any rank was asked to stop."""
        recipe, engine = self.recipe, self.run.engine
        begin = time.perf_counter()
        batches = [self._move(batch) for batch in islice(self.loader, recipe.data.accumulation)]
        waited = time.perf_counter() - begin
        counts = [
            sum(batch.num_targets for batch in batches),
            sum(len(batch.input_ids) for batch in batches),
            sum(len(batch.image_patches) + len(batch.video_patches) for batch in batches),
            stop_requested,
        ]
        targets, tokens, patches, stopping = engine.sum(torch.tensor(counts, device=engine.device)).tolist()
        metrics = self.run.sight(step, lambda: sight_check(engine, batches[0], engine.sum))
        if step == self.run.done + 1:
            self._write_sequences(step, batches[0])

        rate = learning_rate(recipe.optim, step - 1, recipe.steps)
        loss = torch.zeros((), device=engine.device)
        for number, batch in enumerate(batches, 1):
            share = engine(batch, num_targets=targets).loss
            engine.backward(share, last=number == len(batches))
            loss += share.detach()
        norm = engine.step(rate)
        metrics["loss"] = engine.sum(loss).item()
        if not math.isfinite(metrics["loss"]) or not math.isfinite(norm):
            raise FloatingPointError(
                f"step {step}: loss {metrics['loss']}, gradient norm {norm}; lower optim.learning_rate"
            )
        seconds = time.perf_counter() - begin
        speeds = {"tokens_per_second": tokens / seconds, "patches_per_second": patches / seconds}
        times = {"seconds/step": seconds, "seconds/data": waited}
        metrics |= {"learning_rate": rate, "gradient_norm": norm, "tokens": tokens, "targets": targets} | speeds | times
        return metrics, bool(stopping)

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Loss per target on the first batches of the evaluation files, and greedy answers into samples/."""
        data, engine = self.recipe.data, self.run.engine
        if not data.evaluation:
            return {}
        loss, targets = torch.zeros((), device=engine.device), 0
        # the same batches every time, in an order of their own
        for batch in islice(self._loader(data.evaluation, seed=0), self.recipe.evaluation_batches):
            loss += engine(self._move(batch), num_targets=1).loss
            targets += batch.num_targets
        self._write_answers(step)
        return {"evaluation_loss": engine.sum(loss).item() / max(1, engine.sum(targets))}

    def _loader(self, sources: list[Source], seed: int, workers: int = 0) -> Loader:
        engine = self.run.engine
        return Loader(
            [Part(read_messages(source.path, source.examples), source.weight, source.after) for source in sources],
            self.run.processor,
            max_tokens=self.recipe.data.max_tokens,
            seed=seed,
            train=self.targets,
            rank=engine.rank,
            world_size=engine.world_size,
            workers=workers,
        )

    def _move(self, batch: PackedBatch) -> PackedBatch:
        return batch.to(self.run.engine.device, self.run.engine.model.dtype)

    def _write_sequences(self, step: int, batch: PackedBatch) -> None:
        """The first training sequences as the model gets them, and the part that is learned."""
        start = 0
        for length in batch.seqlens[:SAMPLES]:
            part = slice(start, start + length)
            ids, labels, vision = batch.input_ids[part], batch.labels[part], batch.vision_index[part]
            learned = self.run.processor.decode(ids[labels != -100].tolist())
            text = readable(self.run.processor, ids, vision)
            self.run.folder.sample(step, {"kind": "training", "text": text, "targets": learned})
            start += length

    def _write_answers(self, step: int) -> None:
        """Greedy answers to the first conversations of the evaluation files, beside the expected ones."""
        recipe, processor = self.recipe, self.run.processor
        conversations = read_messages(recipe.data.evaluation[0].path)
        chosen = [conversations[i] for i in range(min(recipe.answers, len(conversations)))]
        if not chosen:
            return
        prompts = [processor(c.messages[:-1], add_generation_prompt=True, root=c.root, key=c.key) for c in chosen]
        with self.run.engine.whole_model() as model:
            completions = model.generate(
                prompts, max_new_tokens=recipe.answer_tokens, temperature=0, processor=processor
            )
        for conversation, prompt, completion in zip(chosen, prompts, completions, strict=True):
            record = {
                "kind": "answer",
                "prompt": readable(processor, prompt.input_ids, prompt.vision_index),
                "response": completion.text,
                "expected": _text(conversation.messages[-1]["content"]),
            }
            self.run.folder.sample(step, record)


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a message's content."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def readable(processor: Processor, ids: torch.Tensor, vision_index: torch.Tensor) -> str:
    """Token ids as text in which the many tokens of an image are one: ids [T], vision_index [T] (-1 for text)."""
    repeated = (vision_index >= 0) & (vision_index.roll(1) >= 0)
    repeated[:1] = False
    return processor.decode(ids[~repeated].tolist())
