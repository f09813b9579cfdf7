"""JSONL files of conversations (pretraining, SFT) and of problems (RL, evaluation), read a line at a time when asked.

A conversation: {"messages": [..]}; a problem: {"id", "messages", "truth", "domain", "verifier"?, "tier"?}. Paths of
images and videos are relative to the file. Media are decoded by the processor, not here.
"""

import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar


@dataclass(frozen=True)
class Conversation:
    """Chat messages; `root`, where their relative paths start; `key`, the file and line (and id) for error messages."""

    messages: list[dict[str, Any]]
    root: Path
    key: str


@dataclass(frozen=True)
class Problem:
    """Messages that end with the user's question, and what a right answer is.

    truth: what the verifier takes; verifier: the rule's name; (domain, tier) is the curriculum's cell.
    """

    id: str
    messages: list[dict[str, Any]]
    truth: Any
    domain: str
    verifier: str
    tier: str
    root: Path
    key: str

    @property
    def question(self) -> str:
        """The text of the last message."""
        content = self.messages[-1]["content"]
        return content if isinstance(content, str) else "\n".join(p["text"] for p in content if p.get("type") == "text")


Record = TypeVar("Record", Conversation, Problem)


class JsonLines(Sequence[Record], ABC, Generic[Record]):
    """The lines of a JSONL file as records; only the lines' offsets are held. Blank lines are passed over.

    limit: only the first so many records. Raises ValueError that names the file, and on access file and line, when
    something is wrong.
    """

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"path: there is no file {self.path}")
        self._offsets, self._lines = array("q"), array("q")  # of each record: first byte, line number from 1
        offset = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if len(self._offsets) == limit:
                    break
                if not line.isspace():
                    self._offsets.append(offset)
                    self._lines.append(number)
                offset += len(line)
        if not self._offsets:
            raise ValueError(f"path: {self.path} is empty; expected a JSON object a line")

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            return self._parse(index, file.readline())

    def __iter__(self) -> Iterator[Record]:
        with self.path.open("rb") as file:  # opened once: of millions of lines, opening is most of the time
            for index, offset in enumerate(self._offsets):
                file.seek(offset)
                yield self._parse(index, file.readline())

    def _parse(self, index: int, text: bytes) -> Record:
        key = f"{self.path}:{self._lines[index]}"
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{key}: no JSON: {error}") from error
        if not isinstance(line, dict) or not isinstance(line.get("messages"), list) or not line["messages"]:
            raise ValueError(f"{key}: expected a JSON object with a list 'messages'")
        return self._record(line, f"{key} ({line['id']})" if "id" in line else key)

    @abstractmethod
    def _record(self, line: dict[str, Any], key: str) -> Record: ...


class Conversations(JsonLines[Conversation]):
    """A JSONL file of conversations."""

    def _record(self, line: dict[str, Any], key: str) -> Conversation:
        return Conversation(line["messages"], self.path.parent, key)


class Problems(JsonLines[Problem]):
    """A JSONL file of problems."""

    def _record(self, line: dict[str, Any], key: str) -> Problem:
        if missing := [name for name in ("id", "truth", "domain") if name not in line]:
            raise ValueError(f"{key}: a problem without {', '.join(missing)}; expected id, messages, truth and domain")
        if line["messages"][-1].get("role") != "user":
            raise ValueError(f"{key}: the last message's role is not 'user'; a problem ends with its question")
        return Problem(
            id=str(line["id"]),
            messages=line["messages"],
            truth=line["truth"],
            domain=str(line["domain"]),
            verifier=str(line.get("verifier") or line["domain"]),
            tier=str(line.get("tier", "")),
            root=self.path.parent,
            key=key,
        )


def read_messages(path: str | Path, limit: int | None = None) -> Conversations:
    """The conversations of a JSONL file, or the first `limit` of them, indexable, read when asked for."""
    return Conversations(path, limit)


def read_problems(path: str | Path) -> Problems:
    """The problems of a JSONL file, indexable, read when asked for."""
    return Problems(path)
