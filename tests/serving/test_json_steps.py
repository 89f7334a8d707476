"""JSON in steps: the values and errors of the decoder in C, a bound on values, and other threads that run meanwhile."""

import json
import sys
import threading
import time

import pytest

from serving.api.errors import ApiError, ErrorCode
from serving.api.json_steps import TooManyValuesError, decode_in_steps
from serving.api.predict_requests import parse_predict_request
from serving.api.requests import Limits

_LIMITS = Limits(text_chars=100_000, batch=1000)


def error_of(decode):
    try:
        return f"no error: {decode()}"
    except ValueError as error:
        return type(error), str(error)


def decoded(content, max_values=100):
    return decode_in_steps(content, max_values, dict, float)


@pytest.mark.parametrize(
    "content",
    [
        '{"X": ["a", "\\u00e9\\n", ""], "b": {"c": [1, -2.5e3, true, false, null]}}',
        " [ ] ",
        '{"a":"b"}',
        '"a"',
        "[NaN]",
    ],
)
def test_values_are_those_of_json(content):
    assert repr(decoded(content)) == repr(json.loads(content))


@pytest.mark.parametrize(
    "content", ["", "[1,]", '{"a":}', '{"a" 1}', '["a', '"\n"', "[1] 2", "nul", "{1: 2}", "[" + "1" * 5000 + "]"]
)
def test_errors_are_those_of_json(content):
    assert error_of(lambda: decoded(content)) == error_of(lambda: json.loads(content))


def test_values_are_counted_at_every_depth():
    assert decoded("[[1], [2, {}]]", 5) == [[1], [2, {}]]
    for content in ("[[1], [2, {}]]", '{"a": {"b": 1}, "c": [1, 2]}'):
        with pytest.raises(TooManyValuesError):
            decoded(content, 4)


def test_deep_nesting_is_refused():
    with pytest.raises(RecursionError):
        decoded("[" * 100_000, 10**6)


_KEYS = ",".join(f'"{number}":0' for number in range(190_000))


@pytest.mark.parametrize(
    "body", ["[" + "[]," * 680_000 + "1]", '{"X":[' + '"",' * 680_000 + '""]}', "{" + _KEYS + "}"], ids=len
)
def test_many_tiny_values_end_early(body):
    start = time.thread_time()
    with pytest.raises(ApiError) as caught:
        parse_predict_request(body, "application/json", _LIMITS)
    assert caught.value.code is ErrorCode.TOO_MANY_TEXTS
    assert time.thread_time() - start < 0.05


def test_other_threads_take_turns_while_a_large_body_is_decoded():
    """The decoder in C would keep the interpreter from the other thread until its end: one long gap, one turn."""
    body = "[" + "[]," * 300_000 + "1]"
    turns = [0]
    ended = threading.Event()

    def watch():
        last = time.perf_counter()
        while not ended.is_set():
            now = time.perf_counter()
            turns[0] += now - last > sys.getswitchinterval() / 2
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    decoded(body, 10**6)
    ended.set()
    watcher.join()
    assert turns[0] >= 8
