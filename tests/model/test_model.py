"""The whole model against transformers' Glm4vForConditionalGeneration: logits, loss and every gradient; the loss's
normalisation; bfloat16."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from glm4v.data.packing import PackedBatch
from glm4v.model import Glm4v, Output

TOLERANCE = 1e-4

ROWS: dict[str, list[list[Any]]] = {
    "text": [[17], [5], [1], [30]],
    "one image": [[3, ("image", (1, 4, 6)), 9]],
    "several images": [[2, ("image", (1, 4, 4)), 3, ("image", (1, 2, 6)), 4], [9], [("image", (1, 6, 2)), 8]],
    "very different sizes": [[1, ("image", (1, 2, 2)), 2, ("image", (1, 22, 18)), 3], [2, ("image", (1, 2, 30)), 3]],
    "strips": [[1, ("image", (1, 2, 800)), 5], [2, ("image", (1, 400, 2)), 3]],
    "videos": [[4, ("video", (3, 4, 6)), 6], [2, ("video", (1, 2, 4)), 2, ("video", (2, 6, 4)), 7]],
}


def check_parity(tools: Any, config: Any, rows: list[list[Any]], padding: str = "left") -> None:
    ours, theirs = tools.pair(config)
    inputs = tools.inputs(rows, padding=padding)
    expected = theirs(**inputs)
    expected.loss.backward()
    batch = PackedBatch.from_transformers(inputs, config)
    output = ours(batch, logits=True)
    output.loss.backward()

    real = expected.logits[inputs["attention_mask"].bool()]
    assert tools.difference(output.logits, real) <= TOLERANCE
    assert tools.difference(output.loss, expected.loss) <= TOLERANCE
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.grad is None:  # the vision encoder, where there is nothing to see
            assert gradients[name] is None
            continue
        error = tools.difference(gradients[name], parameter.grad)
        assert error <= TOLERANCE, f"{name}: {error:.1e}"
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_parity_of_inputs(tools: Any, rows: list[list[Any]], padding: str) -> None:
    check_parity(tools, tools.config(), rows, padding)


@pytest.mark.parametrize(
    "options",
    [
        {"tied": True},
        {"partial_rotary": 1.0},
        {"heads": 4, "kv_heads": 4},
        {"heads": 4, "kv_heads": 1, "partial_rotary": 1.0, "tied": True},
        {"heads": 8, "kv_heads": 1, "head_dim": 64},
        {"heads": 16, "kv_heads": 1, "head_dim": 16},
    ],
    ids=str,
)
def test_parity_of_configs(tools: Any, options: dict[str, Any]) -> None:
    check_parity(tools, tools.config(**options), ROWS["several images"])


def test_parity_with_a_vision_bias(tools: Any) -> None:
    config = tools.config()
    config.vision_config.attention_bias = True
    check_parity(tools, config, ROWS["several images"])


MIXED = [
    [2, ("image", (1, 4, 4)), 3, ("video", (2, 4, 2)), 5, ("image", (1, 2, 6)), 4],
    [6],
    [("video", (1, 2, 2)), 3, ("image", (1, 6, 6)), 2],
]


def gradients(model: Glm4v) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def run(tools: Any, model: Glm4v, batches: Sequence[PackedBatch], num_targets: int) -> tuple[list[Output], Any]:
    """Outputs and summed gradients of `batches` as micro-batches of one step."""
    model.zero_grad()
    outputs = [model(batch, logits=True, num_targets=num_targets) for batch in batches]
    for output in outputs:
        output.loss.backward()
    return outputs, gradients(model)


def test_images_and_videos_mixed_equal_their_parts(tools: Any) -> None:
    config = tools.config()
    model, _ = tools.pair(config)
    parts = [PackedBatch.from_transformers(tools.inputs([row], seed=index), config) for index, row in enumerate(MIXED)]
    whole = join(parts)
    model.vision_always = True  # so that the text alone has gradients as well
    together, whole_gradients = run(tools, model, [whole], whole.num_targets)
    apart, part_gradients = run(tools, model, parts, whole.num_targets)
    assert tools.difference(together[0].logits, torch.cat([output.logits for output in apart])) <= 1e-5
    assert tools.difference(together[0].loss, sum(output.loss for output in apart)) <= 1e-5
    for name, gradient in part_gradients.items():
        assert tools.difference(whole_gradients[name], gradient) <= TOLERANCE, name


def join(parts: Sequence[PackedBatch]) -> PackedBatch:
    """Batches one after another as one; features of still images stand before those of videos."""
    stills = [len(part.image_patches) // 4 for part in parts]
    frames = [len(part.video_patches) // 4 for part in parts]
    indices = []
    for number, part in enumerate(parts):
        index = part.vision_index.clone()
        still, moving = (index >= 0) & (index < stills[number]), index >= stills[number]
        index[still] += sum(stills[:number])
        index[moving] += sum(stills) - stills[number] + sum(frames[:number])
        indices.append(index)
    return PackedBatch.make(
        input_ids=torch.cat([part.input_ids for part in parts]),
        position_ids=torch.cat([part.position_ids for part in parts], dim=1),
        labels=torch.cat([part.labels for part in parts]),
        seqlens=[length for part in parts for length in part.seqlens],
        image_patches=torch.cat([part.image_patches for part in parts]),
        video_patches=torch.cat([part.video_patches for part in parts]),
        image_grids=[grid for part in parts for grid in part.image_grids],
        video_grids=[grid for part in parts for grid in part.video_grids],
        vision_index=torch.cat(indices),
    )


@pytest.mark.parametrize("split", [[1, 1, 1, 1], [2, 2], [3, 1]], ids=str)
def test_micro_batches_give_the_gradient_of_the_whole(tools: Any, split: list[int]) -> None:
    config = tools.config(tied=True)
    model, _ = tools.pair(config)
    rows = [[4, ("image", (1, 4, 4)), 6], [11, ("image", (1, 2, 2))], [3, ("image", (1, 2, 4)), 20], [2]]
    singles = [
        PackedBatch.from_transformers(tools.inputs([row], seed=number), config) for number, row in enumerate(rows)
    ]
    whole = join(singles)
    groups, rest = [], singles
    for count in split:
        groups.append(join(rest[:count]))
        rest = rest[count:]
    model.vision_always = True
    _, expected = run(tools, model, [whole], whole.num_targets)
    _, actual = run(tools, model, groups, whole.num_targets)
    for name, gradient in expected.items():
        assert tools.difference(actual[name], gradient) <= 1e-5, name


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_and_entropy_stand_at_their_labels(tools: Any, temperature: float) -> None:
    config = tools.config()
    model, _ = tools.pair(config)
    batch = PackedBatch.from_transformers(tools.inputs(ROWS["several images"]), config)
    with torch.no_grad():
        output = model(batch, logits=True, temperature=temperature)
    log_p = (output.logits / temperature).log_softmax(dim=-1)
    start = 0
    for length in batch.seqlens:
        assert output.log_probs[start] == 0
        assert output.entropy[start] == 0
        for t in range(start + 1, start + length):
            label = batch.labels[t]
            seen = (0.0, 0.0) if label < 0 else (log_p[t - 1, label], -(log_p[t - 1].exp() * log_p[t - 1]).sum())
            assert output.log_probs[t].item() == pytest.approx(float(seen[0]), abs=1e-5)
            assert output.entropy[t].item() == pytest.approx(float(seen[1]), abs=1e-5)
        start += length
    assert output.loss.item() == pytest.approx(-output.log_probs.sum().item() / batch.num_targets, rel=1e-6)


def test_without_targets_the_loss_is_zero_and_so_is_every_gradient(tools: Any) -> None:
    config = tools.config()
    model, _ = tools.pair(config)
    inputs = tools.inputs(ROWS["one image"])
    inputs["labels"].fill_(-100)
    output = model(PackedBatch.from_transformers(inputs, config))
    output.loss.backward()
    assert output.loss.item() == 0
    assert all(gradient.count_nonzero() == 0 for gradient in gradients(model).values())


def test_text_gives_vision_weights_zeros_when_asked(tools: Any) -> None:
    config = tools.config()
    model, _ = tools.pair(config)
    batch = PackedBatch.from_transformers(tools.inputs(ROWS["text"]), config)
    plain = model(batch).loss
    model.vision_always = True
    loss = model(batch).loss
    loss.backward()
    assert loss.item() == plain.item()
    for name, gradient in gradients(model).items():
        assert name.startswith("model.visual.") == (gradient.count_nonzero() == 0), name


def test_sequences_share_an_image(tools: Any) -> None:
    """Rollouts of one prompt point at the same features: as if each had its own copy of the image."""
    config = tools.config()
    model, _ = tools.pair(config)
    single = PackedBatch.from_transformers(tools.inputs([[3, ("image", (1, 4, 6)), 9]]), config)
    copies = join([single, single])
    shared = PackedBatch.make(
        input_ids=copies.input_ids,
        position_ids=copies.position_ids,
        labels=copies.labels,
        seqlens=copies.seqlens,
        image_patches=single.image_patches,
        video_patches=single.video_patches,
        image_grids=single.image_grids,
        video_grids=single.video_grids,
        vision_index=single.vision_index.repeat(2),
    )
    _, expected = run(tools, model, [copies], copies.num_targets)
    _, actual = run(tools, model, [shared], copies.num_targets)
    for name, gradient in expected.items():
        assert tools.difference(actual[name], gradient) <= 1e-5, name


def test_responses_go_on_from_a_prompt_that_is_computed_once(tools: Any) -> None:
    """A prompt and two responses that share it: as if each response had its own copy of the prompt."""
    config = tools.config()
    model, _ = tools.pair(config)
    single = PackedBatch.from_transformers(tools.inputs([[3, ("image", (1, 4, 6)), 9]]), config)
    prompt, end = len(single.input_ids) - 5, len(single.input_ids)
    other = single.input_ids[prompt : end - 2].flip(0)  # a second response, of three tokens

    def batch(order: Sequence[tuple[int, int] | None], seqlens: Sequence[int], prefixes: Sequence[int]) -> PackedBatch:
        """Pieces start..stop of `single`, or None for the second response, in a row; responses alone are targets."""
        pick = lambda name, piece: getattr(single, name)[..., slice(*(piece or (prompt, end - 2)))]
        ids = [other if piece is None else pick("input_ids", piece) for piece in order]
        learned = [piece is None or piece[0] == prompt for piece in order]
        labels = [x if learn else torch.full_like(x, -100) for x, learn in zip(ids, learned, strict=True)]
        return PackedBatch.make(
            input_ids=torch.cat(ids),
            position_ids=torch.cat([pick("position_ids", piece) for piece in order], dim=1),
            labels=torch.cat(labels),
            seqlens=seqlens,
            image_patches=single.image_patches,
            video_patches=single.video_patches,
            image_grids=single.image_grids,
            video_grids=single.video_grids,
            vision_index=torch.cat([pick("vision_index", piece) for piece in order]),
            prefixes=prefixes,
        )

    start, first = (0, prompt), (prompt, end)
    copies = batch([start, first, start, None], [prompt + 5, prompt + 3], [])
    shared = batch([start, first, None], [prompt, 5, 3], [-1, 0, 0])
    assert copies.num_targets == shared.num_targets == 8
    expected, expected_gradients = run(tools, model, [copies], 8)
    actual, gradients_of_shared = run(tools, model, [shared], 8)
    assert tools.difference(actual[0].loss, expected[0].loss) <= 1e-5
    assert tools.difference(actual[0].log_probs[-8:], expected[0].log_probs[copies.labels != -100]) <= 1e-5
    for name, gradient in expected_gradients.items():
        assert tools.difference(gradients_of_shared[name], gradient) <= 1e-5, name


@pytest.mark.parametrize("rows", [ROWS["text"], [*ROWS["several images"], *ROWS["videos"]]], ids=["text", "media"])
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_a_training_step_reads_nothing_from_the_device(tools: Any, rows: list[list[Any]], shared: bool) -> None:
    """Tensors on the meta device have no values to read: forward and backward never wait for a GPU."""
    model, _ = tools.pair(tools.config())
    batch = PackedBatch.from_transformers(tools.inputs(rows), model.config)
    if shared:  # the second sequence goes on from the first
        names = ("input_ids", "position_ids", "labels", "seqlens", "vision_index")
        names += ("image_patches", "video_patches", "image_grids", "video_grids")
        parts = {name: getattr(batch, name) for name in names}
        batch = PackedBatch.make(**parts, prefixes=[-1, 0, *[-1] * (len(batch.seqlens) - 2)])
    model = model.to("meta")
    model.vision_always = True
    output = model(batch.to("meta"), logits=True)
    (output.loss + output.entropy.sum()).backward()
    assert all(gradient.device.type == "meta" for gradient in gradients(model).values())


def test_gradient_checkpointing_changes_nothing(tools: Any) -> None:
    config = tools.config()
    model, _ = tools.pair(config)
    batch = PackedBatch.from_transformers(tools.inputs(ROWS["several images"]), config)
    _, expected = run(tools, model, [batch], batch.num_targets)
    model.gradient_checkpointing = True
    _, actual = run(tools, model, [batch], batch.num_targets)
    assert all(torch.equal(actual[name], gradient) for name, gradient in expected.items())


def test_gradient_checkpointing_keeps_block_inputs_only(tools: Any) -> None:
    """Bytes that autograd saves, counted: far fewer."""
    config = tools.config()
    model, _ = tools.pair(config)
    batch = PackedBatch.from_transformers(tools.inputs(ROWS["very different sizes"]), config)

    def saved_bytes() -> int:
        total = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(batch)
        return total

    logits = 4 * len(batch.input_ids) * config.text_config.vocab_size  # kept by the head, whatever the blocks do
    everything = saved_bytes() - logits
    model.gradient_checkpointing = True
    assert saved_bytes() - logits < everything / 3


@pytest.mark.slow
def test_bfloat16_is_as_exact_as_the_oracle(tools: Any) -> None:
    """Relative Frobenius error against float64 with the same (bfloat16) weights, mean of five seeds."""
    config = tools.config()
    rows = [*ROWS["several images"], *ROWS["very different sizes"]]
    errors: dict[str, list[float]] = {
        "ours logits": [],
        "theirs logits": [],
        "ours gradient": [],
        "theirs gradient": [],
    }
    for seed in range(5):
        ours, theirs = (model.bfloat16() for model in tools.pair(config, seed))
        inputs = tools.inputs(rows, seed)
        mask = inputs["attention_mask"].bool()

        def step(model: torch.nn.Module, inputs: Any = inputs, mask: Any = mask) -> tuple[torch.Tensor, torch.Tensor]:
            model.zero_grad()
            output = model(**inputs)
            output.loss.backward()
            flat = torch.cat([parameter.grad.flatten().double() for _, parameter in sorted(model.named_parameters())])
            return output.logits[mask].double(), flat

        their_logits, their_gradient = step(theirs)
        batch = PackedBatch.from_transformers(inputs, config)
        output = ours(batch, logits=True)
        output.loss.backward()
        our_gradient = torch.cat([grad.flatten().double() for _, grad in sorted(gradients(ours).items())])
        logits, gradient = step(theirs.double())
        for name, value, exact in (
            ("ours logits", output.logits.double(), logits),
            ("theirs logits", their_logits, logits),
            ("ours gradient", our_gradient, gradient),
            ("theirs gradient", their_gradient, gradient),
        ):
            errors[name].append(((value - exact).norm() / exact.norm()).item())
    mean = {name: sum(values) / len(values) for name, values in errors.items()}
    assert mean["ours logits"] <= 1.2 * mean["theirs logits"], mean
    assert mean["ours gradient"] <= 1.2 * mean["theirs gradient"], mean


def test_the_same_seed_gives_the_same_weights(tools: Any) -> None:
    config = tools.config()
    first, second, third = (Glm4v(config) for seed in (3, 3, 4) if torch.manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, third.lm_head.weight)
    assert first.lm_head.weight.std().item() == pytest.approx(config.text_config.initializer_range, rel=0.05)
    assert all(weight.eq(1).all() for name, weight in first.named_parameters() if "norm" in name and "bias" not in name)


def test_names_and_shapes_are_transformers(tools: Any) -> None:
    for tied in (False, True):
        ours, theirs = tools.pair(tools.config(tied=tied))
        shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
