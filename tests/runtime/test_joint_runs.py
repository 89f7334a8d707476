"""Calls that wait for an engine run as one batch."""

import threading
import time

import numpy as np
import pytest

from textclf.runtime.backend import ModelOutputs
from textclf.runtime.joint_runs import JointRuns


class Computer:
    """Computes sums of ids; each run waits for `go_on`, and its shape is noted."""

    def __init__(self):
        self.shapes = []
        self.inside, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.fails_on = None

    def __call__(self, inputs, length):
        self.inside.release()
        assert self.go_on.acquire(timeout=30)
        self.shapes.append((len(inputs), length))
        if any(self.fails_on in ids for ids in inputs):
            raise RuntimeError("a bad text")
        logits = np.array([[sum(ids), length] for ids in inputs], np.float32)
        return ModelOutputs(logits, -logits)


@pytest.fixture
def computer():
    return Computer()


@pytest.fixture
def runs(computer, monkeypatch):
    # A run here lasts until the test lets it go on.
    monkeypatch.setattr(JointRuns, "_observe", lambda *_: None)
    joint = JointRuns()
    joint.max_tokens = 512
    return joint


def waiting_calls(runs, computer, calls, compute=None):
    """Start the calls, each (inputs, length), while the first one computes; return their threads and what they get."""
    found = {}

    def call(number, inputs, length):
        try:
            found[number] = runs.run(compute or computer, inputs, length)
        except (RuntimeError, KeyboardInterrupt) as error:
            found[number] = error

    threads = []
    for number, (inputs, length) in enumerate(calls):
        threads.append(threading.Thread(target=call, args=(number, inputs, length)))
        threads[-1].start()
        if number == 0:
            assert computer.inside.acquire(timeout=30)
        else:
            until(lambda number=number: len(runs._waiting) == number)
    return threads, found


def finish(computer, threads):
    for _ in threads:
        computer.go_on.release()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def until(is_true):
    for _ in range(3000):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def sums(found):
    return {number: float(run.outputs.logits[0, 0]) for number, run in found.items()}


def test_texts_that_wait_run_as_one_batch_and_get_their_own_rows(runs, computer):
    threads, found = waiting_calls(runs, computer, [([[n]], 16) for n in range(1, 6)])
    finish(computer, threads)
    assert computer.shapes == [(1, 16), (4, 16)]
    assert sums(found) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}
    assert all(run.outputs.logits.shape == (1, 2) for run in found.values())
    assert all((run.outputs.embeddings == -run.outputs.logits).all() for run in found.values())
    assert [found[n].share for n in range(5)] == [1, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize(
    ("calls", "shapes"),
    [
        # Batch sizes are powers of two; the others follow in their order.
        ([([[1]], 8)] * 8, [(1, 8), (4, 8), (2, 8), (1, 8)]),
        # Padding by more than 16 wordpieces costs more than a run.
        ([([[1]], 8), ([[1]], 16), ([[1]], 48), ([[1]], 32), ([[1]], 48)], [(1, 8), (2, 32), (2, 48)]),
        # A list is a batch already.
        ([([[1]], 8), ([[1], [2]], 8), ([[1]], 8), ([[1]], 8)], [(1, 8), (2, 8), (2, 8)]),
        ([([[1]], 8), ([[1]], 8), ([[1], [2]], 8), ([[1]], 8)], [(1, 8), (2, 8), (2, 8)]),
        # At most 512 wordpieces.
        ([([[1]], 256)] * 4, [(1, 256), (2, 256), (1, 256)]),
        ([([[1]], 512)] * 3, [(1, 512)] * 3),
    ],
)
def test_what_is_joined(runs, computer, calls, shapes):
    threads, found = waiting_calls(runs, computer, calls)
    finish(computer, threads)
    assert computer.shapes == shapes
    assert len(found) == len(calls)


def test_without_prepared_shapes_nothing_is_joined(runs, computer):
    runs.max_tokens = 0
    threads, _ = waiting_calls(runs, computer, [([[n]], 16) for n in range(4)])
    finish(computer, threads)
    assert computer.shapes == [(1, 16)] * 4


def test_on_a_slow_machine_fewer_texts_are_joined(runs, computer):
    runs._token_seconds = 0.02 / 40  # 40 wordpieces in 20 ms.
    threads, _ = waiting_calls(runs, computer, [([[n]], 16) for n in range(5)])
    finish(computer, threads)
    assert computer.shapes == [(1, 16), (2, 16), (2, 16)]


def test_the_estimate_follows_runs_that_are_long_enough():
    joint = JointRuns()
    joint._observe(16, 1.0)
    assert joint._token_seconds == 0
    joint._observe(100, 1.0)
    assert joint._token_seconds == pytest.approx(0.01)
    joint._observe(100, 2.0)
    assert joint._token_seconds == pytest.approx(0.011)
    joint._observe(100, 100.0)  # An outlier counts as four times the estimate.
    assert joint._token_seconds == pytest.approx(0.011 * 1.3)


def test_a_bad_text_fails_its_own_call_only(runs, computer):
    computer.fails_on = 3
    threads, found = waiting_calls(runs, computer, [([[n]], 16) for n in range(1, 6)])
    for _ in range(3):  # The failed batch and a second try each.
        computer.go_on.release()
    finish(computer, threads)
    assert computer.shapes == [(1, 16), (4, 16), *[(1, 16)] * 4]
    error = found.pop(2)
    assert isinstance(error, RuntimeError)
    assert str(error) == "a bad text"
    assert sums(found) == {0: 1, 1: 2, 3: 4, 4: 5}


def test_an_interrupted_leader_leaves_the_others_their_turns(runs, computer):
    def interrupt(inputs, length):
        if len(inputs) > 1:
            raise KeyboardInterrupt
        return computer(inputs, length)

    threads, found = waiting_calls(runs, computer, [([[n]], 16) for n in range(5)], interrupt)
    finish(computer, threads)
    assert isinstance(found.pop(1), KeyboardInterrupt)
    assert sums(found) == {0: 0, 2: 2, 3: 3, 4: 4}


def test_a_run_after_an_idle_time_does_not_wait(runs, computer):
    for _ in range(3):
        computer.go_on.release()
        assert runs.run(computer, [[7]], 8).outputs.logits[0, 0] == 7
    assert not runs._is_busy
