"""A training that a signal stops is saved at a whole step, once."""

import signal
import threading

import pytest

from textclf.cli.termination import ends_on_sigterm
from textclf.training.fitting.checkpoints import Progress, RunDirectory
from textclf.training.fitting.stopping import StoppableRun
from textclf.training.tf_setup import tf


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def stoppable(run, progress):
    return StoppableRun(run, tf.train.Checkpoint(value=tf.Variable(1.0)), progress)


def raise_in_a_step(state, progress, number):
    with state.uninterrupted():
        signal.raise_signal(number)
        # The weights have changed, and now the progress.
        progress.step += 1
    pytest.fail("not stopped after the step")


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_signal_waits_for_the_end_of_the_step(run, capsys, number, error):
    progress = Progress(step=4)
    state = stoppable(run, progress)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with ends_on_sigterm(120), pytest.raises(error), state.saved_when_stopped():
        raise_in_a_step(state, progress, number)
    assert run.progress().step == 5
    assert "stopped after step 5, which is saved" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_between_steps_it_stops_at_once(run):
    progress = Progress(step=4)
    state = stoppable(run, progress)
    progress.step += 1
    with ends_on_sigterm(120), pytest.raises(SystemExit), state.saved_when_stopped():
        signal.raise_signal(signal.SIGTERM)
    assert run.progress().step == 5


def test_a_saved_state_is_not_written_again(run):
    progress = Progress(step=4)
    state = stoppable(run, progress)
    progress.step += 1
    state.save()
    assert state.saved_step == 5
    (run.path / "progress.json").unlink()
    with ends_on_sigterm(120), pytest.raises(SystemExit), state.saved_when_stopped():
        signal.raise_signal(signal.SIGTERM)
    assert not (run.path / "progress.json").exists()


def test_a_second_signal_waits_until_the_state_is_saved(run, monkeypatch):
    progress = Progress(step=4)
    state = stoppable(run, progress)
    save = run.save

    def interrupted_save(*arguments):
        signal.raise_signal(signal.SIGTERM)
        save(*arguments)

    monkeypatch.setattr(run, "save", interrupted_save)
    with ends_on_sigterm(120), pytest.raises(SystemExit), state.saved_when_stopped():
        raise_in_a_step(state, progress, signal.SIGTERM)
    assert run.progress().step == 5


def test_other_errors_save_nothing(run):
    progress = Progress()
    state = stoppable(run, progress)
    progress.step += 1
    with pytest.raises(ValueError, match="diverged"), state.saved_when_stopped():
        raise ValueError("diverged")
    assert not run.path.exists()


def test_other_threads_may_train(run):
    def train():
        with state.saved_when_stopped(), state.uninterrupted():
            done.append(True)

    state, done = stoppable(run, Progress()), []
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert done
