"""Scenarios of jobs: prepare files, start the work, kill it at a random moment, check, and let it continue."""

import os
import random
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.hardening.killed.file_checks import (
    check_drift,
    check_prediction_log,
    check_retraining,
    check_reviews,
    check_store,
    read_acks,
    retry,
)
from bench.hardening.killed.stem import Stem
from bench.hardening.killed.tiny_data import reviews, write_table

# Rounds after which a scenario begins in a new folder.
_FRESH = 20
# A kill comes within this many times the duration of one round of work.
_LONGEST = 1.3


@dataclass(frozen=True)
class Material:
    """Files that the scenarios start from; `folder` contains them."""

    folder: Path

    @property
    def store(self) -> Path:
        """Model store with the first version."""
        return self.folder / "model"

    @property
    def version(self) -> Path:
        """Folder of that version."""
        (found,) = (self.store / "versions").iterdir()
        return found

    @property
    def log(self) -> Path:
        """Prediction log with an hour of texts per window."""
        return self.folder / "log" / "predictions.sqlite"

    @property
    def features(self) -> Path:
        """Features of one text, as the log stores them."""
        return self.folder / "features.bin"


class Scenario(ABC):
    """A kind of work; `round` kills it once."""

    name = ""
    # Whether the job needs the process that has imported TensorFlow.
    tensorflow = False

    @abstractmethod
    def round(self, chance: random.Random) -> list[str]:
        """Kill the work once; return the problems, a sentence each."""


class JobScenario(Scenario):
    """Work in a forked process.

    Args:
        stem: forks the process.
        folder: folder of the scenario's files, emptied at the start and after some rounds.
    """

    writers = 1

    def __init__(self, stem: Callable[[], Stem], folder: Path, material: Material) -> None:
        self._stem = stem
        self._folder = folder
        self._material = material
        self._rounds = 0
        self._seconds = 0.0

    def round(self, chance: random.Random) -> list[str]:
        """Start the work, kill it, check; sometimes let one round of work run to its end first."""
        problems: list[str] = []
        if self._rounds % _FRESH == 0:
            self._begin(problems)
        self._rounds += 1
        pids = [self._start(chance.randrange(2**32)) for _ in range(self.writers)]
        for pid in pids:
            time.sleep(chance.uniform(0, _LONGEST * self._seconds))
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            if (status := self._stem().wait(pid)) != -signal.SIGKILL:
                problems.append(f"{self.name}: expected work until the kill, but it ended with status {status}")
        retry(self.check, problems)
        return problems

    def _begin(self, problems: list[str]) -> None:
        """Begin in an empty folder, and measure one round of work."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self.prepare()
        stem = self._stem()  # Its start is not part of the work.
        began = time.monotonic()
        if status := stem.wait(self._start(0, 1)):
            problems.append(f"{self.name}: expected undisturbed work to succeed, but it ended with status {status}")
        self._seconds = min(time.monotonic() - began, 30.0)
        retry(self.check, problems)

    def _start(self, seed: int, *rounds: int) -> int:
        return self._stem().fork(self.name, *self.arguments(seed), *rounds)

    @property
    def acks(self) -> Path:
        """File of the acknowledgements."""
        return self._folder / "acks.jsonl"

    def prepare(self) -> None:
        """Fill the empty folder."""

    def copy_store(self) -> None:
        """Copy the model store into the folder."""
        shutil.copytree(self._material.store, self._folder / "model")

    @abstractmethod
    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job, without the number of rounds."""

    @abstractmethod
    def check(self) -> list[str]:
        """Return the problems of the files."""


class Feedback(JobScenario):
    """Two processes store reviews with three threads each; both are killed, one after the other."""

    name = "feedback"
    writers = 2

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return self._folder / "new_data", self.acks, seed

    def check(self) -> list[str]:
        """Return the problems of the files."""
        return check_reviews(self._folder / "new_data", read_acks(self.acks))


class PredictionLogWriter(JobScenario):
    """Two processes write to a prediction log."""

    name = "prediction_log"
    writers = 2

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return f"sqlite:///{self._folder}/log.sqlite", self.acks, self._material.features, seed

    def check(self) -> list[str]:
        """Return the problems of the files."""
        return check_prediction_log(self._folder / "log.sqlite", read_acks(self.acks))


class Promotions(JobScenario):
    """Saving, promotion, rollback, hold."""

    name = "promotions"

    def prepare(self) -> None:
        """Fill the empty folder."""
        self.copy_store()

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return self._folder / "model", self.acks, self._material.version

    def check(self) -> list[str]:
        """Return the problems of the files."""
        return check_store(self._folder / "model", read_acks(self.acks))


class Drift(JobScenario):
    """Windows of drift monitoring."""

    name = "drift"

    def prepare(self) -> None:
        """Fill the empty folder."""
        self.copy_store()

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return self._folder / "model", self.acks, f"sqlite:///{self._material.log}"

    def check(self) -> list[str]:
        """Return the problems of the files."""
        return check_drift(self._folder / "model", read_acks(self.acks))


class Retraining(JobScenario):
    """`retraining.py run` without TensorFlow: a copy of the version is the challenger."""

    name = "retraining"

    def prepare(self) -> None:
        """Fill the empty folder."""
        self.copy_store()
        write_table(self._folder / "old" / "train.jsonl", reviews(80, 1))
        write_table(self._folder / "old" / "test.jsonl", reviews(60, 2))
        write_table(self._folder / "new.jsonl", reviews(120, 3, new=True))

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return self._folder / "model", self.acks, self._material.version, self._folder

    def check(self) -> list[str]:
        """Return the problems of the files."""
        return check_retraining(self._folder / "model", self._folder, read_acks(self.acks))


class RealTraining(Retraining):
    """`retraining.py run` with TensorFlow."""

    name = "training"
    tensorflow = True

    def arguments(self, seed: int) -> tuple[object, ...]:
        """Return the arguments of the job."""
        return self._folder / "model", self.acks, self._folder
