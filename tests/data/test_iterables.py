"""Texts and labels out of datasets and other iterables."""

import numpy as np
import pytest

from textclf.data.iterables import texts_and_labels
from textclf.errors import InputError


class Tensor:
    """What a tf.data dataset yields, as far as it matters."""

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return self.value


def test_batches_of_tensors_with_labels():
    batches = [
        (Tensor(np.array([b"good", "schön".encode()], object)), Tensor(np.array([1, 0], np.int32))),
        (Tensor(np.array([b"bad"], object)), Tensor(np.array([0], np.int64))),
    ]
    assert texts_and_labels(batches) == (["good", "schön", "bad"], [1, 0, 0])


def test_batches_of_tensors_without_labels_and_single_tensors():
    assert texts_and_labels([Tensor(np.array([b"a", b"b"], object)), Tensor(b"c")]) == (["a", "b", "c"], [None] * 3)


def test_pairs_of_python_values():
    assert texts_and_labels([("a", "pos"), ("b", 1), (b"c", None), ("d", np.int64(0))]) == (
        ["a", "b", "c", "d"],
        ["pos", 1, None, 0],
    )


def test_texts_alone_and_in_lists():
    assert texts_and_labels(text for text in ["one", "two"]) == (["one", "two"], [None, None])
    assert texts_and_labels([["one", "two"], ["three"]]) == (["one", "two", "three"], [None] * 3)
    assert texts_and_labels([(["one", "two"], ["neg", "pos"])]) == (["one", "two"], ["neg", "pos"])
    assert texts_and_labels([]) == ([], [])


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ("a single text", "got str"),
        (b"a single text", "got bytes"),
        ({"text": "a"}, "got dict"),
        (5, "got int"),
        (None, "got NoneType"),
        ([1, 2], "got int in element 0"),
        (["a", ("b", 1.5)], "element 1: expected class names or class ids"),
        ([("a", True)], "class ids"),
        ([(["a", "b"], [1])], "element 0: expected a label for each text, got 1 for 2"),
        ([("a", [0, 1])], "a label for each text"),
        ([b"\xff"], "element 0: not UTF-8"),
        ([{"text": "a"}], "got dict"),
    ],
)
def test_what_is_no_dataset_is_refused(dataset, reason):
    with pytest.raises(InputError, match=reason):
        texts_and_labels(dataset)
