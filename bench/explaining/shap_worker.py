"""shap's PartitionExplainer, whose function another process computes.

    python shap_worker.py

Each line of the input is a JSON object with `words`, the pieces of a text, `evaluations`, and `classes`. For each batch
of masks the worker writes {"masks": [[0 or 1]]} and reads {"values": [[K numbers]]}. At the end it writes
{"result": [[K numbers per word]]}. The groups of words are those of shap's masker for texts.
"""

import functools
import importlib
import json
import sys
from typing import Any

import numpy as np

shap: Any = importlib.import_module("shap")
partition_tree: Any = importlib.import_module("shap.maskers._text").partition_tree
# Rows of a batch.
_BATCH = 50


class WordMasker(shap.maskers.Masker):  # type: ignore[misc]
    """Masks of words instead of masked texts: the other process takes words away.

    Args:
        words: pieces of the text.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.shape = (1, len(words))

    def clustering(self, *_: Any) -> Any:
        """The tree of shap's masker for texts, scaled as that masker scales it."""
        tree = partition_tree([word.strip() for word in self.words], [])
        tree[:, 2] = tree[:, 3]
        tree[:, 2] /= tree[:, 2].max()
        return tree

    def __call__(self, mask: Any, *_: Any) -> Any:
        """The mask itself."""
        return (np.asarray(self._standardize_mask(mask, np.zeros(len(self.words))), np.int64)[None],)

    def feature_names(self, *_: Any) -> list[list[str]]:
        """The words."""
        return [self.words]


def write(message: dict[str, Any]) -> None:
    """Write a line for the other process."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def asked(words: int, masks: Any) -> Any:
    """The values of masks, [m, K], from the other process."""
    write({"masks": np.asarray(masks).reshape(-1, words).tolist()})
    return np.array(json.loads(sys.stdin.readline())["values"])


def main() -> None:
    """Explain texts until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        words = job["words"]
        function = functools.partial(asked, len(words))
        explainer = shap.explainers.Partition(function, WordMasker(words), output_names=job["classes"])
        found = explainer(np.arange(len(words))[None], max_evals=job["evaluations"], batch_size=_BATCH, silent=True)
        write({"result": np.asarray(found.values[0]).tolist()})


if __name__ == "__main__":
    main()
