"""The interface of the tokenizers that versions contain, and the one that loads whichever a folder has."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from textclf.tokenization.library_tokenizer import LIBRARY_FILE, LibraryTokenizer
from textclf.tokenization.tokenizer import TokenizedText, Tokenizer, TokenizerSettings, WordPieces


class TextTokenizer(Protocol):
    """The names that Tokenizer and LibraryTokenizer share; Tokenizer describes them."""

    settings: TokenizerSettings
    vocabulary: tuple[str, ...]
    padding_id: int
    start_id: int
    end_id: int
    unknown_id: int
    mask_id: int

    def __call__(self, texts: Sequence[str], max_chars: int | None = None) -> list[TokenizedText]:
        """The ids of each text, in order."""

    def windows(self, ids: list[int]) -> list[list[int]]:
        """The encoder inputs of one text."""

    def kept_positions(self, count: int) -> list[int]:
        """Positions of the wordpieces that the encoder reads of a text with `count` wordpieces."""

    def words(self, text: str) -> Iterator[WordPieces]:
        """The words of a text in order, each with its characters and its wordpieces."""

    def knows(self, word: str) -> bool:
        """Whether wordpieces spell a word."""

    def spellings(self) -> list[str]:
        """The vocabulary as people read it."""

    def continues(self) -> list[bool]:
        """Whether each wordpiece of the vocabulary continues a word."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer into `folder`."""


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer in the folder of an engine.

    Raises:
        ModelStoreError: if a file is missing or damaged, or a package is missing.
    """
    return LibraryTokenizer.load(folder) if (folder / LIBRARY_FILE).is_file() else Tokenizer.load(folder)


def with_reading(
    tokenizer: TextTokenizer, max_length: int, truncation: str, head_fraction: float, windows: int
) -> TextTokenizer:
    """The same tokenizer with other settings of what is read of a long text (see TokenizerSettings)."""
    other = copy.copy(tokenizer)
    reading = {"max_length": max_length, "truncation": truncation, "head_fraction": head_fraction, "windows": windows}
    other.settings = TokenizerSettings.from_dict({**tokenizer.settings.to_dict(), **reading})
    return other
