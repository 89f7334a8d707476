"""Scoring of lists and long texts: what is accepted, when it ends early, and what is logged and counted."""

import functools
import itertools
import json
import select
import socket
import threading
import time

import numpy as np
import pytest
from serving_models import Gate, WordCounter, inference, settings

from serving.api.deadline import CONNECTION, Deadline, is_client_gone
from serving.api.errors import ApiError, ErrorCode
from serving.app import create_app
from serving.scoring import Scorer
from textclf.rules.loading import with_rules
from textclf.runtime.backend import EncodedBatch, Timings
from textclf.runtime.predictor import Predictor
from textclf.runtime.turns import SHORT_CHARS


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def code_of(act, *arguments):
    with pytest.raises(ApiError) as caught:
        act(*arguments)
    return caught.value.code


# The deadline


def test_the_time_begins_when_nginx_had_the_request():
    clock = Clock()
    assert Deadline({"REQUEST_START": "960.000"}, 60, clock, clock).seconds == pytest.approx(57 - 40)
    assert Deadline({}, 60, clock, clock).seconds == pytest.approx(57)
    late = Deadline({"REQUEST_START": "940.000"}, 60, clock, clock)
    assert code_of(late.check) is ErrorCode.TIMED_OUT


@pytest.mark.parametrize("start", ["", "x", "5000", "0", "nan"])
def test_a_clock_that_was_set_counts_as_no_time(start):
    clock = Clock()
    assert Deadline({"REQUEST_START": start}, 60, clock, clock).seconds == pytest.approx(57)


def test_the_time_runs_out():
    clock = Clock()
    deadline = Deadline({}, 10, clock, clock)
    clock.now += 9.4
    deadline.check()
    clock.now += 0.2
    assert code_of(deadline.check) is ErrorCode.TIMED_OUT


