"""Texts to wordpiece ids: those of the TF-Hub BERT preprocessing, or those of the Hugging Face library for BERT.

Plain Python is fast here: nearly every word is in the vocabulary as a whole and costs one look-up. A review takes a
third of the time of the `tokenizers` library.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from textclf.config import MAX_WINDOWS, TRUNCATIONS, Config
from textclf.errors import ConfigError, InputError, ModelStoreError, TextTooLongError
from textclf.fields import REQUIRED, choice, share, switch, whole
from textclf.files import atomic_file
from textclf.tokenization.basic_tokenizer import word_slices, words_with_spans
from textclf.tokenization.hugging_face import HuggingFace
from textclf.tokenization.normalisation import Normalisation
from textclf.tokenization.tensorflow_text import TensorFlowText
from textclf.tokenization.windows import covered, window_starts

VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "tokenizer.json"
SPECIAL_TOKENS = 2  # [CLS] and [SEP]

_CONTINUATION = "##"
# Wordpieces of a text that TokenizedText.wordpieces contains at most: 8 MB for a text of any length.
MAX_WORDPIECES = 2**20
# A longer word becomes [UNK] (max_bytes_per_word of tensorflow_text.BertTokenizer). Hugging Face counts characters.
MAX_WORD_BYTES = 100
TENSORFLOW_TEXT, HUGGING_FACE = "tensorflow-text", "hugging-face"
_NORMALISATIONS: dict[str, Callable[[bool], Normalisation]] = {
    TENSORFLOW_TEXT: TensorFlowText,
    HUGGING_FACE: HuggingFace,
}
# Marks a prefix of wordpieces that is not a wordpiece itself.
_NO_PIECE = -1
# Words whose wordpieces are cached: about 5 MB.
_REMEMBERED = 2**14
_MASK_PIECE = "[MASK]"
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", _MASK_PIECE)

# A word, its characters [start, end) in the text, and the ids of its wordpieces.
WordPieces = tuple[str, int, int, tuple[int, ...]]


@dataclass(frozen=True)
class TokenizedText:
    """The wordpiece ids of one text.

    Attributes:
        ids: encoder input: [CLS], the wordpieces that are kept, [SEP]; more than max_length if several windows read
            them (Tokenizer.windows).
        length: wordpieces before truncation, with [CLS] and [SEP].
        wordpieces: the first MAX_WORDPIECES wordpieces before truncation, without [CLS] and [SEP].
    """

    ids: list[int]
    length: int
    wordpieces: list[int] = field(compare=False, repr=False)


@dataclass(frozen=True)
class TokenizerSettings(Config):
    """Contents of tokenizer.json; the fields are those of Tokenizer."""

    lower_case: bool = switch(REQUIRED, "Fold case and remove accents.")
    max_length: int = whole(REQUIRED, "Maximum number of wordpieces per text, with [CLS] and [SEP].", min=3)
    truncation: str = choice("head", "Kept part of a long text.", TRUNCATIONS)
    head_fraction: float = share(0.25, "Share of the wordpieces that head+tail takes from the beginning.")
    windows: int = whole(1, "Maximum number of windows that read a text.", min=1, max=MAX_WINDOWS)
    normalisation: str = choice(
        TENSORFLOW_TEXT, "Library whose words and wordpieces are computed.", tuple(_NORMALISATIONS)
    )

    def normaliser(self) -> Normalisation:
        """How texts become words."""
        return _NORMALISATIONS[self.normalisation](self.lower_case)

    def truncated(self, ids: list[int]) -> list[int]:
        """The wordpieces that the encoder reads of all those of a text, without markers."""
        max_pieces = self.max_length - SPECIAL_TOKENS
        if len(ids) <= max_pieces:
            return ids
        if self.windows > 1:
            return covered(ids, max_pieces, self.windows)
        if self.truncation == "head":
            return ids[:max_pieces]
        head = int(max_pieces * self.head_fraction)
        return ids[:head] + ids[head - max_pieces :]

    def windows_of(self, ids: list[int]) -> list[list[int]]:
        """The encoder inputs of one text, from its ids between two markers."""
        if len(ids) <= self.max_length:
            return [ids]
        pieces, capacity = ids[1:-1], self.max_length - SPECIAL_TOKENS
        starts = window_starts(len(pieces), capacity, self.windows)
        return [[ids[0], *pieces[start : start + capacity], ids[-1]] for start in starts]

    def kept_positions(self, count: int) -> list[int]:
        """The positions of the wordpieces that truncated() keeps of `count`."""
        # Tokenizers drop the middle of a longer text.
        beginning = min(count, MAX_WORDPIECES)
        end = range(max(beginning, count - self.max_length), count)
        return self.truncated([*range(beginning), *end])


class Tokenizer:
    """BERT's WordPiece tokenizer; several threads may call it.

    Args:
        vocabulary: the wordpieces; position is the id, and pieces that continue a word start with "##".
        lower_case, max_length, truncation, head_fraction, windows, normalisation: see TokenizerSettings.

    Attributes:
        padding_id, start_id, end_id, unknown_id: ids of [PAD], [CLS], [SEP] and [UNK].
        mask_id: the id of [MASK], or of [UNK] in a vocabulary without it.

    Raises:
        ConfigError: if a setting is invalid, or the vocabulary is not BERT's.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lower_case: bool,
        max_length: int,
        truncation: str = "head",
        head_fraction: float = 0.25,
        windows: int = 1,
        normalisation: str = TENSORFLOW_TEXT,
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.settings = TokenizerSettings(lower_case, max_length, truncation, head_fraction, windows, normalisation)
        self._normalisation = self.settings.normaliser()
        ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        _check_vocabulary(self.vocabulary, ids, normalisation)
        self.padding_id, self.unknown_id = ids["[PAD]"], ids["[UNK]"]
        self.start_id, self.end_id = ids["[CLS]"], ids["[SEP]"]
        self.mask_id = ids.get(_MASK_PIECE, self.unknown_id)
        self._size: Callable[[str], int] = len if normalisation == HUGGING_FACE else _utf8_size
        self._first = _with_beginnings(
            (item for item in ids.items() if not item[0].startswith(_CONTINUATION)), self._size
        )
        self._next = _with_beginnings(
            ((piece.removeprefix(_CONTINUATION), i) for piece, i in ids.items() if piece.startswith(_CONTINUATION)),
            self._size,
        )
        # No method: a cache of a method of its own owner would keep a replaced tokenizer until a garbage collection.
        self._pieces = functools.partial(_longest_pieces, self._first, self._next, self.unknown_id, self._size)
        self._remembered_pieces = functools.lru_cache(maxsize=_REMEMBERED)(self._pieces)

    def __call__(self, texts: Sequence[str], max_chars: int | None = None) -> list[TokenizedText]:
        """The ids of each text, in order.

        Args:
            max_chars: maximum number of characters of a text after normalisation, without spaces.

        Raises:
            InputError: if `texts` is a str, or a text contains a lone surrogate.
            TextTooLongError: if a text has more than `max_chars` characters.
        """
        if isinstance(texts, str):
            raise InputError(f"expected a list of texts, got one text: {texts[:50]!r}; pass [text]")
        return [self._tokenized(text, position, max_chars) for position, text in enumerate(texts)]

    def windows(self, ids: list[int]) -> list[list[int]]:
        """The encoder inputs of one text, each with [CLS] and [SEP]; `ids` are those of TokenizedText."""
        return self.settings.windows_of(ids)

    def kept_positions(self, count: int) -> list[int]:
        """Positions of the wordpieces that the encoder reads of a text with `count` wordpieces, without markers."""
        return self.settings.kept_positions(count)

    def pieces(self, word: str) -> tuple[int, ...]:
        """The wordpieces of a word of BasicTokenizer."""
        return (self.unknown_id,) if len(word) > MAX_WORD_BYTES else self._remembered_pieces(word)

    def knows(self, word: str) -> bool:
        """Whether wordpieces spell a word of BasicTokenizer, which otherwise becomes [UNK]."""
        return self._pieces(word) != (self.unknown_id,)

    def words(self, text: str) -> Iterator[WordPieces]:
        """The words of BasicTokenizer in order, each with its characters and its wordpieces.

        Raises:
            InputError: if the text contains a lone surrogate.
        """
        for word, start, end in words_with_spans(text, self._normalisation):
            yield word, start, end, self.pieces(word)

    def spellings(self) -> list[str]:
        """The vocabulary as people read it; pieces that continue a word start with "##"."""
        return list(self.vocabulary)

    def continues(self) -> list[bool]:
        """Whether each wordpiece of the vocabulary continues a word."""
        return [piece.startswith(_CONTINUATION) for piece in self.vocabulary]

    def save(self, folder: Path) -> None:
        """Write vocab.txt and tokenizer.json into `folder`."""
        with atomic_file(folder / VOCABULARY_FILE) as file:
            file.writelines(f"{piece}\n" for piece in self.vocabulary)
        write_settings(folder / SETTINGS_FILE, self.settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer that save() wrote into `folder`.

        Raises:
            ModelStoreError: if a file is missing or damaged.
        """
        settings = read_settings(folder / SETTINGS_FILE)
        source = folder / VOCABULARY_FILE
        try:
            return cls(read_vocabulary(source), **settings.to_dict())
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise ModelStoreError.damaged(
                f"{source}: expected a vocabulary of wordpieces ({error})", can_export=True
            ) from error

    def _tokenized(self, text: str, position: int, max_chars: int | None) -> TokenizedText:
        ids: list[int] = []
        chars = left_out = 0
        end: list[int] = []
        for words, slice_chars in word_slices(text, self._normalisation, MAX_WORD_BYTES):
            chars += slice_chars
            if max_chars is not None and chars > max_chars:
                raise TextTooLongError(position, max_chars)
            for word in words:
                piece = self._first.get(word, _NO_PIECE)
                if piece != _NO_PIECE:
                    ids.append(piece)
                elif len(word) > MAX_WORD_BYTES:
                    ids.append(self.unknown_id)
                else:
                    ids += self._remembered_pieces(word)
            if len(ids) > MAX_WORDPIECES:
                left_out += len(ids) - MAX_WORDPIECES
                end = [*end, *ids[MAX_WORDPIECES:]][-self.settings.max_length :]
                del ids[MAX_WORDPIECES:]
        kept = self.settings.truncated(ids + end if end else ids)
        return TokenizedText([self.start_id, *kept, self.end_id], len(ids) + left_out + SPECIAL_TOKENS, ids)


def read_vocabulary(path: Path) -> list[str]:
    """Read one wordpiece per line as TensorFlow does: lines end with a line feed, and carriage returns are removed.

    Raises:
        OSError: if the file can't be read.
        UnicodeDecodeError: if the file is not UTF-8.
    """
    return path.read_bytes().decode("utf-8").replace("\r", "").removesuffix("\n").split("\n")


def _longest_pieces(
    first: dict[str, int], following: dict[str, int], unknown_id: int, size: Callable[[str], int], word: str
) -> tuple[int, ...]:
    """Greedy longest match: the longest wordpiece at the start, then in the rest; `unknown_id` if no piece fits."""
    if size(word) > MAX_WORD_BYTES:
        return (unknown_id,)
    pieces = []
    known, start = first, 0
    while start < len(word):
        longest = _NO_PIECE
        for end in range(start + 1, len(word) + 1):
            piece = known.get(word[start:end])
            if piece is None:
                break
            if piece != _NO_PIECE:
                longest, next_start = piece, end
        if longest == _NO_PIECE:
            return (unknown_id,)
        pieces.append(longest)
        known, start = following, next_start
    return tuple(pieces)


def _check_vocabulary(vocabulary: Sequence[str], ids: dict[str, int], normalisation: str) -> None:
    # Hugging Face's normalisation reads [MASK] in a text as a token.
    optional = [] if normalisation == HUGGING_FACE else [_MASK_PIECE]
    missing = [token for token in BERT_TOKENS if token not in ids and token not in optional]
    if missing:
        raise ConfigError(f"vocabulary: expected BERT's special tokens, found no {', '.join(missing)}")
    if len(ids) < len(vocabulary):
        twice = next(piece for i, piece in enumerate(vocabulary) if ids[piece] != i)
        raise ConfigError(f"vocabulary: expected every wordpiece once, found {twice!r} twice")
    broken = next((piece for piece in vocabulary if "\n" in piece or "\r" in piece), None)
    if broken is not None:
        raise ConfigError(f"vocabulary: expected wordpieces without line breaks, found {broken!r}")


def _utf8_size(text: str) -> int:
    return len(text.encode())


def _with_beginnings(pieces: Iterable[tuple[str, int]], size: Callable[[str], int]) -> dict[str, int]:
    """Map every wordpiece to its id, and every proper prefix of one to _NO_PIECE, so that a search can stop early."""
    known: dict[str, int] = {}
    for piece, i in pieces:
        if size(piece) > MAX_WORD_BYTES:
            continue
        end = len(piece) - 1
        while end > 0 and piece[:end] not in known:  # If a prefix is known, so are the shorter ones.
            known[piece[:end]] = _NO_PIECE
            end -= 1
        known[piece] = i
    return known


def write_settings(path: Path, settings: TokenizerSettings) -> None:
    """Write settings as read_settings reads them."""
    with atomic_file(path) as file:
        json.dump(settings.to_dict(), file, indent=1)
        file.write("\n")


def read_settings(path: Path) -> TokenizerSettings:
    """The settings in tokenizer.json.

    Raises:
        ModelStoreError: if the file is missing or damaged.
    """
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ConfigError(f"expected a JSON object, found {type(values).__name__}")
        return TokenizerSettings.from_dict(values)
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise ModelStoreError.damaged(
            f"{path}: expected the settings of a tokenizer ({error})", can_export=True
        ) from error
