"""The checkpoint's chat template: messages to text, and text cut into what the assistant writes and the rest."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from glm4v.data.special import special

ASSISTANT = special("assistant")
SYSTEM = special("system")
TURN_END = re.compile("|".join(re.escape(special(name)) for name in ("system", "user", "observation", "endoftext")))


class ChatTemplate:
    """The template of a tokenizer. GLM ends no turn: the next role's token does, or the end of the text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise ValueError("tokenizer has no chat template; put the checkpoint's chat_template.jinja into its folder")
        self._tokenizer = tokenizer

    def render(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        """The conversation as one text, with one placeholder a medium."""
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return str(text)

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """A rendered text cut where the assistant begins and ends; True for what it writes, with the token that ends
        its turn.

        To be tokenised piece by piece: a prompt then has the same ids in training, with its answer behind it, and in
        generation.
        """
        piece, *turns = text.split(ASSISTANT)
        for turn in turns:
            start = self._written_from(turn)
            end = TURN_END.search(turn, start)
            stop = len(turn) if end is None else end.start() if end.group() == SYSTEM else end.end()
            yield piece + ASSISTANT + turn[:start], False
            yield turn[start:stop], True
            piece = turn[stop:]
        yield piece, False

    @cached_property
    def _opening(self) -> str:
        """What the template writes behind the assistant's role before the assistant has its say, such as a newline."""
        question = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
        return self.render(question, add_generation_prompt=True).rpartition(ASSISTANT)[2]

    def _written_from(self, turn: str) -> int:
        if turn.startswith(self._opening):
            return len(self._opening)
        # the opening ends in <think> and this turn has none: its white space alone is the template's
        return len(turn) - len(turn.lstrip()) if self._opening[:1].isspace() else 0
