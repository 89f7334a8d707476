"""The head of masked-language training: whose variables it has, and for which encoders it is made."""

from types import SimpleNamespace

import pytest

from textclf.training.masked_language import _Head
from textclf.training.tf_setup import tf


@pytest.fixture
def model():
    """What the head needs of an encoder: word embeddings, [7, 3]."""
    return SimpleNamespace(word_embeddings=tf.Variable(tf.random.normal([7, 3], seed=1)), product_dtype=tf.float32)


def test_there_is_a_logit_for_each_row_of_the_embeddings(model):
    assert _Head(model)(tf.ones([2, 3]), model.word_embeddings).shape == (2, 7)


def test_the_embeddings_are_the_encoders_and_take_each_step_once(model):
    head = _Head(model)
    head(tf.ones([2, 3]), model.word_embeddings)
    assert len(head.trainable_variables) == 5
    assert not any(item is model.word_embeddings for item in head.trainable_variables)
