"""Explanations pause while the worker predicts, and take turns with each other."""

import contextlib
import threading
import time

import pytest

from serving.giving_way import GivingWay


def in_thread(act) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_an_explanation_alone_never_waits():
    with GivingWay(max_pause=30).explanation() as give_way:
        start = time.monotonic()
        for _ in range(100):
            give_way()
        assert time.monotonic() - start < 5


def test_an_explanation_pauses_until_the_last_prediction_ends():
    giving_way = GivingWay(max_pause=30)
    events = []

    def explain():
        with giving_way.explanation():
            events.append("explanation")

    with contextlib.ExitStack() as first:
        first.enter_context(giving_way.prediction())
        with giving_way.prediction():
            thread = in_thread(explain)
            first.close()
            thread.join(0.1)
            events.append("prediction")
    thread.join(10)
    assert events == ["prediction", "explanation"]


def test_under_constant_load_an_explanation_goes_on_after_the_pause():
    giving_way = GivingWay(max_pause=0.05)
    with giving_way.prediction():
        start = time.monotonic()
        with giving_way.explanation() as give_way:
            give_way()
        assert 0.09 < time.monotonic() - start < 10


def test_one_explanation_computes_at_a_time_and_each_has_its_turn():
    giving_way = GivingWay()
    computing, order = [], []
    begun = threading.Barrier(2)

    def explain(name):
        begun.wait(10)
        with giving_way.explanation() as give_way:
            for _ in range(5):
                computing.append(name)
                time.sleep(0.02)
                order.append(name)
                assert computing == [name]
                computing.remove(name)
                give_way()

    threads = [in_thread(lambda name=name: explain(name)) for name in "ab"]
    for thread in threads:
        thread.join(20)
    assert sorted(order) == ["a"] * 5 + ["b"] * 5
    assert order[:5] != order[:1] * 5, "neither waits until the other has ended"


def test_a_failed_explanation_leaves_its_turn_to_others():
    giving_way = GivingWay()
    with pytest.raises(ValueError, match="bad"), giving_way.explanation():
        raise ValueError("bad")
    with giving_way.explanation() as give_way:
        give_way()


def test_a_prediction_that_comes_while_others_take_turns_waits_for_one_batch_only():
    """Two explanations compute without pause between their batches; a prediction must not wait for both."""
    giving_way = GivingWay(max_pause=30)
    is_over, in_batch, after = threading.Event(), threading.Lock(), []

    def explain():
        with giving_way.explanation() as give_way:
            while not is_over.is_set():
                with in_batch:
                    if giving_way_is_predicting.is_set():
                        after.append(1)
                    time.sleep(0.01)
                give_way()

    giving_way_is_predicting = threading.Event()
    threads = [in_thread(explain) for _ in range(2)]
    time.sleep(0.1)
    with giving_way.prediction():
        with in_batch:  # The batch that was running.
            giving_way_is_predicting.set()
        time.sleep(0.1)
        is_over.set()
    for thread in threads:
        thread.join(10)
    assert len(after) <= 1
