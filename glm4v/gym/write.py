"""Writes the gym's problems as files: one JSONL a split, pictures as PNG beside them.

Each problem has its own random numbers, drawn from (seed, split, domain, number) alone: the files are the same bytes
whatever the number of processes, and a longer file begins like a shorter one.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from glm4v.gym.choice import pick
from glm4v.gym.domains import DOMAINS, TIERS
from glm4v.gym.problem import Problem

POOL_OF_SPLIT = {"pretrain": "train", "sft": "train", "rl": "train", "validation": "validation", "heldout": "heldout"}
DESCRIBE = ("Describe the picture.", "What is shown?", "What do you see?")
PRETRAIN_TIERS = (1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 3, 5)
"""Mostly easy: a new model sees nothing for its first thousands of problems. On a mix of all nine domains it began to
read pixels after 2,500 problems of the first tier, and had not after 16,000 of all five alike."""

CHUNK = 50
"""Problems a process writes between two reports of progress."""

Progress = Callable[[int, int], None]
"""Called with the number of problems written and of all."""


@dataclass(frozen=True)
class _Chunk:
    """Problems `start` to `stop` of one domain and split."""

    out: Path
    seed: int
    split: str
    domain: str
    start: int
    stop: int


def write(
    out: Path,
    *,
    seed: int = 0,
    pretrain: int = 2000,
    sft: int = 400,
    rl: int = 2000,
    validation: int = 50,
    heldout: int = 1000,
    domains: Sequence[str] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Writes out/{sft,rl,validation,heldout}.jsonl, out/pretrain_<domain>.jsonl and out/images.

    Counts are problems a domain; a split with count 0 is not written. Lines alternate over the domains and go round the
    tiers, so that the first n lines are a fair sample. For pretraining each domain has its own file, so that a recipe
    can order them, and easy tiers come more often. Raises ValueError for an unknown domain, a negative
    count or fewer than one worker, ImportError where the packages of the [gym] extra are missing.
    """
    out = Path(out)
    counts = {"pretrain": pretrain, "sft": sft, "rl": rl, "validation": validation, "heldout": heldout}
    names = list(DOMAINS) if domains is None else list(domains)
    unknown = [name for name in names if name not in DOMAINS]
    if unknown:
        raise ValueError(f"domains: {', '.join(unknown)} is not in the gym, which has {', '.join(DOMAINS)}")
    negative = [split for split, count in counts.items() if count < 0]
    if negative:
        raise ValueError(f"{negative[0]}: {counts[negative[0]]} problems, expected 0 or more")
    if workers < 1:
        raise ValueError(f"workers: {workers}, expected 1 or more")
    missing = [package for package in ("sklearn", "skimage", "matplotlib") if find_spec(package) is None]
    if missing:
        raise ImportError(f"the gym draws with {', '.join(missing)}, not installed: pip install 'glm4v[gym]'")

    chunks = [
        _Chunk(out, seed, split, domain, start, min(start + CHUNK, count))
        for split, count in counts.items()
        for domain in names
        for start in range(0, count, CHUNK)
    ]
    for split, domain in {(chunk.split, chunk.domain) for chunk in chunks}:
        (out / "images" / split / domain).mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
    done, total = 0, sum(chunk.stop - chunk.start for chunk in chunks)
    for chunk, written in zip(chunks, _run(chunks, workers), strict=True):
        rank = names.index(chunk.domain)
        file = f"pretrain_{chunk.domain}" if chunk.split == "pretrain" else chunk.split
        files[file].update(((chunk.start + i, rank), line) for i, line in enumerate(written))
        done += len(written)
        if progress:
            progress(done, total)
    for file, lines in files.items():
        (out / f"{file}.jsonl").write_text("".join(lines[key] + "\n" for key in sorted(lines)))


def _run(chunks: Iterable[_Chunk], workers: int) -> Iterator[list[str]]:
    """The JSON lines of each chunk, in order."""
    if workers == 1:
        yield from map(_write_chunk, chunks)
        return
    # spawn: a fork of a process whose torch has running threads may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_chunk, chunks)


def _write_chunk(chunk: _Chunk) -> list[str]:
    return [json.dumps(_write_problem(chunk, number), ensure_ascii=False) for number in range(chunk.start, chunk.stop)]


def _write_problem(chunk: _Chunk, number: int) -> dict:
    """Makes one problem, saves its pixels and returns its JSON line as a dict."""
    split, name = chunk.split, chunk.domain
    rng = np.random.default_rng([chunk.seed, zlib.crc32(split.encode()), zlib.crc32(name.encode()), number])
    tiers = PRETRAIN_TIERS if split == "pretrain" else TIERS
    tier = tiers[number % len(tiers)]
    problem = DOMAINS[name].make(rng, tier, POOL_OF_SPLIT[split])
    medium = _save(problem, chunk.out, f"images/{split}/{name}/{number:05d}")
    line = {"id": f"{split}-{name}-{number:05d}", "domain": name, "tier": str(tier)}
    question, reply = problem.question, problem.response
    if split == "pretrain":
        # half captions, half plain answers: sight and words, but not the format, which SFT teaches
        describes = rng.random() < 0.5
        question, reply = (pick(rng, DESCRIBE), problem.caption) if describes else (question, problem.remark)
    messages = [{"role": "user", "content": [medium, {"type": "text", "text": question}]}]
    if split in ("pretrain", "sft"):
        messages.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
        return line | {"messages": messages}
    return line | {"messages": messages, "truth": problem.truth, "verifier": DOMAINS[name].verifier}


def _save(problem: Problem, out: Path, stem: str) -> dict:
    """Saves a picture or a video's frames and returns the message part that names them."""
    if problem.frame_rate is None:
        _save_png(problem.pixels, out / f"{stem}.png")
        return {"type": "image", "image": f"{stem}.png"}
    paths: list[str] = []
    for number, frame in enumerate(problem.pixels):
        if number and np.array_equal(frame, problem.pixels[number - 1]):
            paths.append(paths[-1])  # a frame that stands still is one file
            continue
        paths.append(f"{stem}-{number:02d}.png")
        _save_png(frame, out / paths[-1])
    return {"type": "video", "video": paths, "frame_rate": problem.frame_rate}


def _save_png(pixels: np.ndarray, path: Path) -> None:
    """Saves uint8 [H, W, 3]. Grain has no repetitions to search for: Huffman coding alone is faster and no larger."""
    Image.fromarray(pixels).save(path, compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)
