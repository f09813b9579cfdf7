"""The pool: one numbering over files, prompts shared within a step."""

import json

import pytest

from glm4v.rl.pool import Pool


def write(path, domain, count, verifier=None):
    lines = [
        {
            "id": f"{domain}{n}",
            "messages": [{"role": "user", "content": f"{domain} {n}"}],
            "truth": "1",
            "domain": domain,
            "tier": str(n % 2 + 1),
        }
        | ({"verifier": verifier} if verifier else {})
        for n in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return str(path)


@pytest.fixture
def pool(tmp_path, processor):
    return Pool([write(tmp_path / "a.jsonl", "sums", 3, "math"), write(tmp_path / "b.jsonl", "gui", 2)], processor)


def test_one_numbering_over_files(pool):
    assert len(pool) == 5
    assert [problem.id for problem in pool] == ["sums0", "sums1", "sums2", "gui0", "gui1"]
    assert pool.cells == [("sums", "1"), ("sums", "2"), ("sums", "1"), ("gui", "1"), ("gui", "2")]
    assert pool.verifiers == {"math", "gui"}
    with pytest.raises(IndexError, match="number: 5, expected 0 to 4"):
        pool[5]


def test_a_prompt_is_the_same_object_until_forgotten(pool, processor):
    first = pool.prompt(3)
    assert pool.prompt(3) is first
    assert "gui 0" in processor.decode(first.input_ids)
    assert processor.decode(first.input_ids).endswith("<|assistant|>\n")
    pool.forget()
    assert pool.prompt(3) is not first


def test_no_files_is_an_error_that_says_what_to_do(processor):
    with pytest.raises(ValueError, match=r"data\.train: no files"):
        Pool([], processor)
