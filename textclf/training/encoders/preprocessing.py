"""The preprocessing layer, from strings to encoder inputs: TF-Hub's wordpieces, truncated and packed.

B: batch, S: wordpieces of the longest text of the batch, including [CLS] and [SEP], at most max_length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textclf.encoder_handles import handles_of
from textclf.errors import EncoderError
from textclf.training.encoders import resolve as encoders
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import hub, tf, tf_keras

_SPECIAL_TOKENS = 2  # [CLS] and [SEP]


class TextPreprocessing(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer from strings [B] to {input_word_ids, input_mask, input_type_ids}, each int32 [B, S].

    Unlike the preprocessing SavedModel, it pads to the longest text of the batch instead of a fixed length, and can
    keep the end of a long text as well as its beginning. With truncation "head" the ids before the padding are those
    of the SavedModel's bert_pack_inputs.

    Args:
        folder: the preprocessing SavedModel (TF-Hub "Preprocessor API": tokenize, special tokens), or the saved_model/
            of a trained version, which includes the tokenizer.
        max_length: wordpieces that a text is truncated to.
        truncation: "head" or "head+tail".
        head_fraction: share of the kept wordpieces that "head+tail" takes from the beginning.

    Raises:
        EncoderError: if `folder` is not such a SavedModel.
    """

    def __init__(
        self, folder: Path, max_length: int, truncation: str = "head", head_fraction: float = 0.25, **kwargs: object
    ) -> None:
        super().__init__(trainable=False, **kwargs)
        self.folder = folder
        self.max_length = max_length
        self.truncation = truncation
        self.head_fraction = head_fraction
        try:
            self._preprocess = hub.load(str(folder))
            special = self.tokenizer.get_special_tokens_dict()
            self.start_id = int(special["start_of_sequence_id"])
            self.end_id = int(special["end_of_segment_id"])
            self.padding_id = int(special["padding_id"])
            self.mask_id = int(special["mask_id"]) if "mask_id" in special else -1
            self.vocabulary_size = int(special["vocab_size"])
        except Exception as error:  # TensorFlow raises many types for damaged files.
            reason = " ".join(str(error).split())
            raise EncoderError(
                f"{folder}: expected a TF-Hub text preprocessing SavedModel with tokenize and get_special_tokens_dict "
                f"({type(error).__name__}: {reason[:200]}); pass the preprocessing that belongs to the encoder"
            ) from error

    @property
    def tokenizer(self) -> Any:
        """The part of the SavedModel that splits texts, with its vocabulary; graphs with this layer depend on it."""
        return getattr(self._preprocess, "tokenize", None) or self._preprocess.tokenizer

    def call(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoder inputs of the texts."""
        return self.pack(self.wordpieces(texts))

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

    def bracket(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Truncate, then add [CLS] at the beginning and [SEP] at the end: ragged [B, at most max_length]."""
        tokens = self.truncate(tokens)
        column = tf.ones([tokens.nrows(), 1], tf.int32)
        return tf.concat([column * self.start_id, tokens, column * self.end_id], axis=1)

    def pack(self, tokens: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        """Wordpieces -> dense encoder inputs [B, S]."""
        tokens = self.bracket(tokens)
        word_ids = tokens.to_tensor(default_value=self.padding_id)
        return {
            "input_word_ids": word_ids,
            "input_mask": tf.sequence_mask(tokens.row_lengths(), tf.shape(word_ids)[1], tf.int32),
            "input_type_ids": tf.zeros_like(word_ids),
        }

    @cached_property
    def ids_and_lengths(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """A graph from strings [B] to the ids of bracket() [tokens], their number per text [B] and token_counts() [B].

        It is traced once, with the options at that time, because tracing the tokenizer takes a second.
        """

        @graph_function(tf.TensorSpec([None], tf.string))
        def tokenize(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            tokens = self.wordpieces(texts)
            kept = self.bracket(tokens)
            return kept.flat_values, kept.row_lengths(), tokens.row_lengths() + _SPECIAL_TOKENS

        return tokenize

    def folds_case(self) -> bool:
        """True if upper and lower case give the same wordpieces."""
        upper, lower = self.wordpieces(tf.constant(["THE FILM", "the film"]))
        return upper.shape == lower.shape and bool(tf.reduce_all(upper == lower))


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


def tokenize_texts(preprocessing: TextPreprocessing, texts: Sequence[str], chunk: int = 1024) -> TokenizedTexts:
    """Tokenize and truncate texts, once for all epochs."""
    chunks = [texts[start : start + chunk] for start in range(0, len(texts), chunk)]
    parts = [preprocessing.ids_and_lengths(tf.constant(part, tf.string)) for part in chunks]
    ids, lengths, whole_lengths = (
        np.concatenate([np.zeros(0, np.int64)] + [part[position].numpy() for part in parts]) for position in range(3)
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenizedTexts(ids.astype(np.int32), offsets, whole_lengths)


def encoder_preprocessing(name_or_handle: str) -> TextPreprocessing:
    """The preprocessing of an encoder, named as for --encoder.

    Raises:
        EncoderError: if the encoder can't be downloaded or loaded.
    """
    handles = handles_of(name_or_handle)
    folders = encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)
    return TextPreprocessing(folders.preprocessing, max_length=512)


def token_counts(texts: Sequence[str], preprocessing: TextPreprocessing) -> np.ndarray:
    """Length in wordpieces of each of n texts before truncation, including [CLS] and [SEP]: int32 [n]."""
    return tokenize_texts(preprocessing, texts).whole_lengths.astype(np.int32)
