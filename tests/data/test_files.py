"""JSONL files: what is read, and that every error names the file, the line and the part."""

import json
import pickle

import pytest

from glm4v.data.files import read_messages, read_problems

ASK = [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "How many?"}]}]


def write(folder, *lines):
    path = folder / "lines.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_conversations_by_index_with_blank_lines_between(tmp_path):
    texts = ["one", "zwei — drei", "last"]
    lines = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    data = read_messages(write(tmp_path, lines[0], "", lines[1], "  ", lines[2]))
    assert [conversation.messages[0]["content"] for conversation in data] == texts
    assert data[-1].messages[0]["content"] == "last"
    assert data[1].key == f"{tmp_path / 'lines.jsonl'}:3"
    assert data[1].root == tmp_path
    assert pickle.loads(pickle.dumps(data))[2] == data[2]
    first = read_messages(tmp_path / "lines.jsonl", limit=2)
    assert [conversation.messages[0]["content"] for conversation in first] == texts[:2]


def test_problems_and_their_defaults(tmp_path):
    line = {"id": 7, "messages": ASK, "truth": {"count": 3}, "domain": "counting"}
    data = read_problems(write(tmp_path, line, line | {"verifier": "math", "tier": 2}))
    assert len(data) == 2
    assert (data[0].id, data[0].verifier, data[0].tier) == ("7", "counting", "")
    assert (data[1].verifier, data[1].tier, data[1].truth) == ("math", "2", {"count": 3})
    assert data[0].question == "How many?"
    assert data[0].key.endswith("lines.jsonl:1 (7)")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", r"lines.jsonl:2: no JSON"),
        ("[1]", r"lines.jsonl:2: expected a JSON object with a list 'messages'"),
        ({"id": "x", "messages": []}, r"lines.jsonl:2: expected"),
        ({"id": "x", "messages": ASK, "domain": "d"}, r"lines.jsonl:2 \(x\): a problem without truth"),
        (
            {"id": "x", "messages": [*ASK, {"role": "assistant", "content": "3"}], "truth": "3", "domain": "d"},
            r"lines.jsonl:2 \(x\): the last message",
        ),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    good = {"id": 1, "messages": ASK, "truth": "3", "domain": "counting"}
    data = read_problems(write(tmp_path, good, line))
    assert data[0].truth == "3"
    with pytest.raises(ValueError, match=message):
        data[1]


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none\.jsonl"):
        read_messages(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="is empty"):
        read_messages(write(tmp_path, "", ""))


def test_a_broken_image_is_named_by_file_line_sample_and_part(tmp_path, processor):
    data = read_problems(write(tmp_path, {"id": "q1", "messages": ASK, "truth": "3", "domain": "counting"}))
    problem = data[0]
    with pytest.raises(ValueError, match=r"lines\.jsonl:1 \(q1\): message 0, part 0 \(image\): there is no file"):
        processor(problem.messages, root=problem.root, key=problem.key)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ValueError, match=r"lines\.jsonl:1 \(q1\): message 0, part 0 \(image\): "):
        processor(problem.messages, root=problem.root, key=problem.key)
