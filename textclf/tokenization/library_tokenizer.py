"""The tokenizer of an imported model, computed by the `tokenizers` library from the model's own tokenizer.json."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from textclf.errors import ConfigError, InputError, ModelStoreError, TextTooLongError
from textclf.files import atomic_file
from textclf.tokenization.basic_tokenizer import exceeds, words_with_spans
from textclf.tokenization.tensorflow_text import CASED
from textclf.tokenization.tokenizer import (
    MAX_WORDPIECES,
    SETTINGS_FILE,
    SPECIAL_TOKENS,
    TokenizedText,
    TokenizerSettings,
    WordPieces,
    read_settings,
    write_settings,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

LIBRARY_FILE = "library_tokenizer.json"
# Ids without a token that a vocabulary may have, next to as many as it has tokens.
_MAX_UNUSED = 1000
# Marks of later pieces of a word (WordPiece), and of first pieces (byte-level BPE, Unigram).
_CONTINUATION = "##"
_BEGINNINGS = ("\u0120", "\u2581")


class LibraryTokenizer:
    """A tokenizer of the Hugging Face library, with the interface of textclf.tokenization.tokenizer.Tokenizer.

    Several threads may call it.

    Args:
        content: tokenizer.json of the model.
        max_length: maximum number of tokens of a text, with its two markers.
        lower_case: whether it folds case, by which equal texts are found.
        truncation, head_fraction, windows: see TokenizerSettings.

    Attributes:
        content: the argument.
        vocabulary: the tokens; the position is the id.
        padding_id, start_id, end_id, unknown_id, mask_id: ids of the special tokens.

    Raises:
        ConfigError: if the library can't read the content, or it is not the tokenizer of a BERT-like model.
        ImportError: if the library is not installed.
    """

    def __init__(
        self,
        content: str,
        max_length: int,
        lower_case: bool = False,
        truncation: str = "head",
        head_fraction: float = 0.25,
        windows: int = 1,
    ) -> None:
        self.content = content
        self._library = _library_of(content)
        self.settings = TokenizerSettings(lower_case, max_length, truncation, head_fraction, windows)
        ids = self._library.get_vocab(with_added_tokens=True).values()
        size = max(ids, default=-1) + 1
        if size > 2 * len(ids) + _MAX_UNUSED:
            raise ConfigError(f"expected ids without large gaps, found the id {size - 1} among {len(ids)} tokens")
        self.vocabulary = tuple(self._library.id_to_token(i) or "" for i in range(size))
        try:
            marked = self._library.encode("a").ids
            plain = self._library.encode("a", add_special_tokens=False).ids
        except Exception as error:
            raise ConfigError(f"the tokenizers library can't encode a text with it: {error}") from error
        if not plain or marked[1:-1] != plain:
            raise ConfigError("expected a tokenizer that puts one token before a text and one after it")
        self.start_id, self.end_id = marked[0], marked[-1]
        self.padding_id = self._id_of("[PAD]", "<pad>")
        self.unknown_id = self._id_of("[UNK]", "<unk>")
        self.mask_id = self._id_of("[MASK]", "<mask>", default=self.unknown_id)

    def __call__(self, texts: Sequence[str], max_chars: int | None = None) -> list[TokenizedText]:
        """The ids of each text, in order; see Tokenizer.

        Raises:
            InputError: if `texts` is a str, or a text contains a lone surrogate.
            TextTooLongError: if a text has more than `max_chars` characters.
        """
        if isinstance(texts, str):
            raise InputError(f"expected a list of texts, got one text: {texts[:50]!r}; pass [text]")
        found = []
        for position, text in enumerate(texts):
            if max_chars is not None and exceeds(text, max_chars):
                raise TextTooLongError(position, max_chars)
            ids = self._encoded(text).ids
            kept = self.settings.truncated(ids)
            pieces = ids[:MAX_WORDPIECES]
            found.append(TokenizedText([self.start_id, *kept, self.end_id], len(ids) + SPECIAL_TOKENS, pieces))
        return found

    def windows(self, ids: list[int]) -> list[list[int]]:
        """The encoder inputs of one text, each with both markers; `ids` are those of TokenizedText."""
        return self.settings.windows_of(ids)

    def kept_positions(self, count: int) -> list[int]:
        """Positions of the tokens that the encoder reads of a text with `count` tokens, without markers."""
        return self.settings.kept_positions(count)

    def words(self, text: str) -> Iterator[WordPieces]:
        """The words of BasicTokenizer, each with its characters and with the tokens that begin in it.

        Tokens that begin between two words belong to the next one, and at the end to the last one. A text without
        words that has tokens, such as white space, is one word.

        Raises:
            InputError: if the text contains a lone surrogate.
        """
        encoded = self._encoded(text)
        tokens = list(zip(encoded.offsets, encoded.ids, strict=True))
        spans = list(words_with_spans(text, CASED)) or ([(text, 0, len(text))] if tokens else [])
        taken = 0
        for number, (word, start, end) in enumerate(spans):
            first = taken
            is_last = number == len(spans) - 1
            while taken < len(tokens) and (is_last or tokens[taken][0][0] < end):
                taken += 1
            yield word, start, end, tuple(token for _, token in tokens[first:taken])

    def knows(self, word: str) -> bool:
        """Whether tokens spell a word."""
        return self.unknown_id not in self._encoded(word).ids

    def spellings(self) -> list[str]:
        """The vocabulary as people read it: without marks of first pieces, and "##" before those that continue a word.

        A byte-level piece that ends within a character has U+FFFD there.
        """
        is_byte_level = '"ByteLevel"' in self.content
        readable = (_characters_of(token) if is_byte_level else token for token in self.vocabulary)
        plain = (text.removeprefix("\u2581").strip() for text in readable)
        return [
            f"{_CONTINUATION if continues else ''}{text.removeprefix(_CONTINUATION) or token}"
            for text, token, continues in zip(plain, self.vocabulary, self.continues(), strict=True)
        ]

    def continues(self) -> list[bool]:
        """Whether each token of the vocabulary continues a word."""
        if any(token.startswith(_BEGINNINGS) for token in self.vocabulary):
            return [not token.startswith(_BEGINNINGS) and token[:1].isalpha() for token in self.vocabulary]
        return [token.startswith(_CONTINUATION) for token in self.vocabulary]

    def save(self, folder: Path) -> None:
        """Write library_tokenizer.json and tokenizer.json into `folder`."""
        with atomic_file(folder / LIBRARY_FILE) as file:
            file.write(self.content)
        write_settings(folder / SETTINGS_FILE, self.settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer that save() wrote into `folder`.

        Raises:
            ModelStoreError: if a file is missing or damaged, or the library is not installed.
        """
        settings, source = read_settings(folder / SETTINGS_FILE), folder / LIBRARY_FILE
        try:
            reading = settings.truncation, settings.head_fraction, settings.windows
            return cls(source.read_text(encoding="utf-8"), settings.max_length, settings.lower_case, *reading)
        except ImportError as error:
            raise ModelStoreError(
                f"{folder}: expected the package tokenizers, which this tokenizer needs, found none; install the extra "
                f"hub (pip install 'textclf[hub]')"
            ) from error
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise ModelStoreError.damaged(f"{source}: expected a tokenizer ({error})") from error

    def _id_of(self, *names: str, default: int | None = None) -> int:
        for name in names:
            found = self._library.token_to_id(name)
            if found is not None:
                return int(found)
        if default is None:
            raise ConfigError(f"expected the special token {' or '.join(names)}, found none")
        return default

    def _encoded(self, text: str) -> Any:
        try:
            return self._library.encode(text, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            raise InputError("expected a text, found half of a surrogate pair in it; send valid Unicode") from error


def _library_of(content: str) -> Library:
    from tokenizers import Tokenizer as Library

    try:
        library = Library.from_str(content)
    except Exception as error:
        raise ConfigError(f"not readable by the tokenizers library: {error}") from error
    library.no_truncation()
    library.no_padding()
    return library


def _characters_of(token: str) -> str:
    """The text of a token of byte-level BPE, whose characters stand for bytes; special tokens stay unchanged."""
    table = _bytes_of_characters()
    if not all(char in table for char in token):
        return token
    return bytes(table[char] for char in token).decode("utf-8", "replace")


@functools.cache
def _bytes_of_characters() -> dict[str, int]:
    """Printable bytes of Latin-1 stand for themselves, the others in order for the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
