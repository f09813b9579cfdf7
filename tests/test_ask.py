"""Boxes in answers: found behind the thinking, in pixels of the picture, and drawn on it."""

import numpy as np
import pytest
from PIL import Image

from glm4v.ask import answer_boxes, ask, draw_boxes
from glm4v.data import Processor
from glm4v.gym import TOKENIZER
from glm4v.model import Glm4v, small_config

RESPONSE = "<think>maybe [0,0,10,10]</think><answer><|begin_of_box|>[[100, 200, 300, 400]]<|end_of_box|></answer>"


def test_boxes_come_in_pixels_of_the_picture_and_not_from_the_thinking():
    assert answer_boxes(RESPONSE, (200, 100)) == [(20.0, 20.0, 60.0, 40.0)]
    assert answer_boxes("[1,2,3,4] and [5,6,7,8]", (1000, 1000)) == [(1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)]


@pytest.mark.parametrize("response", ["no box", "[300,0,100,50]", "[0,0,1001,5]", "[1,2,3]"])
def test_what_is_no_box_is_passed_over(response):
    assert answer_boxes(response, (100, 100)) == []


def test_boxes_are_drawn_where_they_are(tmp_path):
    Image.new("RGB", (200, 100), (255, 255, 255)).save(tmp_path / "in.png")
    assert draw_boxes(tmp_path / "in.png", RESPONSE, tmp_path / "out.png") == 1
    changed = (np.array(Image.open(tmp_path / "out.png")) != 255).any(axis=-1)
    rows, columns = changed.nonzero()
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (20, 20, 60, 40)
    assert not changed[25:35, 25:55].any()


def test_a_model_is_asked_about_pictures(tmp_path):
    processor = Processor.from_pretrained(TOKENIZER, min_pixels=28 * 28)
    Glm4v(small_config(processor.tokenizer, layers=1, vision_layers=1)).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    Image.new("RGB", (56, 28), (255, 0, 0)).save(tmp_path / "red.png")
    progress = []
    options = {"max_new_tokens": 3, "temperature": 1.0, "seed": 1}
    text = ask(tmp_path, "which?", [tmp_path / "red.png"], **options, on_progress=lambda *now: progress.append(now))
    assert text == ask(tmp_path, "which?", [tmp_path / "red.png"], **options)
    assert progress == [(n, 3) for n in range(1, len(progress) + 1)]
    with pytest.raises(ValueError, match=r"blue\.png"):
        ask(tmp_path, "which?", [tmp_path / "blue.png"])
