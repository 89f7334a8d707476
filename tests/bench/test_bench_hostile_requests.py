"""The hostile requests of bench.hardening: what is generated, and what the checks find."""

import contextlib
import json
import re
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.hardening.hostile.checks import Checker, check_log, check_metrics, codes_of, growth_per_100k
from bench.hardening.hostile.client import BrokenResponseError, Client, Outcome, Response, parse_head
from bench.hardening.hostile.kinds import KINDS, request_of
from bench.hardening.hostile.request import ANY, OK, Hostile, Way, World
from bench.hardening.hostile_requests import SPAN, Progress, Run, spans
from bench.hardening.target import Target

ROOT = Path(__file__).resolve().parents[2]
CODES = {"invalid_json": 400, "not_found": 404, "internal_error": 500, "worker_lost": 503, "disk_full": 507}


def test_a_request_depends_on_seed_and_index_only():
    world = World()
    forward = [request_of(7, index, world) for index in range(300)]
    backward = [request_of(7, index, world) for index in reversed(range(300))]
    assert forward == backward[::-1]
    assert forward != [request_of(8, index, world) for index in range(300)]


@pytest.mark.parametrize("world", [World(), World(key="k" * 20, nginx=False)])
def test_every_kind_occurs_thousands_of_times_in_a_million_requests(world):
    counts = Counter(request_of(0, index, world).kind for index in range(5000))
    assert counts.keys() == {function.__name__ for function in KINDS}
    assert min(KINDS.values()) / sum(KINDS.values()) * 1e6 > 2000


def test_shared_requests_are_framed_so_that_the_next_one_is_found():
    for index in range(3000):
        request = request_of(0, index, World())
        if request.way is Way.SHARED:
            head, _, body = b"".join(request.parts).partition(b"\r\n\r\n")
            lengths = re.findall(rb"\r\nContent-Length: ([0-9]+)(?=\r\n|$)", head)
            assert [int(length) for length in lengths] in ([len(body)], [] if not body else None), request
            assert b"X-Request-Id: h-%d" % index in head
            assert request.codes


def shared(index=5, codes=frozenset({"invalid_json"}), **more) -> Hostile:
    return Hostile(index, "some_kind", (b"",), codes, **{"method": "POST", **more})


def answer(status=400, body=None, **headers) -> Response:
    error = {"error": {"code": "invalid_json", "message": "expected JSON"}}
    content = json.dumps(error if body is None else body).encode() if not isinstance(body, bytes) else body
    default = {"content-type": "application/json", "x-request-id": "h-5"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {k.encode(): v.encode() for k, v in (default | names).items()}, content)


def error(code: str) -> dict:
    return {"error": {"code": code, "message": "some"}}


def problems_of(request: Hostile, *responses: Response, nginx=True, **outcome) -> list[str]:
    checker = Checker(CODES, [("pos", 0.75)], nginx=nginx)
    return checker.check(request, Outcome(responses=list(responses), **outcome))[1]


def test_a_right_answer_has_no_problem():
    assert problems_of(shared(), answer()) == []
    assert problems_of(shared(codes=frozenset({ANY})), answer(404, error("not_found"))) == []
    assert problems_of(shared(), answer(503, error("worker_lost"))) == []
    control = shared(codes=frozenset({OK}), control=0)
    assert problems_of(control, answer(200, {"label": "pos", "score": 0.75})) == []


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (answer(404, error("not_found")), "expected invalid_json"),
        (answer(500, error("internal_error")), "the server failed"),
        (answer(507, error("disk_full")), "the server failed"),
        (answer(404, error("invalid_json")), "a code of docs/architecture.md with its status"),
        (answer(400, error("no_such_code")), "a code of docs/architecture.md"),
        (answer(400, {"error": "invalid_json"}), "an error in JSON"),
        (answer(400, {**error("invalid_json"), "more": 1}), "an error in JSON"),
        (answer(400, b"<html>Bad Request</html>", content_type="text/html"), "an error in JSON"),
        (answer(400, content_type="text/plain"), "an error in JSON"),
        (answer(302, b""), "no redirect"),
        (answer(200, {}), "expected invalid_json"),
        (answer(x_request_id="h-6"), "another request's answer"),
        (answer(400, {"error": {"code": "invalid_json", "message": 'File "/srv/app.py", line 3'}}), "contains"),
        (answer(400, {"error": {"code": "invalid_json", "message": "in /tmp/x"}}), "contains"),
        (answer(400, {"error": {"code": "invalid_json", "message": "got cn6y6x"}}), "the text of request 6"),
        (answer(x_more="smuggled-5"), "a smuggled request"),
    ],
)
def test_a_bad_answer_is_found(response, message):
    assert any(message in problem for problem in problems_of(shared(), response))


def test_gunicorns_own_page_is_right_only_without_nginx():
    page = answer(400, b"<html>Bad Request</html>", content_type="text/html")
    alone = shared(codes=frozenset({ANY}), way=Way.ALONE)
    assert problems_of(alone, page, nginx=False) == []
    assert problems_of(alone, page) != []
    page = answer(500, b"<html>Bad Request</html>", content_type="text/html")
    assert problems_of(alone, page, nginx=False) != []


@pytest.mark.parametrize(
    "body", [{"label": "neg", "score": 0.75}, {"label": "pos", "score": 0.7501}, {"label": "pos"}, b"{"]
)
def test_a_wrong_answer_to_a_control_is_found(body):
    found = problems_of(shared(codes=frozenset({OK}), control=0), answer(200, body))
    assert any("control 0" in problem for problem in found)


