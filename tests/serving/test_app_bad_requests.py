"""Every bad request is refused with its status and code, at once, and leaves the app as it was."""

import gzip
import json
import socket
import time

import bad_requests
import pytest
from serving_models import inference, settings

from serving.app import create_app


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(settings(tmp_path_factory.mktemp("bad")), inference())


def call(app, case):
    """Status, headers and body of what the WSGI app answers."""
    return call_with(app, case, {})


def call_with(app, case, environ):
    """The same, with other or more variables of WSGI."""
    answer = {}

    def start_response(status, headers, exc_info=None):
        answer["status"] = int(status.split()[0])
        answer["headers"] = {name.lower(): value for name, value in headers}

    response = app.wsgi_app(case.environ() | environ, start_response)
    body = b"".join(response)
    getattr(response, "close", lambda: None)()
    return answer["status"], answer["headers"], body


def test_there_are_many_and_each_has_a_name():
    assert len({case.name for case in bad_requests.CASES}) == len(bad_requests.CASES) >= 70


@pytest.mark.parametrize("case", bad_requests.CASES, ids=str)
def test_refused(app, case, caplog):
    start = time.perf_counter()
    case.check(*call(app, case))
    assert time.perf_counter() - start < 1
    assert not caplog.records, "nothing of it is a fault of the server"
    good = bad_requests.Case("good", "/predict", bad_requests.GOOD, 200, "")
    status, _, body = call(app, good)
    assert status == 200
    assert json.loads(body)["label"] == "pos"


@pytest.mark.parametrize(("path", "kind"), [("/predict", "application/json"), ("/invocations", "application/jsonl")])
def test_a_number_of_too_many_digits_is_refused_in_words_of_ours(app, path, kind):
    """Python's own message advises the client to call sys.set_int_max_str_digits()."""
    response = app.test_client().post(path, data=b'{"text": ' + b"9" * 5000 + b"}", content_type=kind)
    assert response.status_code == 400
    error = response.get_json()["error"]
    assert error["code"] == "invalid_json"
    assert "a number has more than 4300 digits" in error["message"]
    assert "sys." not in error["message"]


def test_nothing_was_stored(app):
    assert not (app.extensions["textclf"].settings.new_data_dir / "train").exists()


def test_a_body_that_was_announced_but_not_sent_delays_no_refusal(app):
    """The answer is ready before the rest of the body is waited for."""

    class Never:
        def read(self, _size=-1):
            raise AssertionError("waited for a body")

    case = bad_requests.Case("", "/nothing", b"", 404, "not_found", announced=1000)
    started = []
    response = app.wsgi_app(
        case.environ() | {"wsgi.input": Never()}, lambda status, headers, exc_info=None: started.append(status)
    )
    assert json.loads(b"".join(response))["error"]["code"] == "not_found"
    assert started == ["404 NOT FOUND"]
    response.close()


def test_the_rest_of_a_refused_body_is_dropped_within_bounds(app):
    class Endless:
        def __init__(self):
            self.given = 0

        def read(self, size=-1):
            self.given += size
            return b"x" * size

    stream = Endless()
    case = bad_requests.Case("", "/predict", b"", 413, "body_too_large", announced=10**12)
    response = app.wsgi_app(case.environ() | {"wsgi.input": stream}, lambda *_: None)
    b"".join(response)
    assert stream.given == 0
    response.close()
    assert 1024**2 < stream.given < 64 * 1024**2


def test_a_connection_that_breaks_while_the_body_is_read(app):
    class Broken:
        def read(self, _size=-1):
            raise RuntimeError("chunk of no size")

    case = bad_requests.Case("broken", "/predict", b"", 400, "incomplete_body", chunk=10)
    environ = case.environ() | {"wsgi.input": Broken()}
    answer = []
    body = b"".join(app.wsgi_app(environ, lambda status, headers, exc_info=None: answer.append(status)))
    assert answer == ["400 BAD REQUEST"]
    assert json.loads(body)["error"]["code"] == "incomplete_body"


class Slow:
    """A connection whose client stopped sending, and the stream that reads from it; notes what is done to it."""

    def __init__(self):
        self.done = []

    def settimeout(self, seconds):
        self.done.append(seconds)

    def shutdown(self, how):
        self.done.append(how)

    def read(self, _size):
        raise TimeoutError


def test_a_body_that_stops_is_given_up_and_the_connection_ended(app):
    slow = Slow()
    case = bad_requests.Case("slow", "/predict", bad_requests.GOOD, 408, "request_timeout")
    case.check(*call_with(app, case, {"wsgi.input": slow, "gunicorn.socket": slow}))
    assert slow.done == [15, socket.SHUT_RDWR]


def test_a_good_request_keeps_its_connection_and_has_a_minute_for_its_answer(app):
    slow = Slow()
    case = bad_requests.Case("good", "/predict", bad_requests.GOOD, 200, "")
    assert call_with(app, case, {"gunicorn.socket": slow})[0] == 200
    assert slow.done == [15, 60]


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"\xff", "", 400, "invalid_utf8"),
        (b"no gzip", "gzip", 400, "invalid_gzip"),
        (gzip.compress(b"", mtime=0), "gzip", 400, "empty_body"),
        (gzip.compress(b" " * (bad_requests.MAX_BODY + 1)), "gzip", 413, "body_too_large"),
        (b"no JSON", "", 400, "invalid_json"),
    ],
)
def test_a_body_that_was_read_and_refused_keeps_its_connection(app, body, encoding, status, code):
    slow = Slow()
    headers = (("Content-Type", "application/json"), *([("Content-Encoding", encoding)] if encoding else []))
    case = bad_requests.Case(code, "/predict", body, status, code, headers)
    case.check(*call_with(app, case, {"gunicorn.socket": slow}))
    assert slow.done == [15, 60]


@pytest.mark.parametrize(
    ("announced", "ends"), [(1000, [1]), (1001, [1, socket.SHUT_RDWR]), (10**9, [1, socket.SHUT_RDWR])]
)
def test_a_connection_is_kept_only_where_a_refused_body_has_ended(app, announced, ends):
    slow = Slow()
    case = bad_requests.Case("", "/nothing", b"x" * 1000, 404, "not_found", announced=announced)
    case.check(*call_with(app, case, {"gunicorn.socket": slow}))
    assert slow.done == ends
