"""Run directories: checkpoints, progress and TensorBoard logs of a training, to continue it after a kill.

The directory's name is a hash of everything that decides the outcome, so that the same command finds its state again
and another command never does.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from textclf.errors import TrainingError
from textclf.files import atomic_file, locked
from textclf.npz_files import UNREADABLE, read_array
from textclf.training.tf_setup import tf

_PROGRESS = "progress.json"
_BEST = "best"
_RESULTS = "results"


@dataclass
class Progress:
    """The progress of a training, written with each checkpoint.

    Attributes:
        step: optimiser steps done.
        history: one value per epoch for each key (loss, val_loss, …).
        epoch_loss, epoch_texts: sum of the losses and number of the texts in the unfinished epoch so far.
        seconds, texts: time spent on all training steps, and their texts, with repeats.
        best_value: selection metric of the best epoch so far, None before the first.
        best_loss: log loss of the selection set in that epoch, after fitting a temperature.
        best_epoch: number of the best epoch, from 1.
        is_finished: no epoch is left, or early stopping ended the training.
    """

    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch_loss: float = 0.0
    epoch_texts: int = 0
    seconds: float = 0.0
    texts: int = 0
    best_value: float | None = None
    best_loss: float | None = None
    best_epoch: int = 0
    is_finished: bool = False

    @property
    def epochs_done(self) -> int:
        """Number of epochs that were trained and evaluated."""
        return len(self.history.get("loss", []))


def identity_of(settings: dict[str, Any]) -> str:
    """A short name of a dict of settings: 12 hex digits of the SHA-256 of its JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


class RunDirectory:
    """The files of one training under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holders = 0

    @property
    def tensorboard(self) -> Path:
        """Folder of the TensorBoard logs, with a subfolder for each start, so that no curve is drawn twice."""
        return self.path / "tensorboard"

    @contextlib.contextmanager
    def locked(self, doing: str = "running this very training") -> Iterator[None]:
        """Lock the directory for this object, reentrantly; `doing` describes the lock in the error of another process.

        Raises:
            TrainingError: if another process has locked it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as lock:
            try:
                if not self._holders:
                    lock.enter_context(locked(self.path / "lock", wait=False))
            except BlockingIOError:
                raise TrainingError(
                    f"{self.path}: another process is {doing}; wait for it, or change an option"
                ) from None
            self._holders += 1
            try:
                yield
            finally:
                self._holders -= 1

    def save(self, checkpoint: tf.train.Checkpoint, progress: Progress) -> None:
        """Write the checkpoint, then the progress that names it, then remove the previous one, to survive a kill.

        Raises:
            TrainingError: if it can't be written, for example because the disk is full.
        """
        name = f"step-{progress.step:07d}-{'done' if progress.is_finished else progress.epochs_done}"
        self._write(checkpoint, name)
        with atomic_file(self.path / _PROGRESS) as file:
            json.dump({"checkpoint": name, "progress": dataclasses.asdict(progress)}, file, indent=2)
        for path in (self.path / "checkpoints").iterdir():
            if not path.name.startswith((f"{name}.", f"{_BEST}-{progress.best_epoch}.")):
                _remove(path)

    def restore(self, checkpoint: tf.train.Checkpoint) -> Progress:
        """Load the last checkpoint into the checkpoint's objects; returns a new Progress if there is none.

        Raises:
            TrainingError: if the saved state can't be read.
        """
        name, progress = self._state()
        if name is not None:
            self._read(checkpoint, name)
        return progress

    def progress(self) -> Progress:
        """The progress of the last checkpoint; a new Progress if there is none.

        Raises:
            TrainingError: if the saved state can't be read.
        """
        return self._state()[1]

    def _state(self) -> tuple[str | None, Progress]:
        """The name and the progress of the last checkpoint."""
        try:
            state = json.loads((self.path / _PROGRESS).read_text(encoding="utf-8"))
            return str(state["checkpoint"]), Progress(**state["progress"])
        except FileNotFoundError:
            return None, Progress()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def save_best(self, weights: tf.train.Checkpoint, epoch: int) -> None:
        """Write the weights of the best epoch; earlier ones are kept until the progress names this epoch.

        Raises:
            TrainingError: if they can't be written.
        """
        self._write(weights, f"{_BEST}-{epoch}")

    def restore_best(self, weights: tf.train.Checkpoint, epoch: int) -> None:
        """Load the weights of the best epoch.

        Raises:
            TrainingError: if they can't be read.
        """
        self._read(weights, f"{_BEST}-{epoch}")

    def kept(self, name: str, shape: tuple[int, ...], compute: Callable[[], np.ndarray]) -> np.ndarray:
        """A float32 result of the training, from its file if there is one; otherwise compute it and write the file."""
        path = self.path / _RESULTS / f"{name}.npz"
        try:
            with zipfile.ZipFile(path) as file:
                found = read_array(file, "values", 4 * math.prod(shape) + 1000)
            if found.shape == shape and found.dtype == np.float32:
                return found
        except UNREADABLE:
            pass  # A damaged file is written again.
        values = compute()
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path, "wb") as file:
            np.savez(file, values=values)
        return values

    def forget(self) -> None:
        """Remove the checkpoints after the model was saved as a version; the TensorBoard logs stay."""
        (self.path / _PROGRESS).unlink(missing_ok=True)
        shutil.rmtree(self.path / _RESULTS, ignore_errors=True)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def _write(self, checkpoint: tf.train.Checkpoint, name: str) -> None:
        try:
            checkpoint.write(str(self.path / "checkpoints" / name))
        except tf.errors.OpError as error:
            raise TrainingError(
                f"{self.path}: the checkpoint can't be written ({error.message[:200]}); free some space, then "
                f"give the same command again: it continues from the previous checkpoint"
            ) from error

    def _read(self, checkpoint: tf.train.Checkpoint, name: str) -> None:
        try:
            checkpoint.read(str(self.path / "checkpoints" / name)).expect_partial().assert_existing_objects_matched()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> TrainingError:
        return TrainingError(
            f"{self.path}: the state of an earlier run of this training can't be read ({str(error)[:200]}); "
            f"remove this folder to start afresh"
        )


def _remove(path: Path) -> None:
    """Remove a file, or the temporary folder of a checkpoint that a killed process has left."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
