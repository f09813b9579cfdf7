"""Ids of GLM's special tokens, looked up in a checkpoint's tokenizer by their text."""

from dataclasses import dataclass, fields

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SpecialTokens:
    """One id a field; the field "user" is the token "<|user|>"."""

    endoftext: int
    system: int
    user: int
    assistant: int
    observation: int
    image: int
    video: int
    begin_of_image: int
    end_of_image: int
    begin_of_video: int
    end_of_video: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "SpecialTokens":
        """Raises ValueError that names the tokens the tokenizer lacks."""
        vocabulary = tokenizer.get_vocab()
        texts = {field.name: special(field.name) for field in fields(cls)}
        missing = [text for text in texts.values() if text not in vocabulary]
        if missing:
            raise ValueError(f"tokenizer lacks {', '.join(missing)}; expected the tokenizer of a GLM-4.1V checkpoint")
        return cls(**{name: vocabulary[text] for name, text in texts.items()})

    @property
    def media(self) -> tuple[int, ...]:
        """Tokens that stand for media or delimit them: never sampled, never a target."""
        return (
            self.image,
            self.video,
            self.begin_of_image,
            self.end_of_image,
            self.begin_of_video,
            self.end_of_video,
        )

    @property
    def stop(self) -> tuple[int, ...]:
        """Tokens that end an assistant's turn: the end of the text, or the role of whoever speaks next."""
        return self.endoftext, self.user, self.observation


def special(name: str) -> str:
    """The text of a special token: "user" -> "<|user|>"."""
    return f"<|{name}|>"
