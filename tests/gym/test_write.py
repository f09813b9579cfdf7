"""The files: what a line holds, the same bytes for any number of processes, no picture in two splits."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from glm4v.data.files import read_messages, read_problems
from glm4v.gym import write
from glm4v.gym.domains import DOMAINS

COUNTS = {"pretrain": 6, "sft": 5, "rl": 10, "validation": 5, "heldout": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gym")
    write(out, seed=3, workers=1, **COUNTS)
    return out


def names(split: str) -> list[str]:
    """The files of a split: pretraining has one a domain."""
    return [f"pretrain_{domain}.jsonl" for domain in DOMAINS] if split == "pretrain" else [f"{split}.jsonl"]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def media(line: dict) -> list[str]:
    part = line["messages"][0]["content"][0]
    return part["video"] if part["type"] == "video" else [part["image"]]


def test_every_split_has_every_domain_in_turning_tiers(folder: Path) -> None:
    for split in list(COUNTS)[1:]:
        found = lines(folder / f"{split}.jsonl")
        assert [line["domain"] for line in found] == list(DOMAINS) * COUNTS[split]
        assert [line["tier"] for line in found[:: len(DOMAINS)]] == [str(n % 5 + 1) for n in range(COUNTS[split])]
        assert len({line["id"] for line in found}) == len(found)


def test_pretraining_has_a_file_a_domain_that_is_mostly_easy(folder: Path) -> None:
    for domain, name in zip(DOMAINS, names("pretrain"), strict=True):
        found = lines(folder / name)
        assert [line["domain"] for line in found] == [domain] * COUNTS["pretrain"]
        assert [line["tier"] for line in found] == ["1", "2", "1", "3", "1", "2"]


def test_pretraining_shows_no_answer_format_and_sft_always_does(folder: Path) -> None:
    for line in (line for name in names("pretrain") for line in lines(folder / name)):
        reply = line["messages"][1]["content"][0]["text"]
        assert "<think>" not in reply
        assert "<|begin_of_box|>" not in reply
    for line in lines(folder / "sft.jsonl"):
        assert line["messages"][1]["content"][0]["text"].count("<|begin_of_box|>") == 1


def test_pictures_exist_and_no_two_are_equal(folder: Path) -> None:
    files = [folder / name for split in COUNTS for name in names(split)]
    paths = [path for file in files for line in lines(file) for path in sorted(set(media(line)))]
    assert len(set(paths)) == len(paths)
    assert len({Image.open(folder / path).tobytes() for path in paths}) == len(paths)


def test_a_video_is_two_frames_a_second_and_still_frames_share_a_file(folder: Path) -> None:
    for line in lines(folder / "rl.jsonl"):
        part = line["messages"][0]["content"][0]
        if line["domain"] == "video_time":
            assert part["frame_rate"] == 2
            assert part["video"][::2] == part["video"][1::2]
            assert len(set(part["video"])) == len(part["video"]) // 2 > int(line["truth"])


def test_the_data_room_reads_them(folder: Path) -> None:
    assert len(read_messages(folder / "sft.jsonl")) == COUNTS["sft"] * len(DOMAINS)
    problems = read_problems(folder / "rl.jsonl")
    assert {problem.verifier for problem in problems} == {domain.verifier for domain in DOMAINS.values()}
    assert all(problem.messages[-1]["role"] == "user" and problem.truth for problem in problems)


@pytest.mark.slow
def test_same_bytes_with_two_processes_and_in_a_longer_file(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "two", seed=3, workers=2, **COUNTS)
    assert digests(tmp_path / "two") == digests(folder)
    write(tmp_path / "short", seed=3, workers=1, pretrain=2, sft=0, rl=0, validation=0, heldout=0)
    short, full = (path / "pretrain_sums.jsonl" for path in (tmp_path / "short", folder))
    assert full.read_text().startswith(short.read_text())
    assert not (tmp_path / "short" / "rl.jsonl").exists()


def test_another_seed_gives_other_problems(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, seed=4, domains=["sums"], workers=1, pretrain=0, sft=0, rl=10, validation=0, heldout=0)
    ours = [line["truth"] for line in lines(folder / "rl.jsonl") if line["domain"] == "sums"]
    assert [line["truth"] for line in lines(tmp_path / "rl.jsonl")] != ours


def test_progress_counts_up_to_all_problems(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(
        tmp_path,
        domains=["digits", "text"],
        workers=1,
        pretrain=60,
        sft=5,
        rl=0,
        validation=0,
        heldout=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(50, 130), (60, 130), (110, 130), (120, 130), (125, 130), (130, 130)]


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="domains: chess is not in the gym, which has digits"):
        write(tmp_path, domains=["chess"])
    with pytest.raises(ValueError, match="rl: -1 problems"):
        write(tmp_path, rl=-1)
    with pytest.raises(ValueError, match="workers: 0"):
        write(tmp_path, workers=0)
