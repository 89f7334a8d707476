"""The preprocessing layer, from strings to encoder inputs: TF-Hub's wordpieces, split or truncated, and packed.

B: batch, W: windows of all its texts, S: wordpieces of the longest window, including [CLS] and [SEP], at most
max_length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textclf.encoder_handles import handles_of
from textclf.errors import ConfigError, EncoderError, ModelStoreError, SourceError
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.importing.checkpoint import is_checkpoint_folder, read_json
from textclf.importing.importer import TOKENIZER_FILE, positions_of, read_tokenizer
from textclf.importing.wordpiece import own_or_library
from textclf.tokenization.text_tokenizer import TextTokenizer, load_tokenizer, with_reading
from textclf.training.encoders import resolve as encoders
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import hub, tf, tf_keras

# Key of the number of windows of each text.
WINDOWS = "windows"
_SPECIAL_TOKENS = 2  # [CLS] and [SEP]
_Tokenizing = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]


class TextPreprocessing(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer from strings [B] to {input_word_ids, input_mask, input_type_ids}, each int32 [W, S].

    With more than one window, a long text is not truncated but split (textclf.tokenization.windows). The layer then
    returns "windows", too: the number of windows of each text, int64 [B]. With one, W is B.

    Unlike the preprocessing SavedModel, it pads to the longest text of the batch instead of a fixed length, and can
    keep the end of a long text as well as its beginning. With truncation "head" the ids before the padding are those
    of the SavedModel's bert_pack_inputs.

    Args:
        folder: the preprocessing SavedModel (TF-Hub "Preprocessor API": tokenize, special tokens), or the saved_model/
            of a trained version, which includes the tokenizer.
        max_length: wordpieces that a text is truncated to.
        truncation: "head" or "head+tail".
        head_fraction: share of the kept wordpieces that "head+tail" takes from the beginning.
        windows: maximum number of windows of a text.

    Raises:
        EncoderError: if `folder` is not such a SavedModel.
    """

    def __init__(
        self,
        folder: Path,
        max_length: int,
        truncation: str = "head",
        head_fraction: float = 0.25,
        windows: int = 1,
        **kwargs: object,
    ) -> None:
        super().__init__(trainable=False, **kwargs)
        self.folder = folder
        self.max_length = max_length
        self.truncation = truncation
        self.head_fraction = head_fraction
        self.windows = windows
        self._load()

    def _load(self) -> None:
        """Read `folder`, and set the ids of the special tokens and the size of the vocabulary."""
        try:
            self._preprocess = hub.load(str(self.folder))
            special = self.tokenizer.get_special_tokens_dict()
            self.start_id = int(special["start_of_sequence_id"])
            self.end_id = int(special["end_of_segment_id"])
            self.padding_id = int(special["padding_id"])
            self.mask_id = int(special["mask_id"]) if "mask_id" in special else -1
            self.vocabulary_size = int(special["vocab_size"])
        except Exception as error:  # TensorFlow raises many types for damaged files.
            reason = " ".join(str(error).split())
            raise EncoderError(
                f"{self.folder}: expected a TF-Hub text preprocessing SavedModel with tokenize and "
                f"get_special_tokens_dict ({type(error).__name__}: {reason[:200]}); pass the preprocessing "
                f"that belongs to the encoder"
            ) from error

    @property
    def tokenizer(self) -> Any:
        """The part of the SavedModel that splits texts, with its vocabulary; graphs with this layer depend on it."""
        return getattr(self._preprocess, "tokenize", None) or self._preprocess.tokenizer

    @property
    def text_tokenizer(self) -> TextTokenizer | None:
        """The tokenizer, if it runs in Python outside the graph; a SavedModel can't contain it."""
        return None

    def call(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoder inputs of the texts."""
        tokens, counts = self.split(self.wordpieces(texts))
        inputs = self.pack(tokens)
        return inputs if self.windows == 1 else {**inputs, WINDOWS: counts}

    def wordpieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """All wordpiece ids of each text, without special tokens: int32 ragged [B, None]."""
        tokens = self.tokenizer(texts)
        return tokens.merge_dims(1, -1) if tokens.ragged_rank > 1 else tokens

    def token_counts(self, texts: tf.Tensor) -> tf.Tensor:
        """Length of each text before truncation, including [CLS] and [SEP]: int32 [B]."""
        return tf.cast(self.wordpieces(texts).row_lengths(), tf.int32) + _SPECIAL_TOKENS

    def truncate(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Ragged [B, None] -> ragged [B, at most max_length - 2]."""
        kept = self.max_length - _SPECIAL_TOKENS
        if self.truncation == "head":
            return tokens[:, :kept]
        head = int(kept * self.head_fraction)
        # The rest of a short text is shorter than the tail, so that no token is lost or repeated.
        return tf.concat([tokens[:, :head], tokens[:, head:][:, head - kept :]], axis=1)

    def split(self, tokens: tf.RaggedTensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Wordpieces [B, None] -> windows, ragged [W, at most max_length - 2], and their number by text, int64 [B].

        With one window, it truncates.
        """
        lengths = tokens.row_lengths()
        if self.windows == 1:
            return self.truncate(tokens), tf.ones_like(lengths)
        # As textclf.tokenization.windows.window_starts, for all texts together.
        capacity = self.max_length - _SPECIAL_TOKENS
        counts = tf.clip_by_value(-(-lengths // capacity), 1, self.windows)
        text_of = tf.repeat(tf.range(tokens.nrows()), counts)
        spare, gaps = tf.maximum(lengths - capacity, 0), tf.maximum(counts - 1, 1)
        positions = tf.ragged.range(counts).flat_values
        starts = positions * tf.gather(spare, text_of) // tf.gather(gaps, text_of)
        begins = tf.gather(tokens.row_starts(), text_of) + starts
        pieces = tf.ragged.range(begins, begins + tf.gather(tf.minimum(lengths, capacity), text_of))
        return pieces.with_flat_values(tf.gather(tokens.flat_values, pieces.flat_values)), counts

    def bracket(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Add [CLS] at the beginning and [SEP] at the end: ragged [B, None] -> ragged [B, None]."""
        column = tf.ones([tokens.nrows(), 1], tf.int32)
        return tf.concat([column * self.start_id, tokens, column * self.end_id], axis=1)

    def pack(self, tokens: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        """Wordpieces of windows -> dense encoder inputs [W, S]."""
        tokens = self.bracket(tokens)
        word_ids = tokens.to_tensor(default_value=self.padding_id)
        return {
            "input_word_ids": word_ids,
            "input_mask": tf.sequence_mask(tokens.row_lengths(), tf.shape(word_ids)[1], tf.int32),
            "input_type_ids": tf.zeros_like(word_ids),
        }

    @cached_property
    def ids_and_lengths(self) -> _Tokenizing:
        """A graph from strings [B] to their ids after truncation.

        It gives ids [tokens] with [CLS] and [SEP], their number by text, the windows of each text, which are 1, and
        token_counts(), each [B]. It is traced once, with the options at that time, because tracing the tokenizer takes
        a second.
        """
        return self._tokenizing(lambda tokens: (self.truncate(tokens), tf.ones_like(tokens.row_lengths())))

    @cached_property
    def window_ids_and_lengths(self) -> _Tokenizing:
        """As ids_and_lengths, with the ids of all windows [tokens] and their number by window [W]."""
        return self._tokenizing(self.split)

    def _tokenizing(self, split: Callable[[tf.RaggedTensor], tuple[tf.RaggedTensor, tf.Tensor]]) -> _Tokenizing:
        @graph_function(tf.TensorSpec([None], tf.string))
        def tokenize(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            tokens = self.wordpieces(texts)
            pieces, counts = split(tokens)
            kept = self.bracket(pieces)
            return kept.flat_values, kept.row_lengths(), counts, tokens.row_lengths() + _SPECIAL_TOKENS

        return tokenize

    def folds_case(self) -> bool:
        """True if upper and lower case give the same wordpieces."""
        upper, lower = self.wordpieces(tf.constant(["THE FILM", "the film"]))
        return upper.shape == lower.shape and bool(tf.reduce_all(upper == lower))


class LibraryPreprocessing(TextPreprocessing):
    """As TextPreprocessing, with a tokenizer that runs outside the graph, as those of the Hugging Face library do.

    Args:
        folder: a Hugging Face checkpoint with tokenizer.json, or the engine of a version.
    """

    def _load(self) -> None:
        try:
            if is_checkpoint_folder(self.folder):
                library = read_tokenizer(self.folder, positions_of(self.folder))
                # As for an import: without the library in a server, if the tokens are equal.
                tokenizer, _ = own_or_library(read_json(self.folder / TOKENIZER_FILE), library, GOLDEN_TEXTS)
            else:
                tokenizer = load_tokenizer(self.folder)
        except (SourceError, ConfigError, ModelStoreError) as error:
            raise EncoderError(str(error)) from error
        self._own_tokenizer = tokenizer
        self.start_id, self.end_id, self.padding_id = tokenizer.start_id, tokenizer.end_id, tokenizer.padding_id
        self.mask_id = -1 if tokenizer.mask_id == tokenizer.unknown_id else tokenizer.mask_id
        self.vocabulary_size = len(tokenizer.vocabulary)

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer that serves, with the options of the layer."""
        reading = self.max_length, self.truncation, self.head_fraction, self.windows
        return with_reading(self._own_tokenizer, *reading)

    def wordpieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """All ids of each text, without markers: int32 ragged [B, None]."""
        ids, lengths = tf.numpy_function(self._ids_and_lengths, [texts], [tf.int32, tf.int64], stateful=False)
        return tf.RaggedTensor.from_row_lengths(
            tf.ensure_shape(ids, [None]), tf.ensure_shape(lengths, [None]), validate=False
        )

    def folds_case(self) -> bool:
        """True if upper and lower case give the same ids."""
        return self._own_tokenizer.settings.lower_case

    def _ids_and_lengths(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [text.wordpieces for text in self._own_tokenizer([text.decode() for text in texts.tolist()])]
        ids = np.fromiter((piece for text in found for piece in text), np.int32)
        return ids, np.array([len(text) for text in found], np.int64)


@dataclass(frozen=True)
class TokenizedTexts:
    """Truncated texts as ids: text i is ids[offsets[i]:offsets[i + 1]].

    Attributes:
        ids: int32 [tokens of all texts], including [CLS] and [SEP].
        offsets: int64 [texts + 1].
        whole_lengths: lengths before truncation, int64 [texts].
    """

    ids: np.ndarray
    offsets: np.ndarray
    whole_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Lengths after truncation, int64 [texts]."""
        return np.diff(self.offsets)

    def chosen(self, rows: np.ndarray) -> "TokenizedTexts":
        """The texts at these positions."""
        lengths = self.lengths[rows]
        parts = [self.ids[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return TokenizedTexts(np.concatenate(parts), offsets, self.whole_lengths[rows])


@dataclass(frozen=True)
class TokenizedWindows:
    """Texts as a trained model reads them.

    Attributes:
        rows: the windows of all texts, in order.
        counts: windows of each text, int64 [texts].
    """

    rows: TokenizedTexts
    counts: np.ndarray


def tokenize_texts(preprocessing: TextPreprocessing, texts: Sequence[str], chunk: int = 1024) -> TokenizedTexts:
    """Tokenize and truncate texts, once for all epochs."""
    return _tokenized(preprocessing.ids_and_lengths, texts, chunk).rows


def tokenize_windows(preprocessing: TextPreprocessing, texts: Sequence[str], chunk: int = 1024) -> TokenizedWindows:
    """Tokenize texts and split them into windows; with one window, this is tokenize_texts()."""
    graph = preprocessing.ids_and_lengths if preprocessing.windows == 1 else preprocessing.window_ids_and_lengths
    return _tokenized(graph, texts, chunk)


def _tokenized(tokenize: _Tokenizing, texts: Sequence[str], chunk: int) -> TokenizedWindows:
    chunks = [texts[start : start + chunk] for start in range(0, len(texts), chunk)]
    parts = [tokenize(tf.constant(part, tf.string)) for part in chunks]
    ids, lengths, counts, whole_lengths = (
        np.concatenate([np.zeros(0, np.int64)] + [part[position].numpy() for part in parts]) for position in range(4)
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenizedWindows(TokenizedTexts(ids.astype(np.int32), offsets, np.repeat(whole_lengths, counts)), counts)


def encoder_preprocessing(name_or_handle: str) -> TextPreprocessing:
    """The preprocessing of an encoder, named as for --encoder.

    Raises:
        EncoderError: if the encoder can't be downloaded or loaded.
    """
    handles = handles_of(name_or_handle)
    folders = encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)
    return preprocessing_in(folders.preprocessing, max_length=512)


def preprocessing_in(folder: Path, max_length: int, *reading: Any, **options: Any) -> TextPreprocessing:
    """The preprocessing layer of a folder: a SavedModel, a Hugging Face checkpoint, or the engine of a version.

    For the other arguments and the errors see TextPreprocessing.
    """
    is_saved_model = (folder / "saved_model.pb").is_file()
    kind = TextPreprocessing if is_saved_model else LibraryPreprocessing
    return kind(folder, max_length, *reading, **options)


def token_counts(texts: Sequence[str], preprocessing: TextPreprocessing) -> np.ndarray:
    """Length in wordpieces of each of n texts before truncation, including [CLS] and [SEP]: int32 [n]."""
    return tokenize_texts(preprocessing, texts).whole_lengths.astype(np.int32)
