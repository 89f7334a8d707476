"""Backend of a predictor that counts words; each word is a wordpiece."""

from collections.abc import Sequence

import numpy as np

from textclf.runtime.backend import EncodedBatch, ModelOutputs, Timings, estimated_lengths


class WordBackend:
    """Backend that records its batches; logit k counts the k-th class name, the embedding counts words and letters.

    Args:
        class_names: words to count.
        counts: whether the number of wordpieces is known.
        max_length: maximum wordpieces that a text counts for; None: all.
        embeddings: whether to return embeddings.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        counts: bool = True,
        max_length: int | None = None,
        embeddings: bool = False,
    ) -> None:
        self.class_names = class_names
        self.counts = counts
        self.max_length = max_length
        self.embeddings = embeddings
        self.batches: list[list[str]] = []
        self.warmed: list[int] = []
        self.tokenizer = None

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        if not self.counts:
            return EncodedBatch(texts, estimated_lengths(texts), None)
        counts = np.array([len(text.split()) + 2 for text in texts], np.int64)
        return EncodedBatch(texts, np.minimum(counts, self.max_length or counts.max(initial=0)), counts)

    def run(self, inputs: Sequence[str], timings: Timings) -> ModelOutputs:
        self.batches.append(list(inputs))
        timings.queue += 2
        timings.infer += 3
        logits = [[text.split().count(name) for name in self.class_names] for text in inputs]
        embeddings = [[len(text.split()), len(text)] for text in inputs]
        return ModelOutputs(np.array(logits, np.float32), np.array(embeddings, np.float32) if self.embeddings else None)

    def warm_up(self, tokens_per_batch: int) -> None:
        self.warmed.append(tokens_per_batch)
