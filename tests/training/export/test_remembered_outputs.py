"""A batch is computed once; the same texts in another batch are computed again."""

import numpy as np

from textclf.runtime.backend import ModelOutputs, Timings
from textclf.training.export import remembered_outputs
from textclf.training.export.remembered_outputs import RememberedOutputs


class _Sums:
    """The sum and the number of the ids of a text as its logits."""

    def __init__(self):
        self.batches = []

    def run(self, inputs, timings):
        self.batches.append(inputs)
        return ModelOutputs(np.array([[sum(ids), len(ids)] for ids in inputs], np.float32))


def test_a_batch_is_computed_once():
    backend = _Sums()
    once = RememberedOutputs(backend)
    # The first and the last have the same ids, cut otherwise.
    batches = [[[1, 2], [3]], [[1, 2]], [[1], [2, 3]]]
    for _ in range(2):
        found = [once.run(batch, Timings()).logits.tolist() for batch in batches]
        assert found == [[[3, 2], [3, 1]], [[3, 2]], [[1, 1], [5, 2]]]
    assert backend.batches == batches


def test_the_first_texts_are_remembered(monkeypatch):
    monkeypatch.setattr(remembered_outputs, "_MAX_TEXTS", 2)
    backend = _Sums()
    once = RememberedOutputs(backend)
    for batch in ([[1], [2]], [[3]], [[1], [2]], [[3]]):
        once.run(batch, Timings())
    assert backend.batches == [[[1], [2]], [[3]], [[3]]]
