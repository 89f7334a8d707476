"""The state of a training on disk: round trip, what is kept, damage, two processes."""

import fcntl
import json
import subprocess
import sys

import numpy as np
import pytest

from textclf.errors import TrainingError
from textclf.training.fitting.checkpoints import Progress, RunDirectory, identity_of
from textclf.training.tf_setup import tf

HOLD_LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def weights(*values):
    return tf.train.Checkpoint(w=tf.Variable(values, dtype=tf.float32), n=tf.Variable(len(values)))


def checkpoints(run):
    """Names of the checkpoints on disk, without TensorFlow's endings."""
    return {path.name.split(".")[0] for path in (run.path / "checkpoints").iterdir()}


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def saved(run):
    """A run with the checkpoint of step 5."""
    run.save(weights(1, 2, 3), Progress(step=5))
    return run


def test_the_constructor_touches_nothing(run):
    assert not run.path.exists()


def test_a_new_run_begins_at_zero(run):
    assert run.restore(weights(0)) == Progress()


def test_what_is_saved_comes_back(run):
    progress = Progress(
        step=12,
        history={"loss": [0.5, 0.25], "val_loss": [0.1 + 0.2, 1e-17]},
        epoch_loss=1 / 3,
        epoch_texts=7,
        seconds=1.5,
        texts=99,
        best_value=0.75,
        best_epoch=2,
    )
    run.save(weights(1, 2, 3), progress)
    restored = weights(0, 0, 0)
    found = RunDirectory(run.path).restore(restored)
    assert found == progress
    assert found.epochs_done == 2
    np.testing.assert_array_equal(restored.w.numpy(), [1, 2, 3])


def test_only_the_last_checkpoint_and_the_best_remain(run):
    progress = Progress(step=3)
    run.save(weights(1), progress)
    progress.step = 6
    run.save(weights(2), progress)
    assert checkpoints(run) == {"step-0000006-0"}
    run.save_best(weights(3), 1)
    progress.history, progress.best_epoch = {"loss": [0.5]}, 1
    run.save(weights(4), progress)
    assert checkpoints(run) == {"step-0000006-1", "best-1"}
    # Until the progress names epoch 2, a kill would still need the weights of epoch 1.
    run.save_best(weights(5), 2)
    assert checkpoints(run) == {"step-0000006-1", "best-1", "best-2"}
    progress.history, progress.best_epoch, progress.is_finished = {"loss": [0.5, 0.4]}, 2, True
    run.save(weights(6), progress)
    assert checkpoints(run) == {"step-0000006-done", "best-2"}
    last, best = weights(0), weights(0)
    run.restore(last)
    run.restore_best(best, 2)
    assert (last.w.numpy(), best.w.numpy()) == (6, 5)


def test_a_checkpoint_cut_short_by_a_kill_leaves_the_one_before(saved):
    # Killed after some bytes of the next checkpoint, before progress.json names it.
    parts = saved.path / "checkpoints" / "step-0000010-0_temp"  # Where TensorFlow writes before it merges.
    parts.mkdir()
    (parts / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (saved.path / ".progress.json.abc.tmp").write_text('{"checkpoint": "step-00')
    restored = weights(0, 0, 0)
    assert saved.restore(restored).step == 5
    saved.save(restored, Progress(step=15))
    assert checkpoints(saved) == {"step-0000015-0"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"checkpoint": "step-0000005-0", "prog',
        "[]",
        "7",
        "{}",
        '{"checkpoint": "step-0000005-0"}',
        '{"checkpoint": "step-0000005-0", "progress": {"steps": 5}}',
        '{"checkpoint": "step-0000005-0", "progress": null}',
        '{"checkpoint": "step-0000099-0", "progress": {"step": 99}}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_progress_is_one_clear_error(saved, content):
    (saved.path / "progress.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrainingError, match=r"can't be read .*; remove this folder to start afresh") as caught:
        saved.restore(weights(0, 0, 0))
    assert str(saved.path) in str(caught.value)


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte wrong": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "garbage": lambda content: b"\x17" * len(content),
}


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["missing", *DAMAGES])
def test_a_damaged_checkpoint_is_one_clear_error(saved, ending, damage):
    path = saved.path / "checkpoints" / f"step-0000005-0.{ending}"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(TrainingError, match="remove this folder"):
        saved.restore(weights(0, 0, 0))


def test_the_checkpoint_of_another_model_is_one_clear_error(saved):
    with pytest.raises(TrainingError, match="remove this folder"):
        saved.restore(weights(0, 0))
    with pytest.raises(TrainingError, match="remove this folder"):
        saved.restore(tf.train.Checkpoint(w=tf.Variable([0.0, 0.0, 0.0]), other=tf.Variable(1.0)))


def test_lost_best_weights_are_one_clear_error(saved):
    with pytest.raises(TrainingError, match="remove this folder"):
        saved.restore_best(weights(0), 1)


def test_two_processes_do_not_train_in_one_folder(run):
    run.path.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(run.path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="another process is running this very training"), run.locked():
            pass
        holder.kill()
    # A killed process holds nothing.
    with run.locked(), open(run.path / "lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with run.locked():
        pass


def test_the_lock_is_given_back_after_an_exception(run):
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass


def test_a_result_is_computed_once_and_again_if_its_file_is_damaged(run):
    calls = []

    def compute():
        calls.append(1)
        return np.full((2, 3), len(calls), np.float32)

    with run.locked():
        for expected in (1, 1):
            assert (run.kept("fold-0", (2, 3), compute) == expected).all()
        (file,) = (run.path / "results").iterdir()
        file.write_bytes(file.read_bytes()[:-40])
        assert (run.kept("fold-0", (2, 3), compute) == 2).all()
        run.forget()
        assert (run.kept("fold-0", (2, 3), compute) == 3).all()


def test_forgetting_removes_the_state_and_keeps_the_logs(saved):
    saved.save_best(weights(1), 1)
    saved.tensorboard.mkdir()
    (saved.tensorboard / "events").write_text("x")
    saved.forget()
    assert [path.name for path in saved.path.iterdir()] == ["tensorboard"]
    assert saved.restore(weights(0, 0, 0)) == Progress()
    saved.forget()


def test_the_progress_can_be_read_by_people(saved):
    state = json.loads((saved.path / "progress.json").read_text())
    assert state["checkpoint"] == "step-0000005-0"
    assert state["progress"]["step"] == 5


def test_an_identity_depends_on_values_and_not_on_their_order():
    one = identity_of({"a": 1, "b": {"x": None, "y": [1, 2]}})
    assert one == identity_of({"b": {"y": [1, 2], "x": None}, "a": 1})
    assert one != identity_of({"a": 1, "b": {"x": None, "y": [2, 1]}})
    assert len(one) == 12
    assert set(one) <= set("0123456789abcdef")
