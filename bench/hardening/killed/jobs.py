"""Jobs that are killed: each runs in a process forked from one that has imported everything.

The program reads orders from stdin: a job with arguments, or the id of a process to wait for. It is run by path, with
the attacked checkout on PYTHONPATH, so it imports nothing of bench. A job appends a JSON line to its file of
acknowledgements after each call that returned.
"""

import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Longest life of a job.
_SECONDS = 300
_ENDLESS = 1_000_000
_WORDS = ["the", "film", "was", "good", "bad", "long", "short", "music", "story", "scene"]


def acknowledge(path: str, **fields: Any) -> None:
    """Append a line in one write, which survives the process."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, f"{json.dumps(fields)}\n".encode())
    finally:
        os.close(descriptor)


def feedback(folder: str, acks: str, seed: int, rounds: int = _ENDLESS) -> None:
    """Store reviews in three threads; each text ends with its own hash."""
    from textclf.data.feedback_store import FeedbackStore

    store = FeedbackStore(Path(folder), 2**40)

    def write(number: int) -> None:
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        for count in range(rounds):
            words = f"{seed} {number} {count} " + " ".join(chance.choices(_WORDS, k=chance.randint(1, 400)))
            text = f"{words} {hashlib.sha256(words.encode()).hexdigest()}"
            label, audit = chance.choice(("neg", "pos")), chance.random() < 0.3
            source = chance.choice((None, "web", "shop é"))
            found = store.save(text, label, ("neg", "pos"), "model version", source, audit)
            acknowledge(acks, id=found, text=text, label=label, source=source, audit=audit)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def prediction_log(url: str, acks: str, features: str, seed: int, rounds: int = _ENDLESS) -> None:
    """Append batches of rows, and prune; all rows of a batch have its label."""
    from textclf.data.prediction_log.log import LoggedPrediction, PredictionLog

    chance = random.Random(seed)  # noqa: S311
    log = PredictionLog(url)
    blob = Path(features).read_bytes()
    for count in range(rounds):
        label, size = f"{seed} {count}", chance.randint(1, 300)
        log.append([LoggedPrediction(time.time(), "version", label, blob) for _ in range(size)])
        acknowledge(acks, label=label, rows=size)
        if count % 7 == 0:
            log.prune(2000)
    log.close()


def promotions(store: str, acks: str, source: str, rounds: int = _ENDLESS) -> None:
    """Save a version, promote it, roll back, promote it by hand, lift the hold."""
    from textclf.store.promotion import Promotions

    moves = Promotions(store)
    for _ in range(rounds):
        current = moves.store.current_id()
        version_id = copy_version(store, source, parent=current)
        acknowledge(acks, saved=version_id)
        moves.move("promote", current, version_id, reasons=["because"])
        acknowledge(acks, action="promote", current=version_id)
        moves.roll_back(to=current)
        acknowledge(acks, action="rollback", current=current)
        moves.promote(version_id)
        acknowledge(acks, action="promote_by_hand", current=version_id)
        moves.lift_hold()
        acknowledge(acks, action="hold_lifted", current=version_id)


def retraining(store: str, acks: str, source: str, folder: str, rounds: int = _ENDLESS) -> None:
    """Run retraining.py, where a copy of `source` is what a training would save."""
    import train_model

    def save_model(
        training: Any, model_dir: str, name: str = "", promote: bool = False, parent: str | None = None
    ) -> Path:
        data = {"fingerprint": training.read_dataset().fingerprints}
        fitted = {"options": training.training_options.to_dict(), "dropout": training.model_options.dropout}
        return Path(model_dir, "versions", copy_version(model_dir, source, parent=parent, data=data, training=fitted))

    train_model.Training.save_model = save_model  # type: ignore[assignment, method-assign]
    for _ in range(rounds):
        _retrain(store, acks, folder)


def training(store: str, acks: str, folder: str, rounds: int = _ENDLESS) -> None:
    """Run retraining.py with TensorFlow; a killed training continues from its checkpoint."""
    for number in range(rounds):
        _retrain(store, acks, folder, "--again", "--checkpoint-steps", "2", "--seed", str(number))


def drift(store: str, acks: str, url: str, rounds: int = _ENDLESS) -> None:
    """Check window after window of a log, an hour each, and save the state again and again in between."""
    import dataclasses as fields

    import monitoring
    from monitoring import CommandContext
    from textclf.drift.state import read_state, update_state

    arguments = ["check", "--model-path", store, "--windows", "2of3", "--log-url", url, "--threads", "1"]
    for _ in range(rounds):
        edge = read_state(store).edge or 0.0
        now = edge + 3600.0 + 60.0 if edge else _first_row(url) + 3600.0 + 60.0
        context = CommandContext(lambda now=now: now, Path(__file__))  # type: ignore[misc]
        status = monitoring.main(arguments, obj=context, standalone_mode=False)
        if status not in (0, 3):
            raise RuntimeError(f"check: expected status 0 or 3, got {status}")
        acknowledge(acks, edge=read_state(store).edge)
        for _ in range(20):
            state = update_state(store, lambda old: fields.replace(old, failed_runs=old.failed_runs + 1))
            acknowledge(acks, failed_runs=state.failed_runs)


def make_model(store: str, checkpoint: str, dataset: str, folder: str) -> None:
    """Train the first version."""
    from train_model import Training

    made = Training(
        dataset_path=dataset, model_name="tiny-bert", name_to_handle=checkpoint, epochs=2, init_lr=5e-3, batch_size=32,
        max_length=32, precision="float32", data_dir=f"{folder}/datasets", runs_dir=f"{folder}/runs",
    )  # fmt: skip
    made.save_model(store, promote=True)


def make_log(store: str, url: str, features: str, texts: str, windows: int) -> None:
    """Log predictions of `windows` hours, and write the features of one."""
    from textclf.data.prediction_log.log import PredictionLog, logged_predictions
    from textclf.drift.reference import REFERENCE_FILE, load_reference
    from textclf.runtime.feature_extraction import text_features
    from textclf.runtime.loading import load_predictor

    predictor = load_predictor(Path(store))
    version = Path(store, "versions", str(predictor.version_id))
    lines = Path(texts).read_text(encoding="utf-8").splitlines()
    found = text_features(
        predictor, [json.loads(line)["text"] for line in lines], load_reference(version / REFERENCE_FILE).projection
    )
    labels = [predictor.class_names[at] for at in found.predicted]
    begin = time.time() - 30 * 24 * 3600.0
    log = PredictionLog(url)
    for window in range(windows):
        times = [begin + 3600.0 * (window + 0.1 + 0.8 * at / len(lines)) for at in range(len(lines))]
        rows = logged_predictions(times, str(predictor.version_id), labels, found)
        log.append(rows)
    log.close()
    Path(features).write_bytes(rows[0].features)


def copy_version(store: str, source: str, **changes: Any) -> str:
    """Save a version of the same files, with other fields in its manifest; return its id. Links spare the disk."""
    from textclf.store.manifest import MANIFEST_FILE
    from textclf.store.model_store import ModelStore, open_model

    with ModelStore(store).new_version() as draft:
        for path in sorted(Path(source).rglob("*")):
            target = draft.path / path.relative_to(source)
            if path.is_dir():
                target.mkdir()
            elif path.name != MANIFEST_FILE:
                os.link(path, target)
        draft.manifest = dataclasses.replace(open_model(source).manifest, **changes)
    return draft.id


def _retrain(store: str, acks: str, folder: str, *more: str) -> None:
    import retraining as stage
    from textclf.store.model_store import ModelStore

    paths = ("--old-dataset-path", f"{folder}/old", "--new-dataset-path", f"{folder}/new.jsonl")
    places = (
        "--combined-dataset-path",
        f"{folder}/combined",
        "--runs-dir",
        f"{folder}/runs",
        "--data-dir",
        f"{folder}/datasets",
    )
    gate = ("--margin", "0.3", "--calibration-margin", "0.5", "--min-holdout", "10")
    status = stage.main(["run", "--model-dir", store, *paths, *places, *gate, *more], standalone_mode=False)
    if status not in (0, 3, 4, 6, 7):
        raise RuntimeError(f"retraining: expected a decision, got status {status}")
    acknowledge(acks, status=status, current=ModelStore(store).current_id())


def _first_row(url: str) -> float:
    import sqlite3

    with sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True) as connection:
        return float(connection.execute("SELECT min(time) FROM textclf_predictions").fetchone()[0])


_JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job
    for job in (feedback, prediction_log, promotions, retraining, training, drift, make_model, make_log)
}


def main() -> None:
    """Import what the jobs need, then fork a process for each order; `tensorflow` as argument imports it too."""
    import datasketch  # noqa: F401

    import monitoring  # noqa: F401
    import retraining as stage  # noqa: F401
    import textclf.data.feedback_store
    import textclf.data.prediction_log.log
    import textclf.drift.state
    import textclf.store.promotion
    import train_model  # noqa: F401
    from textclf.environment import import_openvino

    import_openvino()
    if sys.argv[1:] == ["tensorflow"]:
        import textclf.training.classifier
        import textclf.training.export.version_writer
        import textclf.training.tf_setup  # noqa: F401
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        if order == "wait":
            (pid,) = arguments
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        elif (answer := os.fork()) == 0:
            _work(_JOBS[order], arguments)
        print(answer, flush=True)  # noqa: T201


def _work(job: Callable[..., None], arguments: list[Any]) -> None:
    """Run a job in the forked process, which never returns; its output goes to stderr."""
    import traceback

    status = 1
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        signal.alarm(_SECONDS)
        job(*arguments)
        status = 0
    except BaseException:  # noqa: BLE001 a fork must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