def test_a_second_answer_after_a_probe_is_a_smuggled_request():
    probe = shared(codes=frozenset({ANY}), way=Way.PROBE)
    follow_up = answer(200, {})
    assert problems_of(probe, answer(), follow_up) == []
    assert problems_of(probe, answer(), follow_up, follow_up) != []
    assert problems_of(probe, answer(), answer(404, error("not_found"))) != []


LINE = {"time": "t", "method": "GET", "path": "/", "status": 200, "latency_ms": 1, "request_id": "h-1", "pid": 3}


def test_log_lines_are_checked():
    def found(*lines):
        return check_log(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))

    assert found(LINE, b"serve: http://127.0.0.1:80") == ([], ["serve: http://127.0.0.1:80"])
    for line, message in (
        (b'{"time": ', "not JSON"),
        ({"time": "t"}, "lacks"),
        ({**LINE, "text": ["x"]}, "contains a text"),
        ({**LINE, "path": "/cn3y3x"}, "user's text"),
        ({**LINE, "request_id": "smuggled-3"}, "smuggled"),
        ({**LINE, "status": 500, "error": "internal_error"}, "a request failed"),
        (b"Traceback (most recent call last):", "an error"),
        (b"[error] cn3y3x", "user's text"),
        (b"2026-01-01 [3] ERROR serving.app: request x failed", "an error"),
    ):
        (problem,) = found(LINE, line)[0]
        assert message in problem
    assert found({**LINE, "status": 503, "error": "worker_lost"})[0] == []


def test_metrics_are_checked():
    lines = ["# HELP textclf_errors_total code", 'textclf_errors_total{code="not_found"} 2.0']
    assert check_metrics("\n".join(lines), {"not_found"}) == []
    assert check_metrics("\n".join(lines), {"not_ready"}) == ["/metrics has an undocumented code: not_found"]
    many = [f'textclf_requests_total{{route="{number}"}} 1.0' for number in range(3000)]
    for wrong, count in (("", 0), ("\n".join(many), 3000)):
        (problem,) = check_metrics(wrong, ())
        assert problem.endswith(f"found {count}")


def test_growth_is_measured_after_the_warm_up():
    jump = [(at, 1e8 if at < 20_000 else 2e8) for at in range(0, 100_000, 5000)]
    assert growth_per_100k(jump) == pytest.approx(0)
    leak = [(at, 1e8 + 50 * at) for at in range(0, 100_000, 5000)]
    assert growth_per_100k(leak) == pytest.approx(5e6)
    assert growth_per_100k(leak[:10]) == 0


@pytest.mark.parametrize(
    "head",
    [b"HTTP/2 200 OK", b"HTTP/1.1 99 x", b"garbage", b"HTTP/1.1 200 OK\r\nA: b\x01", b"HTTP/1.1 200 OK\r\n folded: x",
     b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2", b"HTTP/1.1 200 OK\r\nno colon"],
)  # fmt: skip
def test_a_malformed_head_is_found(head):
    with pytest.raises(BrokenResponseError):
        parse_head(head)
    assert parse_head(b"HTTP/1.1 200 OK\r\nA-b: c d") == (200, {b"a-b": b"c d"})


@contextlib.contextmanager
def toy_server(*replies: bytes):
    """A server that sends the next reply to whatever arrives, and then neither answers nor closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:

        def serve() -> None:
            for reply in replies:
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.sendall(reply)
                stack.enter_context(connection)
                if reply.startswith(b"end"):
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (b"", "no response within 0.2 s"),
        (b"end", "expected a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "no response within"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "expected a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ""),
    ],
)
@pytest.mark.parametrize("way", [Way.SHARED, Way.ALONE])
def test_a_hanging_or_broken_server_is_found(reply, problem, way):
    found: list[Outcome] = []
    with toy_server(reply) as address:
        request = Hostile(0, "some_kind", (b"x",), frozenset({OK}), way)
        Client(address, 0.2, lambda _, outcome: found.append(outcome)).run([request], 1)
    (outcome,) = found
    assert problem in outcome.problem
    assert bool(outcome.problem) == bool(problem)


def test_the_codes_are_those_of_the_documentation(tmp_path):
    codes = codes_of(ROOT / "docs" / "architecture.md")
    assert (codes["invalid_json"], codes["worker_lost"], codes["quota_exceeded"]) == (400, 503, 507)
    (tmp_path / "page.md").write_text("# Nothing\n")
    with pytest.raises(BenchError, match="table of error codes"):
        codes_of(tmp_path / "page.md")


def test_a_server_that_ended_is_an_error_with_its_log(tmp_path):
    (tmp_path / "serve.log").write_text("the last words\n")
    with subprocess.Popen(["true"]) as process:
        process.wait()
    run = Run(tmp_path / "work", Progress(0, 10, True), "replay")
    run.folder.mkdir()
    with pytest.raises(BenchError, match="the server ended"):
        run.check_server(0, Target("127.0.0.1", 1, process.pid, tmp_path, tmp_path / "serve.log"), [1, 2])
    assert (run.folder / "server.log").read_text() == "the last words\n"
    assert json.loads((run.folder / "failures.jsonl").read_text())["kind"] == "workers"


def test_a_run_continues_where_it_ended_and_only_there(tmp_path):
    path = tmp_path / "progress.json"
    progress = Progress(3, 100, True, next=50)
    path.write_text(json.dumps(vars(progress)))
    assert Progress.read(path, 3, 200, nginx=True).next == 50
    with pytest.raises(BenchError, match="--seed"):
        Progress.read(path, 4, 100, nginx=True)
    assert list(spans(0, 10)) == [(0, 10, False)]
    assert [has_key for _, _, has_key in spans(SPAN + 5, 5 * SPAN)] == [False, False, True, False]
    assert next(iter(spans(SPAN + 5, 5 * SPAN)))[:2] == (SPAN + 5, 2 * SPAN)
