"""Training with this project in its own process, by train_model.Training.

    python -m bench.training.worker JOB RESULT

JOB is a JSON file: `data`, folder of a data set; `validation`, file with a JSON list of texts; `options`, options of
Training; `runs`, folder for checkpoints; `epochs`, after which the training ends, even if the options plan more;
`predict`, whether to predict the validation texts after a complete training. RESULT is the JSON file to write:
`epochs`, each with its `texts` and `seconds`; `reading_seconds`, the time of masked-LM pretraining; `precision`; and
the `logits` of the validation texts.
"""

import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError

# Training.fit_model() writes it after each epoch.
_PROGRESS = "*/progress.json"
_POLL_SECONDS = 0.01
# No checkpoints during an epoch, like the Hugging Face Trainer here.
_NO_CHECKPOINT = 10**9
# Predictions are not timed.
_PREDICTION_BATCH = 32


def main() -> None:
    """Train, and write the results."""
    from textclf.training.precision import chosen_precision
    from train_model import Training

    job, result = json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    runs = Path(job["runs"])
    training = Training(
        dataset_path=job["data"], runs_dir=str(runs), checkpoint_steps=_NO_CHECKPOINT, read_test=False, **job["options"]
    )
    training.compile()
    precision = chosen_precision(training.training_options.precision)
    watch = ProgressWatch(runs)

    def found_so_far() -> dict[str, Any]:
        return {
            "epochs": epochs_of(watch.seen, job["epochs"]),
            # Pretraining is a separate run, which has no epochs of fitting.
            "reading_seconds": watch.seen.get(0, {}).get("seconds", 0.0),
            "precision": precision,
        }

    def end() -> None:
        result.write_text(json.dumps(found_so_far()), encoding="utf-8")
        os._exit(0)  # The rest of the step is not needed.

    if training.training_options.epochs > job["epochs"]:
        watch.once(job["epochs"], end)
    watch.during(training.fit_model)
    found = found_so_far()
    if job["predict"]:
        texts = json.loads(Path(job["validation"]).read_bytes())
        found["logits"] = logits_of(training.classifier_model, texts)
    result.write_text(json.dumps(found), encoding="utf-8")


class ProgressWatch:
    """Reader of the progress file of a training, in a thread.

    Args:
        runs: parent of the run's folder.

    Attributes:
        seen: progress by the number of finished epochs.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.seen: dict[int, dict[str, Any]] = {}
        self._awaited, self._then = 0, _nothing

    def once(self, epochs: int, then: Callable[[], None]) -> None:
        """Call `then` in the thread after `epochs` epochs."""
        self._awaited, self._then = epochs, then

    def during(self, work: Callable[[], Any]) -> Any:
        """Return the result of `work()`, and read the progress until it ends."""
        is_done = threading.Event()

        def look_again() -> None:
            while not is_done.wait(_POLL_SECONDS):
                self.look()
                if self._awaited in self.seen:
                    self._then()

        thread = threading.Thread(target=look_again, daemon=True)
        thread.start()
        try:
            return work()
        finally:
            is_done.set()
            thread.join()
            self.look()

    def look(self) -> None:
        """Read the progress once."""
        for path in self.runs.glob(_PROGRESS):
            progress = json.loads(path.read_bytes())["progress"]
            self.seen[len(progress["history"].get("loss", ()))] = progress


def _nothing() -> None:
    """Do nothing: the default if once() was not called."""


def epochs_of(seen: dict[int, dict[str, Any]], count: int) -> list[dict[str, float]]:
    """Return texts and seconds of each epoch, from the sums after each.

    Raises:
        BenchError: if an epoch was not seen.
    """
    missing = set(range(1, count + 1)) - set(seen)
    if missing:
        raise BenchError(
            f"expected the progress after each of {count} epochs, saw none after {sorted(missing)}; take more texts"
        )
    sums = [{"texts": 0, "seconds": 0.0}, *(seen[number] for number in range(1, count + 1))]
    return [
        {name: after[name] - before[name] for name in ("texts", "seconds")}
        for before, after in itertools.pairwise(sums)
    ]


def logits_of(classifier: Any, texts: Sequence[str]) -> list[list[float]]:
    """Compute the logits of each text, in float32."""
    import numpy as np

    from textclf.training.tf_setup import tf

    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found: list[list[float]] = [[]] * len(texts)
    for start in range(0, len(order), _PREDICTION_BATCH):
        batch = order[start : start + _PREDICTION_BATCH]
        logits = classifier(tf.constant([texts[at] for at in batch]), training=False)
        for at, row in zip(batch, np.asarray(logits).tolist(), strict=True):
            found[at] = row
    return found


if __name__ == "__main__":
    main()
