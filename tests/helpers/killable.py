"""Work on a model store in processes that tests kill, and that start in milliseconds.

A process without TensorFlow imports the modules, and forks a worker for each job. It runs no engine, because a fork
would lose the threads.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Maximum life of a worker.
_SECONDS = 120


class Stem:
    """Process that forks workers; it ends with the block, together with its workers."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> "Stem":
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def fork(self, work: str, *arguments: object) -> int:
        """Start a function below in a new process; return its id."""
        return self._ask(work, *map(str, arguments))

    def status(self, pid: int) -> int:
        """Wait for a worker; return its exit status, or minus the signal that killed it."""
        return self._ask("status", pid)

    def _ask(self, *order: object) -> int:
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def save_promote_and_roll_back(store: str, source: str, rounds: str = "1000000") -> None:
    """Again and again: a version, its promotion, a rollback, the version promoted by hand, the hold lifted.

    `source` is the folder of a version to copy.
    """
    from textclf.store.promotion import Promotions

    promotions = Promotions(store)
    for _ in range(int(rounds)):
        current = promotions.store.current_id()
        version_id = copy_version(store, source, parent=current)
        promotions.move("promote", current, version_id, reasons=["because"])
        promotions.roll_back(to=current)
        promotions.promote(version_id)
        promotions.lift_hold()


def retrain(store: str, source: str, old: str, new: str, work: str, rounds: str = "1000000") -> None:
    """Again and again `retraining.py run`, where a copy of `source` is what a training would save."""
    import retraining
    import train_model
    from textclf.retraining.champion_data import text_keys_of
    from textclf.store.model_store import open_model

    def save_model(training, model_dir, name="", promote=False, parent=None):
        data = {"fingerprint": training.read_dataset(text_keys_of(open_model(source))).fingerprints}
        fitted = {"options": training.training_options.to_dict(), "dropout": training.model_options.dropout}
        return Path(model_dir, "versions", copy_version(model_dir, source, parent=parent, data=data, training=fitted))

    train_model.Training.save_model = save_model
    paths = ("--old-dataset-path", old, "--new-dataset-path", new, "--combined-dataset-path", f"{work}/combined")
    gate = ("--margin", "0.3", "--calibration-margin", "0.5", "--min-holdout", "10")
    for _ in range(int(rounds)):
        status = retraining.main(["run", "--model-dir", store, *paths, *gate], standalone_mode=False)
        assert status == 0, status


def copy_version(store: Path | str, source: Path | str, **changes: object) -> str:
    """Save a version of the same files, with other fields in its manifest: its id. Links spare the disk."""
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


def main() -> None:
    # Imported once, before the workers are forked.
    import datasketch  # noqa: F401

    import retraining  # noqa: F401
    import train_model  # noqa: F401
    from textclf.environment import import_openvino

    import_openvino()
    work = {job.__name__: job for job in (save_promote_and_roll_back, retrain)}
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        answer = os.waitstatus_to_exitcode(os.waitpid(*arguments, 0)[1]) if order == "status" else os.fork()
        if answer == 0 and order != "status":
            _work(work[order], arguments)
        print(answer, flush=True)


def _work(job, arguments) -> None:
    """In the worker, which never returns; what it says goes to stderr, because stdout is the stem's."""
    import signal
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
