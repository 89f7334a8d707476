"""Texts of which each is on its own: what is predicted, what is refused, and how often texts are tried."""

import math

import pytest

from textclf.errors import InputError, RuleError
from textclf.runtime.apart import CHUNK_CHARS, CHUNK_TEXTS, chunks, predict_apart


class Predict:
    """Counts the texts it gets; texts that start with `bad` fail."""

    def __init__(self, fail):
        self.fail = fail
        self.tried = 0

    def __call__(self, texts):
        self.tried += len(texts)
        for position, text in enumerate(texts):
            if text.startswith("bad"):
                raise self.fail(text, position)
        return [text.upper() for text in texts]


def with_position(text, position):
    return RuleError(text, position)


def without_position(text, _position):
    return InputError(text)


@pytest.mark.parametrize("fail", [with_position, without_position])
@pytest.mark.parametrize("bad", [set(), {0}, {99}, {40}, {40, 41}, {0, 7, 99}, set(range(100))])
def test_each_text_has_its_prediction_or_its_error(fail, bad):
    texts = [f"{'bad' if index in bad else 'ok'}{index}" for index in range(100)]
    predict = Predict(fail)
    found = list(predict_apart(texts, predict))
    assert [str(item) for item in found] == [text if text.startswith("bad") else text.upper() for text in texts]
    assert [isinstance(item, Exception) for item in found] == [index in bad for index in range(100)]
    assert predict.tried <= len(texts) * (2 * math.log2(len(texts)) + 1)
    if fail is with_position and len(bad) == 1:
        assert predict.tried < 2 * len(texts)


def test_no_texts():
    assert list(predict_apart([], Predict(with_position))) == []


def test_chunks_have_few_texts_and_end_with_their_characters():
    assert [len(chunk) for chunk in chunks(["x"] * (2 * CHUNK_TEXTS + 3), str)] == [CHUNK_TEXTS, CHUNK_TEXTS, 3]
    half = "x" * (CHUNK_CHARS // 2)
    assert [len(chunk) for chunk in chunks([half, half, "y"], str)] == [2, 1]
