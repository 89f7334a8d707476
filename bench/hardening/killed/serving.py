"""A server that is killed in parts, under load, and what its clients and its files must show."""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.hardening.killed.file_checks import check_review_files, retry
from bench.hardening.killed.scenarios import Material, Scenario
from bench.hardening.target import JSON_HEADERS, NO_RESPONSE, Target, running_target
from bench.serving.servers import WORKERS, process_tree
from textclf.data.feedback_index import read_index
from textclf.data.feedback_store import TEXTS

# Parts of a server, and whether the server survives the kill.
PARTS = {"worker": True, "all workers": True, "arbiter": False, "nginx": False, "supervisor": False}
_PREDICTORS, _REVIEWERS = 3, 2
_LATE_SECONDS = 10.0
_RECOVERY_SECONDS = 30.0
_ENDS_SECONDS = 35.0
_MAX_DELAY = 0.8
_FRESH = 40
# Errors that tell the client to send the request again.
_LOST = {"worker_lost", "not_ready", "timed_out", "too_many_requests"}
_LOADED = re.compile(r"\[([0-9]+)\] INFO \S*model_holder: serving ")


class Load:
    """Clients that predict and store reviews until the end of the block."""

    def __init__(self, target: Target, number: int) -> None:
        self._target = target
        self._number = number
        self._stop = threading.Event()
        self._threads = [
            *(threading.Thread(target=self._predict, daemon=True) for _ in range(_PREDICTORS)),
            *(threading.Thread(target=self._review, args=(at,), daemon=True) for at in range(_REVIEWERS)),
        ]
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self.acks: list[dict[str, Any]] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        body = json.dumps({"text": "the film was good and the story is great"}).encode()
        while not self._stop.is_set():
            self._send("/predict", body)

    def _review(self, reviewer: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            words = f"{self._number} {reviewer} {count} the film was good"
            text = f"{words} {hashlib.sha256(words.encode()).hexdigest()}"
            label = ("neg", "pos")[count % 2]
            status, content = self._send("/feedback", json.dumps({"text": text, "label": label}).encode())
            if status == 201:
                self.acks.append({"id": json.loads(content)["id"], "text": text, "label": label})

    def _send(self, path: str, body: bytes) -> tuple[int, bytes]:
        began = time.monotonic()
        status, content = self._target.request("POST", path, body, JSON_HEADERS, 2 * _LATE_SECONDS)
        self.slowest = max(self.slowest, time.monotonic() - began)
        outcome = str(status)
        if status >= 300:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                outcome = json.loads(content)["error"]["code"]
        self.outcomes[outcome] += 1
        if status == NO_RESPONSE or status >= 500:
            time.sleep(0.01)
        return status, content


class Serving(Scenario):
    """A server of the tiny model on the same folders, restarted whenever a kill ended it."""

    name = "serving"

    def __init__(self, checkout: Path, python: str, folder: Path, material: Material) -> None:
        self._checkout = checkout
        self._python = python
        self._folder = folder
        self._material = material
        self._rounds = 0
        self._server: contextlib.AbstractContextManager[Target] | None = None
        self._target: Target | None = None
        self._acks: list[dict[str, Any]] = []
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0

    def __enter__(self) -> "Serving":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def round(self, chance: random.Random) -> list[str]:
        """Kill a part of the server under load."""
        part = chance.choices(list(PARTS), (12, 4, 2, 2, 2))[0]
        if self._rounds % _FRESH == 0:
            self._stop()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._acks = []
        self._rounds += 1
        target = self._running()
        rows_before = _rows(self._log) - _reported_rows(target)
        tree = process_tree(target.pid)
        problems: list[str] = []
        with Load(target, self._rounds) as load:
            time.sleep(chance.uniform(0.05, _MAX_DELAY))
            reported = _reported_rows(target)
            for pid in _victims(target, part, chance):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if PARTS[part]:
                problems += self._recovers(target, part)
            else:
                problems += self._ends(tree, part)
        self._acks += load.acks
        self.outcomes += load.outcomes
        self.slowest = max(self.slowest, load.slowest)
        allowed = {"200", "201", *_LOST, *(() if PARTS[part] else (str(NO_RESPONSE),))}
        if wrong := {name: count for name, count in load.outcomes.items() if name not in allowed}:
            problems.append(f"{part}: clients got {wrong}")
        if load.slowest > _LATE_SECONDS:
            problems.append(f"{part}: a response took {load.slowest:.1f} s")
        retry(self._check_reviews, problems)
        if _rows(self._log) < rows_before + reported:
            problems.append(f"{part}: {reported} rows were reported as logged, found {_rows(self._log) - rows_before}")
        if not PARTS[part]:
            self._stop()
        return [f"{part}: {problem}" if not problem.startswith(part) else problem for problem in problems]

    @property
    def _log(self) -> Path:
        return self._folder / "predictions.sqlite"

    def _running(self) -> Target:
        if self._target is None:
            environment = {
                "NEW_DATA_DIR": str(self._folder / "new_data"),
                "PREDICTION_LOG_URL": f"sqlite:///{self._log}",
                "INFERENCE_THREADS": "1",
            }
            self._server = running_target(self._checkout, environment, python=self._python, model=self._material.store)
            self._target = self._server.__enter__()
            if problems := self._recovers(self._target, "start"):
                raise BenchError(problems[0])
        return self._target

    def _stop(self) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
        self._server = self._target = None

    def _recovers(self, target: Target, part: str) -> list[str]:
        """Wait until all workers have loaded the model, and the server is ready."""
        end = time.monotonic() + _RECOVERY_SECONDS
        while time.monotonic() < end:
            loaded = {int(pid) for pid in _LOADED.findall(target.log.read_text(encoding="utf-8", errors="replace"))}
            with contextlib.suppress(StopIteration, FileNotFoundError):
                workers = target.workers()
                if len(workers) == WORKERS and loaded.issuperset(workers) and target.request("GET", "/ping")[0] == 200:
                    return []
            time.sleep(0.02)
        return [f"{part}: the server is not ready after {_RECOVERY_SECONDS:g} s"]

    def _ends(self, tree: list[int], part: str) -> list[str]:
        """Wait until all processes of a server have ended."""
        end = time.monotonic() + _ENDS_SECONDS
        while left := [pid for pid in tree if _is_alive(pid)]:
            if time.monotonic() > end:
                return [f"{part}: the processes {left} are left after {_ENDS_SECONDS:g} s"]
            time.sleep(0.02)
        return []

    def _check_reviews(self) -> list[str]:
        folder = self._folder / "new_data"
        entries, _ = read_index(folder)
        problems = check_review_files(folder)
        for ack in self._acks:
            path = folder / TEXTS / ack["label"] / f"{ack['id']}.txt"
            if not path.exists() or path.read_text(encoding="utf-8") != ack["text"]:
                problems.append(f"{path}: an acknowledged review is lost or changed")
            if ack["id"] not in entries or entries[ack["id"]].label != ack["label"]:
                problems.append(f"{path}: an acknowledged review is not in the index")
        return problems


def _victims(target: Target, part: str, chance: random.Random) -> Iterator[int]:
    workers = sorted(target.workers())
    if part == "worker":
        yield chance.choice(workers)
    elif part == "all workers":
        yield from workers
    elif part == "supervisor":
        yield target.pid
    else:
        name = {"arbiter": "gunicorn", "nginx": "nginx"}[part]
        yield next(pid for pid in process_tree(target.pid)[1:] if name in _command(pid))


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _rows(database: Path) -> int:
    """Return the rows of the prediction log; 0 before the first."""
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute("SELECT count(*) FROM textclf_predictions").fetchone()[0])
    return 0


def _reported_rows(target: Target) -> int:
    """Return the rows that the server counts as written; 0 if it does not answer."""
    status, body = target.request("GET", "/metrics")
    found = re.search(rb"^textclf_prediction_log_rows_total ([0-9.e+]+)$", body, re.MULTILINE)
    return int(float(found[1])) if status == 200 and found else 0