def test_a_client_that_leaves_is_noticed_over_tcp_too():
    """There a close shows as the end of its sending only, until we write."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
    with connection:
        assert not is_client_gone({"gunicorn.socket": connection})
        client.close()
        look = select.poll()
        look.register(connection, select.POLLRDHUP)
        assert look.poll(5000)
        assert is_client_gone({"gunicorn.socket": connection})


@pytest.mark.parametrize("key", [CONNECTION, "gunicorn.socket"])
@pytest.mark.parametrize("how", ["close", "half", "reset"])
def test_a_client_that_leaves_is_noticed(key, how):
    client, connection = socket.socketpair()
    with client, connection:
        connection.settimeout(60)
        assert not is_client_gone({key: connection})
        client.send(b"the next request")
        assert not is_client_gone({key: connection})
        if how == "half":
            client.shutdown(socket.SHUT_WR)
        else:
            connection.recv(100) if how == "close" else None
            client.close()
        assert is_client_gone({key: connection})
    assert not is_client_gone({key: connection}), "a closed connection of our own shows nothing"
    assert not is_client_gone({})


def test_the_connection_is_looked_at_some_times_per_second_only():
    clock = Clock()
    client, connection = socket.socketpair()
    with client, connection:
        deadline = Deadline({CONNECTION: connection}, 60, clock, clock)
        client.close()
        deadline.check()
        clock.now += 0.3
        assert code_of(deadline.check) is ErrorCode.CLIENT_GONE


def test_a_request_that_waited_is_looked_at_once_before_it_is_computed():
    clock = Clock()
    client, connection = socket.socketpair()
    with client, connection:
        client.close()
        for waited in (1, 59):
            start = {CONNECTION: connection, "REQUEST_START": str(clock.now - waited)}
            assert code_of(Deadline(start, 60, clock, clock).check) is ErrorCode.CLIENT_GONE


# Acceptance


class Slow(WordCounter):
    """Backend that seems to take 10 ms for a wordpiece; a batch of one text."""

    def __init__(self):
        super().__init__()
        self.runs = 0
        self.before_run = lambda: None

    def encode(self, texts, max_chars=None):
        lengths = np.array([len(text.split()) for text in texts], np.int64)
        return EncodedBatch(texts, lengths, lengths)

    def run(self, inputs, timings):
        self.before_run()
        self.runs += 1
        outputs = super().run(inputs, timings)
        timings.infer += 0.01 * sum(len(text.split()) for text in inputs)
        return outputs


@pytest.fixture
def slow():
    """A predictor whose speed is known: 100 wordpieces take a second."""
    predictor = Predictor(Slow(), ("neg", "pos"), tokens_per_batch=1)
    predictor.predict(["good " * 100])
    predictor.backend.runs = 0
    return predictor


def scorer_of(tmp_path, **values):
    return Scorer(settings(tmp_path, model_server_timeout=20, **values))


def test_a_list_that_cannot_end_in_time_is_refused_before_it_is_computed(slow, tmp_path):
    with pytest.raises(ApiError) as caught:
        scorer_of(tmp_path).score(slow, ["good " * 100] * 20, {}, Timings())
    assert caught.value.code is ErrorCode.TOO_MUCH_WORK
    assert "take up to 19 seconds (MODEL_SERVER_TIMEOUT), these take about 20; send up to 18" in caught.value.message
    assert slow.backend.runs == 1  # To see whether the estimate is still right.
    assert len(scorer_of(tmp_path).score(slow, ["good " * 100] * 18, {}, Timings()).predictions) == 18


@pytest.mark.parametrize(("times", "code"), [(1, None), (10, ErrorCode.TOO_MUCH_WORK)])
def test_a_text_that_rules_make_long_is_accounted_for(slow, tmp_path, times, code):
    path = tmp_path / "rules.py"
    path.write_text(f"def before(text):\n    return text * {times}\n", encoding="utf-8")
    with_rules(slow, path)
    slow.backend.runs = 0
    score = functools.partial(scorer_of(tmp_path).score, slow, ["good " * 600], {}, Timings())
    if code is None:
        assert len(score().predictions) == 1
    else:
        assert code_of(score) is code


def test_a_list_that_cannot_end_in_time_because_of_others_may_come_again(slow, tmp_path):
    scorer = scorer_of(tmp_path)
    refusals = []

    def other_list():
        slow.backend.before_run = lambda: None
        with pytest.raises(ApiError) as caught:
            scorer.score(slow, ["good " * 100] * 12, {}, Timings())
        refusals.append(caught.value)
        assert scorer.score(slow, ["good"], {}, Timings()).predictions  # A short text is always accepted.

    slow.backend.before_run = other_list
    scorer.score(slow, ["good " * 100] * 10, {}, Timings())
    (refusal,) = refusals
    assert refusal.code is ErrorCode.TOO_MANY_REQUESTS
    assert int(refusal.headers["Retry-After"]) == 4  # 10 s and 12 s, with 19 s left.
    assert scorer.budget.seconds == pytest.approx(0)
    assert len(scorer.score(slow, ["good " * 100] * 12, {}, Timings()).predictions) == 12


@pytest.mark.parametrize(("texts", "code"), [(12, ErrorCode.TOO_MANY_REQUESTS), (20, ErrorCode.TOO_MUCH_WORK)])
def test_a_list_that_only_waited_too_long_may_come_again(slow, tmp_path, texts, code):
    start = {"REQUEST_START": f"{time.time() - 13:.3f}"}
    with pytest.raises(ApiError) as caught:
        scorer_of(tmp_path).score(slow, ["good " * 100] * texts, start, Timings())
    assert caught.value.code is code
    if code is ErrorCode.TOO_MANY_REQUESTS:
        assert "the texts need about 12.0 seconds" in caught.value.message
        assert caught.value.headers["Retry-After"] in ("6", "7")  # It needs 12 s and has 6 s.
    else:
        assert "send up to 18" in caught.value.message


@pytest.mark.parametrize(("text", "speed"), [("good", 0.0), ("good", 0.01), ("", 0.01)])
def test_a_list_whose_time_ends_after_reading_is_timed_out(tmp_path, monkeypatch, text, speed):
    """Also before the first batch, when no speed is known, and without work for the encoder."""
    clock = Clock()

    class Late(Deadline):
        def __init__(self, environ, timeout):
            super().__init__(environ, timeout, clock, clock)

        def check(self):
            super().check()
            clock.now += 30

    monkeypatch.setattr("serving.scoring.Deadline", Late)
    predictor = Predictor(Slow(), ("neg", "pos"))
    predictor.speed.best = predictor.speed.current = speed
    assert code_of(scorer_of(tmp_path).score, predictor, [text] * 3, {}, Timings()) is ErrorCode.TIMED_OUT
    assert predictor.backend.runs == 0


def test_an_estimate_from_a_busier_time_is_corrected_before_it_refuses(slow, tmp_path):
    slow.speed.best *= 50
    assert len(scorer_of(tmp_path).score(slow, ["good " * 100] * 15, {}, Timings()).predictions) == 15


def test_a_slow_moment_never_refuses_a_list_that_is_alone(slow, tmp_path):
    slow.speed.current *= 50
    assert len(scorer_of(tmp_path).score(slow, ["good " * 100] * 15, {}, Timings()).predictions) == 15


def test_computing_ends_when_the_client_leaves_and_its_work_is_free(slow, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.api.deadline._LOOK_SECONDS", 0.0)
    scorer = scorer_of(tmp_path)
    client, connection = socket.socketpair()
    with client, connection:
        runs = itertools.count(1)
        slow.backend.before_run = lambda: next(runs) == 3 and client.close()
        assert code_of(scorer.score, slow, ["good"] * 50, {CONNECTION: connection}, Timings()) is ErrorCode.CLIENT_GONE
    assert slow.backend.runs == 3
    assert (scorer.budget.seconds, scorer.budget.wordpieces) == (0, 0)


def test_a_text_of_one_batch_is_never_looked_at(slow, tmp_path):
    client, connection = socket.socketpair()
    with client, connection:
        client.close()
        assert scorer_of(tmp_path).score(slow, ["x" * SHORT_CHARS], {CONNECTION: connection}, Timings()).predictions


# The whole app


def line_of(capsys):
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return line


@pytest.mark.parametrize(("key", "lines"), [("gunicorn.socket", 1), (CONNECTION, 0)])
def test_a_client_that_left_is_logged_and_counted_as_such(tmp_path, capsys, monkeypatch, key, lines):
    """By the worker, or behind nginx by nginx."""
    monkeypatch.setattr("serving.api.deadline._LOOK_SECONDS", 0.0)
    client, connection = socket.socketpair()
    app = create_app(settings(tmp_path), inference()).test_client()
    capsys.readouterr()
    with client, connection:
        client.close()
        response = app.post("/predict", json={"X": ["good"] * 3}, environ_overrides={key: connection})
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert response.status_code == 499
    assert [(line["status"], line["error"], line["texts"]) for line in found] == [(499, "client_gone", 0)] * lines
    metrics = app.get("/metrics").get_data(as_text=True)
    assert ('textclf_requests_total{method="POST",route="/predict",status="499"} 1.0' in metrics) == bool(lines)
    assert ('textclf_errors_total{code="client_gone"} 1.0' in metrics) == bool(lines)
    assert "textclf_requests_in_flight 1.0" in metrics  # The one for the metrics.


def test_a_request_that_waited_too_long_is_not_computed(tmp_path, capsys):
    app = create_app(settings(tmp_path, model_server_timeout=10), inference()).test_client()
    capsys.readouterr()
    start = {"REQUEST_START": f"{time.time() - 11:.3f}"}
    for path, body in (("/predict", {"text": "good"}), ("/feedback", {"text": "good", "label": "pos"})):
        response = app.post(path, json=body, environ_overrides=start)
        assert (response.status_code, response.get_json()["error"]["code"]) == (503, "timed_out")
        assert line_of(capsys)["status"] == 503
    assert not (tmp_path / "new" / "train").exists()


def test_a_list_that_takes_too_long_ends_with_a_503_of_the_app(tmp_path, capsys):
    gate = Gate()
    app = create_app(settings(tmp_path, model_server_timeout=1), inference(gate)).test_client()
    capsys.readouterr()
    gate.open.clear()
    timer = threading.Timer(1.0, gate.open.set)
    timer.start()
    response = app.post("/predict", json={"X": ["good"] * 3})
    timer.join()
    assert (response.status_code, response.get_json()["error"]["code"]) == (503, "timed_out")
    line = line_of(capsys)
    assert (line["status"], line["error"], line["texts"]) == (503, "timed_out", 0)
