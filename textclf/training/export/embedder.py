"""An engine that embeds texts with a pretrained encoder, without any fine-tuning."""

import dataclasses
from typing import Any

import numpy as np

from textclf.encoder_handles import handles_of
from textclf.environment import openvino_core
from textclf.errors import EncoderError, SourceError
from textclf.graph.bert_weights import UnknownEncoderError, bert_weights, with_heads_added
from textclf.graph.engine_graph import GraphForm, build_mean_graph
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.importing.checkpoint import is_checkpoint_folder, read_encoder
from textclf.runtime.engine import Engine, compile_graph
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import preprocessing_in
from textclf.training.encoders.resolve import EncoderFolders
from textclf.training.export.activation_search import find_activation
from textclf.training.export.tokenizer_parity import tokenizer_of_preprocessing
from textclf.training.tf_setup import tf

# Between TensorFlow and the graph in float32; a wrong activation is off by 0.0005 or more.
_TOLERANCE = 2e-4


def tokenizer_of_encoder(name_or_handle: str, max_length: int) -> TextTokenizer:
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
    if is_checkpoint_folder(folders.encoder):
        return Engine(compile_graph(openvino_core(), _family_graph(folders, tokenizer), "f32"), tokenizer)
    encoder = tf.saved_model.load(str(folders.encoder))
    weights = bert_weights({item.name: item.numpy() for item in encoder.variables if item.dtype == tf.float32})
    try:
        weights = dict(with_heads_added(weights))
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
    return Engine(compile_graph(openvino_core(), graph, "f32"), tokenizer)


def _folders(name_or_handle: str) -> EncoderFolders:
    handles = handles_of(name_or_handle)
    return encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)


def _tokenizer(folders: EncoderFolders, max_length: int) -> TextTokenizer:
    return tokenizer_of_preprocessing(preprocessing_in(folders.preprocessing, max_length))


def _family_graph(folders: EncoderFolders, tokenizer: TextTokenizer) -> Any:
    try:
        encoder = read_encoder(folders.encoder)
    except SourceError as error:
        raise EncoderError(str(error)) from error
    form = dataclasses.replace(encoder.form, padding_id=tokenizer.padding_id)
    return build_mean_graph(with_heads_added(encoder.weights), form)


def _mean_output(encoder: Any, ids: list[int]) -> np.ndarray:
    """Mean of the outputs of all tokens of one text, float32 [1, H]."""
    words = tf.constant([ids], tf.int32)
    inputs = {
        "input_word_ids": words,
        "input_mask": tf.ones_like(words),
        "input_type_ids": tf.zeros_like(words),
    }
    return np.asarray(encoder(inputs, training=False)["sequence_output"].numpy().mean(axis=1))
