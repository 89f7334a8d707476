"""An engine that embeds texts with a pretrained encoder, without any fine-tuning."""

from typing import Any

import numpy as np

from textclf.encoder_handles import handles_of
from textclf.environment import import_openvino
from textclf.errors import EncoderError
from textclf.graph.bert_weights import UnknownEncoderError, bert_weights
from textclf.graph.engine_graph import GraphForm, build_mean_graph
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.runtime.engine import Engine, compile_graph
from textclf.tokenization.tokenizer import Tokenizer
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.encoders.resolve import EncoderFolders
from textclf.training.export.activation_search import find_activation
from textclf.training.export.tokenizer_parity import tokenizer_of_preprocessing
from textclf.training.tf_setup import tf

# Between TensorFlow and the graph in float32; a wrong activation is off by 0.0005 or more.
_TOLERANCE = 2e-4


def tokenizer_of_encoder(name_or_handle: str, max_length: int) -> Tokenizer:
    """The tokenizer of a pretrained encoder; for the arguments and errors see load_embedder."""
    return _tokenizer(_folders(name_or_handle), max_length)


def load_embedder(name_or_handle: str, max_length: int) -> Engine:
    """An engine whose logits are embeddings: the mean over the tokens of a text, float32 [H].

    Args:
        name_or_handle: the encoder, as for --encoder.
        max_length: wordpieces of a text that are read, with [CLS] and [SEP].

    Raises:
        EncoderError: if the encoder can't be had or loaded, or is not a BERT encoder.
    """
    folders = _folders(name_or_handle)
    tokenizer = _tokenizer(folders, max_length)
    encoder = tf.saved_model.load(str(folders.encoder))
    weights = bert_weights({item.name: item.numpy() for item in encoder.variables if item.dtype == tf.float32})
    try:
        width = weights["word_embeddings/embeddings"].shape[1]
        # The sizes of a classifier include its classes; there are none here.
        weights |= {"classifier/kernel": np.zeros((width, 1), np.float32), "classifier/bias": np.zeros(1, np.float32)}
        probe = [text.ids for text in tokenizer(GOLDEN_TEXTS[:2])]
        expected = np.concatenate([_mean_output(encoder, ids) for ids in probe])
        _, graph = find_activation(
            lambda activation: build_mean_graph(weights, GraphForm(activation, tokenizer.padding_id)),
            [[ids] for ids in probe],
            expected,
            _TOLERANCE,
        )
    except (UnknownEncoderError, KeyError) as error:
        raise EncoderError(
            f"{name_or_handle}: expected a BERT encoder in its original form ({error}); choose another with --encoder, "
            f"or leave the embeddings out with --no-embeddings"
        ) from error
    return Engine(compile_graph(import_openvino().Core(), graph, "f32"), tokenizer)


def _folders(name_or_handle: str) -> EncoderFolders:
    handles = handles_of(name_or_handle)
    return encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)


def _tokenizer(folders: EncoderFolders, max_length: int) -> Tokenizer:
    return tokenizer_of_preprocessing(TextPreprocessing(folders.preprocessing, max_length))


def _mean_output(encoder: Any, ids: list[int]) -> np.ndarray:
    """Mean of the outputs of all tokens of one text, float32 [1, H]."""
    words = tf.constant([ids], tf.int32)
    inputs = {
        "input_word_ids": words,
        "input_mask": tf.ones_like(words),
        "input_type_ids": tf.zeros_like(words),
    }
    return np.asarray(encoder(inputs, training=False)["sequence_output"].numpy().mean(axis=1))
