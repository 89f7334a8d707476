"""Checks of the files of a killed writer; each function returns the problems, a sentence each."""

import contextlib
import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from textclf.data.datasets import load_dataset
from textclf.data.feedback_index import read_index
from textclf.data.feedback_store import TEXTS, FeedbackStore
from textclf.drift.state import read_state
from textclf.errors import TextClfError
from textclf.retraining.combined_dataset import read_holdout
from textclf.store.decision_log import MOVES, DecisionLog
from textclf.store.model_store import ModelStore
from textclf.store.promotion_hold import PromotionHold

Acks = Sequence[dict[str, Any]]


def read_acks(path: Path) -> list[dict[str, Any]]:
    """Return the acknowledgements of a job; [] without any."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_reviews(folder: Path, acks: Acks) -> list[str]:
    """Each acknowledged review is in its file and in the index; each visible file is whole; the store takes more."""
    entries, _ = read_index(folder)
    problems = []
    for ack in acks:
        path = folder / TEXTS / ack["label"] / f"{ack['id']}.txt"
        entry = entries.get(ack["id"])
        if not path.exists() or path.read_text(encoding="utf-8") != ack["text"]:
            problems.append(f"{path}: an acknowledged review is lost or changed")
        if entry is None:
            problems.append(f"{path}: an acknowledged review is not in the index")
        elif (entry.label, entry.source, entry.audit) != (ack["label"], ack.get("source"), ack.get("audit", False)):
            problems.append(f"{path}: expected its label, source and audit in the index, got {entry}")
    problems += check_review_files(folder)
    with _as_problem(problems):
        FeedbackStore(folder, 2**40).save("after the kill", "pos", ("neg", "pos"), "model")
    return problems


def check_review_files(folder: Path) -> list[str]:
    """Each visible review that ends with its own hash has it; the others are those that the checks stored."""
    problems = []
    for path in (folder / TEXTS).glob("*/[!.]*"):
        words, _, digest = path.read_text(encoding="utf-8").rpartition(" ")
        if path.suffix != ".txt" or (words != "after the" and hashlib.sha256(words.encode()).hexdigest() != digest):
            problems.append(f"{path}: expected a whole review, found a torn one")
    return problems


def check_prediction_log(database: Path, acks: Acks) -> list[str]:
    """The database is sound, has all acknowledged rows, and each batch wholly or not at all; it takes more."""
    if not database.exists():
        return [f"{database}: acknowledged rows are lost"] if acks else []
    problems = []
    with contextlib.closing(sqlite3.connect(database)) as connection:
        ((found,),) = connection.execute("PRAGMA integrity_check").fetchall()
        if found != "ok":
            problems.append(f"{database}: damaged: {found}")
        try:
            counts = dict(
                connection.execute("SELECT label, count(*) FROM textclf_predictions GROUP BY label").fetchall()
            )
        except sqlite3.OperationalError as error:
            # The first writer was killed before it made the tables.
            counts = {}
            if acks:
                problems.append(f"{database}: {error}")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    for ack in acks:
        if counts.get(ack["label"], 0) != ack["rows"]:
            problems.append(
                f"{database}: expected {ack['rows']} acknowledged rows of a batch, found {counts.get(ack['label'])}"
            )
    return problems


def check_store(path: Path, acks: Acks, newest: int = 3) -> list[str]:
    """The store opens, its versions have their hashes, and acknowledged versions and decisions are there."""
    problems: list[str] = []
    store, log = ModelStore(path), DecisionLog(path)
    with _as_problem(problems):
        current = store.open()
        for version_id in {current.id, *store.version_ids()[-newest:]}:
            store.open(version_id).verify()
        entries = log.entries()
        moves = [entry for entry in entries if entry["action"] in MOVES]
        # A move is recorded before it is made.
        if moves and current.id not in (moves[-1]["champion"], moves[-1]["challenger"]):
            problems.append(f"{path}: expected the version of the last decision to be current, found {current.id}")
        if torn := [sentence for sentence in log.verify() if "its writer was killed" not in sentence]:
            problems += torn
        hold = PromotionHold(path).reason
        if hold is not None and not hold.startswith("rolled back from"):
            problems.append(f"{path}: expected the reason of a hold, found {hold!r}")
        problems += _check_decisions(path, store, entries, acks, current.id)
    for name in (".lock", ".retrain.lock"):
        with open(path / name, "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                problems.append(f"{path / name}: still locked after its holder was killed")
    return problems


def _check_decisions(
    path: Path, store: ModelStore, entries: list[dict[str, Any]], acks: Acks, current: str
) -> Iterator[str]:
    known = set(store.version_ids())
    for ack in acks:
        if "saved" in ack and ack["saved"] not in known:
            yield f"{path}: the acknowledged version {ack['saved']} is lost"
    # A kill may come after a decision was recorded and before it was acknowledged.
    left = iter(range(len(entries)))
    at, last = -1, {}
    for ack in (ack for ack in acks if "action" in ack):
        last = ack
        at = next((number for number in left if _is_entry_of(ack, entries[number])), -1)
        if at < 0:
            yield f"{path}: the acknowledged decision {ack} is not in the log, or in another order"
            return
    is_last = at >= 0 and not any(entry["action"] in MOVES for entry in entries[at + 1 :])
    if is_last and current != last["current"]:
        yield f"{path}: expected the acknowledged version {last['current']} to be current, found {current}"


def _is_entry_of(ack: dict[str, Any], entry: dict[str, Any]) -> bool:
    is_move = ack["action"] in MOVES
    return bool(entry["action"] == ack["action"] and (not is_move or entry["challenger"] == ack["current"]))


def check_retraining(store: Path, folder: Path, acks: Acks) -> list[str]:
    """The store is sound, and the combined data set is absent or whole."""
    problems = check_store(store, ())
    promoted = [ack for ack in acks if ack.get("status") == 0]
    with _as_problem(problems):
        entries = DecisionLog(store).entries()
        found = [entry["challenger"] for entry in entries if entry["action"] == "promote"]
        for ack in promoted:
            if ack["current"] not in found:
                problems.append(f"{store}: the acknowledged promotion of {ack['current']} is not in the log")
    combined = folder / "combined"
    if combined.exists():
        with _as_problem(problems):
            load_dataset(combined)
            read_holdout(combined, ("neg", "pos"))
            json.loads((combined / "combined.json").read_text(encoding="utf-8"))
    for progress in (folder / "runs").glob("*/progress.json"):
        with _as_problem(problems):
            json.loads(progress.read_text(encoding="utf-8"))
    return problems


def check_drift(store: Path, acks: Acks) -> list[str]:
    """The state is whole, and contains the acknowledged windows and counts."""
    problems: list[str] = []
    with _as_problem(problems):
        state = read_state(store)
        edges = [ack["edge"] for ack in acks if "edge" in ack]
        failed = [ack["failed_runs"] for ack in acks if "failed_runs" in ack]
        if edges and (state.edge or 0.0) < max(edges):
            problems.append(f"{store}: expected the acknowledged window until {max(edges)}, found {state.edge}")
        if edges and not any(window.until == edges[-1] for window in state.windows):
            problems.append(f"{store}: the acknowledged window until {edges[-1]} is lost")
        if failed and state.failed_runs not in (failed[-1], failed[-1] + 1):
            problems.append(f"{store}: expected {failed[-1]} acknowledged updates, found {state.failed_runs}")
    return problems


def retry(check: Callable[[], list[str]], problems: list[str]) -> None:
    """Add the problems of a check; an exception is one too."""
    with _as_problem(problems):
        problems += check()


@contextlib.contextmanager
def _as_problem(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (TextClfError, OSError, ValueError, KeyError, sqlite3.Error) as error:
        problems.append(f"{type(error).__name__}: {error}")
