"""Messages to samples: token ids against transformers' own expansion, labels, placeholders, settings, errors."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.processing_glm4v import Glm4vProcessor
from transformers.video_utils import VideoMetadata

from glm4v.data import Processor, pack
from glm4v.data.images import CLIP_STD
from glm4v.gym import TOKENIZER


def user(*parts):
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": content}


def assistant(text):
    return {"role": "assistant", "content": text}


def image(array, **settings):
    return {"type": "image", "image": array, **settings}


def targets(processor, sample):
    """The trained tokens as text, `·` between runs."""
    runs, previous = [], -2
    for place in (sample.labels != -100).nonzero()[:, 0].tolist():
        runs += [[]] if place != previous + 1 else []
        runs[-1].append(int(sample.labels[place]))
        previous = place
    assert (sample.labels[sample.labels != -100] == sample.input_ids[sample.labels != -100]).all()
    return "·".join(processor.decode(run) for run in runs)


def test_text_alone_and_the_generation_prompt(checkpoint_processor):
    def text(*messages, **settings):
        return checkpoint_processor.decode(checkpoint_processor(messages, **settings).input_ids)

    question = {"role": "user", "content": "Why?"}
    assert text(question) == "[gMASK]<sop><|user|>\nWhy?<|assistant|>\n"
    assert text(user("Why?")) == text(question)
    assert text(question, add_generation_prompt=False) == "[gMASK]<sop><|user|>\nWhy?"
    assert text(question, assistant("So.")) == "[gMASK]<sop><|user|>\nWhy?<|assistant|>\nSo."
    said = {"role": "assistant", "content": [{"type": "text", "text": "So"}, {"type": "text", "text": "."}]}
    assert text(question, said) == text(question, assistant("So."))
    assert text({"role": "system", "content": "Be."}, question).startswith("[gMASK]<sop><|system|>\nBe.<|user|>\n")


def test_ids_are_those_of_transformers(checkpoint_processor, noise):
    """Media tokens and times as Glm4vProcessor writes them. It needs torchvision to be made, its methods do not."""
    processor = checkpoint_processor
    stills = [noise(60, 90, seed=1), noise(300, 200, seed=2)]
    frames = [noise(70, 120, seed=seed) for seed in range(7)]
    video = {"type": "video", "video": frames, "frame_rate": 1.5}
    messages = [user("A", image(stills[0]), video, "B"), assistant("C"), user(image(stills[1]), "D")]
    sample = processor(messages)

    oracle = object.__new__(Glm4vProcessor)
    oracle.image_token, oracle.image_processor, oracle.video_processor = "<|image|>", Glm4vImageProcessorPil(), None
    grids = oracle.image_processor(images=[Image.fromarray(still) for still in stills], return_tensors="pt")
    oracle.video_processor = oracle.image_processor  # for its merge_size
    indices = [0, 1, 2, 3, 4, 5, 6, 6]  # at 1.5 frames a second, of 5 seconds, 10 frames are asked for
    rows, columns = sample.sizes[1][0] // 14, sample.sizes[1][1] // 14
    metadata = VideoMetadata(total_num_frames=7, fps=1.5, frames_indices=indices)
    moving = {"video_grid_thw": torch.tensor([[4, rows, columns]]), "video_metadata": [metadata]}
    text = processor.template.render([user("A", {"type": "image"}, {"type": "video"}, "B"), *messages[1:]], True)
    for number in range(2):
        text = text.replace("<|image|>", "<image>" * (int(grids["image_grid_thw"][number].prod()) // 4), 1)
    text = text.replace("<image>", "<|image|>").replace("<|video|>", oracle.replace_video_token(moving, 0))
    assert "<|end_of_image|>1<|begin_of_image|>" in text
    assert sample.input_ids.tolist() == processor.tokenizer.encode(text, add_special_tokens=False)

    batch = pack([sample])
    assert torch.equal(batch.image_grid_thw, grids["image_grid_thw"])
    patches = grids["pixel_values"].view(-1, 3, 2, 196)[:, :, 0].reshape(-1, 588)
    assert (batch.image_patches - patches).abs().max() <= 1.001 / 255 / min(CLIP_STD)


def test_vision_tokens_point_at_their_features_in_order(processor, noise):
    video = {"type": "video", "video": [noise(56, 56)] * 3}
    sample = processor([user(video, image(noise(84, 56)), "and", image(noise(56, 56)))])
    places = sample.input_ids == processor.special.image
    assert torch.equal(sample.vision_index >= 0, places)
    assert sample.vision_index[places].tolist() == list(range(sum(sample.features)))
    assert [picture.ndim for picture in sample.images] == [4, 3, 3]


CHAT = [user("One?"), assistant("<think>a</think><answer>1</answer>"), user("Two?"), assistant("2")]


@pytest.mark.parametrize("which", ["processor", "checkpoint_processor"])
def test_what_the_assistant_writes_is_trained(which, request):
    processor = request.getfixturevalue(which)
    sample = processor(CHAT, train="assistant")
    assert targets(processor, sample) == "<think>a</think><answer>1</answer><|user|>·2<|endoftext|>"
    assert processor.decode(sample.input_ids).endswith("2<|endoftext|>")
    # whoever asks last is not answered: nothing more is trained
    assert targets(processor, processor(CHAT[:3], train="assistant")).endswith("</answer><|user|>")


def test_a_prompt_has_the_same_ids_in_training_and_generation(processor, noise):
    chat = [user(image(noise(56, 56)), "One?"), assistant("\n\n1")]  # newlines that a tokenizer would merge
    prompt, whole = processor(chat[:1]), processor(chat, train="assistant")
    assert torch.equal(whole.input_ids[: len(prompt)], prompt.input_ids)
    assert (whole.labels[: len(prompt)] == -100).all()
    assert (whole.labels[len(prompt) :] != -100).all()
    answer = whole.input_ids[len(prompt) :]
    assert torch.equal(prompt.completed(answer, answer).position_ids, whole.position_ids)


def test_a_template_that_opens_the_thought(processor):
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
    tokenizer.chat_template = processor.tokenizer.chat_template.replace("<|assistant|>\\n", "<|assistant|>\\n<think>")
    opened = Processor(tokenizer)
    assert opened.decode(opened([user("One?")]).input_ids).endswith("<|assistant|>\n<think>")
    sample = opened(CHAT, train="assistant")
    assert targets(opened, sample) == "a</think><answer>1</answer><|user|>·2<|endoftext|>"


def test_all_text_is_trained_but_media(processor, noise):
    video = {"type": "video", "video": [noise(28, 28)] * 4, "frame_rate": 1}
    chat = [user("See", image(noise(56, 56)), video, "?"), assistant("Yes.")]
    sample = processor(chat, train="all")
    assert targets(processor, sample) == "[gMASK]<sop><|user|>\nSee·?<|assistant|>\nYes.<|endoftext|>"
    assert (processor(chat).labels == -100).all()


def test_pixel_budget_of_the_processor_and_of_a_part(noise):
    big, small = noise(280, 560), noise(14, 28)
    processor = Processor.from_pretrained(TOKENIZER, max_pixels=100_000, min_pixels=10_000)
    parts = image(big), image(big, max_pixels=30_000), image(small), image(small, min_pixels=784)
    sizes = processor([user(*parts)]).sizes
    assert sizes[0] == (196, 420)
    assert sizes[1] == (112, 224)
    assert sizes[2] == (84, 168)
    assert sizes[3] == (28, 56)
    url = {"type": "image_url", "image_url": {"url": "data:,"}, "max_pixels": 30_000}
    with pytest.raises(ValueError, match=r"message 0, part 0 \(image\): data URL"):
        processor([user(url)])


def test_a_video_has_limits_over_all_frames_and_rates_of_its_own(noise):
    frames = [noise(112, 112)] * 8
    processor = Processor.from_pretrained(TOKENIZER, fps=1)
    whole = {"type": "video", "video": frames, "frame_rate": 2}
    parts = whole, whole | {"fps": 2}, whole | {"max_pixels": 4 * 56 * 56}
    sample = processor([user(*parts)])
    assert [len(video) for video in sample.images] == [4, 8, 4]
    assert sample.sizes == ((112, 112), (112, 112), (56, 56))


def test_extreme_strips(processor, noise):
    sample = processor([user(image(noise(28, 28 * 400)), image(noise(28 * 250, 28)))])
    assert sample.sizes == ((28, 28 * 400), (28 * 250, 28))
    batch = pack([sample])
    assert batch.image_grids == ((1, 2, 800), (1, 500, 2))


def test_special_tokens(processor):
    vocabulary = processor.tokenizer.get_vocab()
    assert processor.special.image == vocabulary["<|image|>"]
    assert processor.special.stop == tuple(vocabulary[f"<|{name}|>"] for name in ("endoftext", "user", "observation"))
    assert len(set(processor.special.media)) == 6


def test_save_and_load(tmp_path, noise):
    saved = Processor.from_pretrained(TOKENIZER, max_pixels=50_000, min_pixels=20_000, fps=4)
    saved.save_pretrained(tmp_path)
    loaded = Processor.from_pretrained(tmp_path)
    assert (loaded.image_limits, loaded.video_limits, loaded.fps) == (saved.image_limits, saved.video_limits, 4)
    chat = [user(image(noise(300, 400)), "?"), assistant("!")]
    assert torch.equal(loaded(chat, train="all").labels, saved(chat, train="all").labels)
    oracle = Glm4vImageProcessorPil.from_pretrained(tmp_path)
    assert (oracle.size["shortest_edge"], oracle.size["longest_edge"]) == (40_000, 100_000)
    assert oracle(images=[Image.fromarray(noise(300, 400))])["image_grid_thw"].tolist() == [
        [1, *(side // 14 for side in loaded(chat).sizes[0])]
    ]


def test_settings_in_the_one_file_that_transformers_writes(tmp_path):
    processor = Processor.from_pretrained(TOKENIZER)
    processor.tokenizer.save_pretrained(tmp_path)
    size = {"shortest_edge": 3136, "longest_edge": 200_000}
    config = {"image_processor": {"size": size, "image_mean": [0.5] * 3}, "video_processor": {"size": size, "fps": 3}}
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    loaded = Processor.from_pretrained(tmp_path)
    assert loaded.image_limits == (1568, 100_000)
    assert loaded.video_limits == (3136, 200_000)
    assert loaded.image_mean == (0.5, 0.5, 0.5)
    assert loaded.fps == 3


PICTURE = np.zeros((28, 28, 3), np.uint8)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages is list"),
        ("Hi", "messages is str"),
        ([{"role": "user"}], "message 0 is"),
        ([{"role": "tool", "content": "x"}], "message 0 has the role 'tool'"),
        ([{"role": "user", "content": 3}], "message 0: content is a int"),
        ([user("a"), user("b", {"type": "audio"})], "message 1, part 1 is"),
        ([user({"type": "image"})], r"message 0, part 0 \(image\) has no source"),
        ([user({"type": "image", "image": PICTURE, "path": "a"})], "exactly one of image, url, path"),
        ([user(image(PICTURE, max_pixel=3))], "has the key 'max_pixel'"),
        ([user(image(PICTURE, max_pixels=-3))], "max_pixels is -3"),
        ([user(image(PICTURE, fps=3))], "has the key 'fps'"),
        ([user("a <|image|> b")], r"message 0, part 0: the text contains <\|image\|>"),
        ([user("a"), assistant("b<|user|>c")], r"message 1: the text contains <\|user\|>"),
        ([user({"type": "video", "video": []})], r"message 0, part 0 \(video\): video is a list"),
        ([user(image("nowhere.png"))], r"message 0, part 0 \(image\): there is no file"),
    ],
)
def test_errors_name_sample_message_and_part(processor, messages, message):
    with pytest.raises(ValueError, match=message):
        processor(messages)
    with pytest.raises(ValueError, match=rf"^a\.jsonl:7: .*{message}"):
        processor(messages, key="a.jsonl:7")


def test_media_that_the_template_does_not_show_are_an_error(checkpoint_processor):
    with pytest.raises(ValueError, match="the chat template wrote 0 media for the 1"):
        checkpoint_processor([user("?"), {"role": "assistant", "content": [image(PICTURE)]}])


def test_wrong_arguments(processor, tmp_path):
    with pytest.raises(ValueError, match="train is 'some'"):
        processor(CHAT, train="some")
    with pytest.raises(ValueError, match="add_generation_prompt"):
        processor(CHAT, train="all", add_generation_prompt=True)
    with pytest.raises(ValueError, match="is not a folder"):
        Processor.from_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="patch_size is 16"):
        Processor(processor.tokenizer, {"patch_size": 16})
    with pytest.raises(ValueError, match="expected pixel limits"):
        Processor(processor.tokenizer, {"size": {"height": 3}})
