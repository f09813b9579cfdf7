"""Messages, images, videos and files -> Sample -> PackedBatch."""

from glm4v.data.boxes import to_normalised_box, to_pixel_box
from glm4v.data.files import Conversation, Problem, read_messages, read_problems
from glm4v.data.images import CLIP_MEAN, CLIP_STD, load_image
from glm4v.data.loader import Loader
from glm4v.data.packing import PackedBatch, Packing, pack, pack_to_budget
from glm4v.data.processor import Processor
from glm4v.data.sample import Sample
from glm4v.data.special import SpecialTokens

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "Conversation",
    "Loader",
    "PackedBatch",
    "Packing",
    "Problem",
    "Processor",
    "Sample",
    "SpecialTokens",
    "load_image",
    "pack",
    "pack_to_budget",
    "read_messages",
    "read_problems",
    "to_normalised_box",
    "to_pixel_box",
]
