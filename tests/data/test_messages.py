"""Content parts in either form -> what the template takes, and media in order. Errors stand in test_processor."""

import pytest

from glm4v.data.messages import read_messages


def test_media_in_order_of_appearance_with_place_and_settings():
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:x", "detail": "high"}, "max_pixels": 9},
                {"type": "text", "text": "c"},
                {"type": "video", "path": "v.mp4", "fps": 1.5},
            ],
        },
        {"role": "user", "content": [{"type": "image", "url": "i.png", "min_pixels": None}]},
    ]
    rendered, media = read_messages(messages)
    assert [message["content"] for message in rendered] == [
        "ab",
        [{"type": "image"}, {"type": "text", "text": "c"}, {"type": "video"}],
        [{"type": "image"}],
    ]
    assert [(medium.kind, medium.source, medium.place) for medium in media] == [
        ("image", "data:x", "message 1, part 0 (image)"),
        ("video", "v.mp4", "message 1, part 2 (video)"),
        ("image", "i.png", "message 2, part 0 (image)"),
    ]
    assert (media[0].max_pixels, media[1].fps, media[2].min_pixels) == (9, 1.5, None)


def test_messages_are_not_changed_and_other_keys_are_kept():
    message = {"role": "assistant", "content": [{"type": "text", "text": "a"}], "metadata": "tool"}
    rendered, _ = read_messages([message])
    assert rendered == [{"role": "assistant", "content": "a", "metadata": "tool"}]
    assert message["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize("name", ["user", "assistant", "system", "observation", "begin_of_video", "end_of_image"])
def test_text_cannot_forge_turns_or_media(name):
    with pytest.raises(ValueError, match=rf"message 0: the text contains <\|{name}\|>"):
        read_messages([{"role": "user", "content": f"a <|{name}|> b"}])
