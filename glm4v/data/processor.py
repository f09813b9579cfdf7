"""Processor: chat messages with text, images and videos -> Sample, by the chat template of the checkpoint's tokenizer.

Token ids, the expansion of media and pixel limits agree with transformers' `Glm4vProcessor`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from glm4v.data.images import CLIP_MEAN, CLIP_STD, load_image, smart_resize
from glm4v.data.messages import Medium, read_messages
from glm4v.data.sample import IGNORE, MERGE, PATCH, Sample, merged_grids, multimodal_positions
from glm4v.data.special import SpecialTokens, special
from glm4v.data.template import ChatTemplate
from glm4v.data.video import load_video

Train = Literal["none", "assistant", "all"]
# transformers' defaults, for what a checkpoint's settings leave out
DEFAULTS: dict[str, Any] = {
    "processor_class": "Glm4vProcessor",
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "patch_size": PATCH,
    "merge_size": MERGE,
    "temporal_patch_size": 2,
}
IMAGE_DEFAULTS = DEFAULTS | {
    "image_processor_type": "Glm4vImageProcessor",
    "size": {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 15000},
}
VIDEO_DEFAULTS = DEFAULTS | {
    "video_processor_type": "Glm4vVideoProcessor",
    "size": {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 2 * 30000},
    "fps": 2,
}


class Loaded(NamedTuple):
    """A decoded medium, the size it is seen at, and for a video the time of each frame pair in seconds."""

    image: Tensor
    size: tuple[int, int]
    seconds: list[int] | None


class Processor:
    """Turns conversations into samples.

    tokenizer: a transformers tokenizer with a chat template; special: the ids of its special tokens.
    image_config, video_config: the checkpoint's preprocessor settings as transformers writes them. From them come
    image_mean, image_std; image_limits: (least, most) pixels of a still image, height x width; video_limits: of all
    frames of a video together; fps: frames a second that are taken of a video. A part's own `max_pixels`, `min_pixels`
    and `fps` go before these.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_config: Mapping[str, Any] | None = None,
        video_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = ChatTemplate(tokenizer)
        self.special = SpecialTokens.of(tokenizer)
        self.image_config = IMAGE_DEFAULTS | dict(image_config or {})
        self.video_config = VIDEO_DEFAULTS | dict(video_config or {})
        for name, value in (("patch_size", PATCH), ("merge_size", MERGE), ("temporal_patch_size", 2)):
            if self.image_config[name] != value:
                raise ValueError(f"image_config: {name} is {self.image_config[name]}; expected {value}")
        self.image_mean: tuple[float, ...] = tuple(self.image_config["image_mean"])
        self.image_std: tuple[float, ...] = tuple(self.image_config["image_std"])
        self.fps = float(self.video_config["fps"])
        # transformers counts a still image as two frames, here it is one
        self.image_limits = _limits(self.image_config, frames=2)
        self.video_limits = _limits(self.video_config, frames=1)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        max_pixels: int | None = None,
        min_pixels: int | None = None,
        fps: float | None = None,
    ) -> "Processor":
        """The processor of a checkpoint's folder; `max_pixels`, `min_pixels` (height x width of a still image) and
        `fps` replace the checkpoint's."""
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"folder {folder} is not a folder; expected one with tokenizer.json in it")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        both = _read_json(folder / "processor_config.json")
        image = _read_json(folder / "preprocessor_config.json") or both.get("image_processor", {})
        video = _read_json(folder / "video_preprocessor_config.json") or both.get("video_processor", {})
        size = dict(image.get("size", IMAGE_DEFAULTS["size"]))
        if max_pixels is not None:
            size["longest_edge"] = 2 * max_pixels
        if min_pixels is not None:
            size["shortest_edge"] = 2 * min_pixels
        return cls(tokenizer, image | {"size": size}, video | ({} if fps is None else {"fps": fps}))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes tokenizer, chat template and settings so that `from_pretrained` and transformers load them."""
        folder = Path(folder)
        self.tokenizer.save_pretrained(folder)
        for name, config in (("preprocessor", self.image_config), ("video_preprocessor", self.video_config)):
            (folder / f"{name}_config.json").write_text(json.dumps(config, indent=2) + "\n")

    def __call__(
        self,
        messages: Sequence[Mapping[str, Any]],
        train: Train = "none",
        add_generation_prompt: bool | None = None,
        root: Path | None = None,
        key: str = "",
    ) -> Sample:
        """The conversation as a Sample.

        messages: {"role": "system" | "user" | "assistant", "content": text or a list of parts}; parts are
            {"type": "text", "text"}, {"type": "image", "image": path, PIL image, array, bytes or data URL,
            "max_pixels"?, "min_pixels"?}, {"type": "image_url", "image_url": {"url"}} and {"type": "video", "video":
            path or list of images, "fps"?, "frame_rate"?, "max_pixels"?, "min_pixels"?}.
        train: which tokens get a label. "assistant": what the assistant writes, with the token that ends its turn (the
            next role, or <|endoftext|>, which is put behind the last turn); "all": all text, media and the times in a
            video excepted.
        add_generation_prompt: whether the assistant's role is opened at the end; None: when nothing is trained and the
            last turn is not the assistant's.
        root: where relative paths start; key: what errors call this conversation.
        Raises ValueError that names key, message and part.
        """
        try:
            return self._sample(messages, train, add_generation_prompt, root, key)
        except ValueError as error:
            if key and not str(error).startswith(key):
                raise ValueError(f"{key}: {error}") from error
            raise

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Token ids as text, special tokens kept."""
        return str(self.tokenizer.decode([int(token) for token in ids], skip_special_tokens=False))

    def _sample(
        self,
        messages: Sequence[Mapping[str, Any]],
        train: Train,
        add_generation_prompt: bool | None,
        root: Path | None,
        key: str,
    ) -> Sample:
        if train not in ("none", "assistant", "all"):
            raise ValueError(f"train is {train!r}; expected 'none', 'assistant' or 'all'")
        if train != "none" and add_generation_prompt:
            raise ValueError(
                f"add_generation_prompt is True with train={train!r}; a trained text ends with its last turn"
            )
        rendered, media = read_messages(messages)
        if add_generation_prompt is None:
            add_generation_prompt = train == "none" and messages[-1]["role"] != "assistant"
        text = self.template.render(rendered, add_generation_prompt) + (special("endoftext") if train != "none" else "")
        ids: list[int] = []
        labels: list[int] = []
        for piece, written in self.template.pieces(text):
            tokens = self._encode(piece)
            ids += tokens
            labels += tokens if train == "all" or (written and train == "assistant") else [IGNORE] * len(tokens)
        return self._with_media(ids, labels, media, root, key)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _with_media(
        self, ids: list[int], labels: list[int], media: list[Medium], root: Path | None, key: str
    ) -> Sample:
        """Expands each placeholder to the tokens of its medium."""
        kinds = {self.special.image: "image", self.special.video: "video"}
        written = [kinds[token] for token in ids if token in kinds]
        if written != [medium.kind for medium in media]:
            raise ValueError(
                f"the chat template wrote {len(written)} media for the {len(media)} of the messages, or in another"
                " order; GLM's templates take media in user messages only"
            )
        loaded = [self._load(part, root) for part in media]
        remaining, silent = iter(loaded), set(self.special.media)
        tokens: list[int] = []
        targets: list[int] = []
        grids: list[tuple[int, int]] = []
        for token, label in zip(ids, labels, strict=True):
            expansion = [token]
            if token in kinds:
                medium = next(remaining)
                frames = merged_grids(medium.image, medium.size)
                grids += frames
                expansion = self._expansion(frames, medium.seconds)
            tokens += expansion
            targets += [IGNORE if token in silent else label] * len(expansion)
        input_ids = torch.tensor(tokens, dtype=torch.int64)
        is_vision = input_ids == self.special.image
        return Sample(
            input_ids=input_ids,
            position_ids=multimodal_positions(is_vision, grids),
            labels=torch.tensor(targets, dtype=torch.int64),
            images=tuple(medium.image for medium in loaded),
            sizes=tuple(medium.size for medium in loaded),
            vision_index=torch.where(is_vision, is_vision.cumsum(0) - 1, -1),
            key=key,
        )

    def _load(self, medium: Medium, root: Path | None) -> Loaded:
        least, most = self.image_limits if medium.kind == "image" else self.video_limits
        limits = medium.min_pixels or least, medium.max_pixels or most
        try:
            if medium.kind == "image":
                image = load_image(medium.source, root)
                height, width, _ = image.shape
                return Loaded(image, smart_resize(1, height, width, *limits), None)
            size_of = lambda frames, height, width: smart_resize(frames, height, width, *limits)
            return Loaded(*load_video(medium.source, size_of, medium.fps or self.fps, medium.frame_rate, root))
        except ValueError as error:
            raise ValueError(f"{medium.place}: {error}") from error

    def _expansion(self, frames: list[tuple[int, int]], seconds: list[int] | None) -> list[int]:
        rows, columns = frames[0]
        tokens = [self.special.image] * (rows * columns)
        if seconds is None:
            return tokens
        begin, end = self.special.begin_of_image, self.special.end_of_image
        return [token for second in seconds for token in (begin, *tokens, end, *self._encode(str(second)))]


def _limits(config: Mapping[str, Any], frames: int) -> tuple[float, float]:
    size = config["size"]
    try:
        return size["shortest_edge"] / frames, size["longest_edge"] / frames
    except KeyError as error:
        raise ValueError(f"size is {size}; expected pixel limits 'shortest_edge' and 'longest_edge'") from error


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}
