"""Checks of what comes back: HTTP, status and code of each response, answers of controls, lines of the log."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.hardening.hostile.client import Outcome, Response
from bench.hardening.hostile.request import ANY, OK, Hostile, Way

# 5xx that the design allows: a worker was killed or is loading, or a request was too large for the time it had.
_ALLOWED_5XX = {"worker_lost", "timed_out", "not_ready", "quota_exceeded"}
# gunicorn's own errors: the only pages in HTML, of a server without nginx.
_HTML = "html"
_GUNICORN_STATUSES = {400, 403, 414, 417, 431, 501}
# Responses and log lines contain no part of the program and no folder of the server.
_LEAKS = re.compile(
    rb'Traceback|File "|site-packages|\.py\b|/tmp/|/proc/|/home/|/root/|new_data|\.db\b|<lambda>|0x[0-9a-f]{8}'
)
_CANARY = re.compile(rb"cn([0-9]+)y\1x")
_SCORE_TOLERANCE = 1e-6
_MIN_REQUESTS = 50_000
# Routes, methods, statuses and buckets are few. A server under attack has about 500.
_MAX_SERIES = 2_000
_LOG_FIELDS = {"time", "method", "path", "status", "latency_ms", "request_id", "pid"}
_ROW = re.compile(r"\| ([0-9]{3}) \| (`[^|]*`) \|")


def codes_of(architecture: Path) -> dict[str, int]:
    """Read the error codes and their statuses from docs/architecture.md.

    Raises:
        BenchError: if the file has no table of error codes.
    """
    _, _, section = architecture.read_text(encoding="utf-8").partition("### Error codes")
    rows = _ROW.findall(section.partition("\n### ")[0])
    codes = {code: int(status) for status, names in rows for code in re.findall(r"`([a-z0-9_]+)`", names)}
    if not codes:
        raise BenchError(f"{architecture}: expected a table of error codes, found none")
    return codes


class Checker:
    """Compares outcomes with what is right.

    Args:
        codes: status by error code.
        controls: label and score of each control text.
        nginx: whether nginx is in front; without it, gunicorn answers what is not HTTP with a page in HTML.
    """

    def __init__(self, codes: Mapping[str, int], controls: list[tuple[str, float]], *, nginx: bool = True) -> None:
        self._codes = codes
        self._controls = controls
        self._nginx = nginx

    def check(self, request: Hostile, outcome: Outcome) -> tuple[str, list[str]]:
        """Return the code of the first response, and the problems of the exchange, a sentence each."""
        problems = [outcome.problem] if outcome.problem else []
        if _LEAKS.search(outcome.raw):
            problems.append(f"the server sent a part of the program: {outcome.raw[:300]!r}")
        if not outcome.responses:
            return ("raw" if outcome.raw else "none"), problems
        first, *others = outcome.responses
        code = self._check_first(request, first, problems)
        for response in others:
            # The answer to the follow-up: the server knew where it begins. It may also find it malformed.
            found = self._code(response, problems)
            if found not in (OK, "bad_request", _HTML):
                problems.append(f"the follow-up got {response.status} {found}")
        if len(others) > 1:
            problems.append(f"expected at most 2 responses, got {len(outcome.responses)}")
        for response in outcome.responses:
            self._check_marks(request, response, problems)
        return code, problems

    def _check_first(self, request: Hostile, response: Response, problems: list[str]) -> str:
        if request.method == "HEAD":
            statuses = {self._codes.get(code, 200) for code in request.codes}
            if response.status not in statuses and ANY not in request.codes:
                problems.append(f"expected one of {sorted(statuses)}, got {response.status}")
            return str(response.status)
        code = self._code(response, problems)
        by_design = code in _ALLOWED_5XX and code != "quota_exceeded"
        codes = request.codes | ({_HTML} if request.codes & {ANY, "bad_request"} else set())
        is_right = code in codes or by_design or (ANY in codes and response.status < 500)
        if not is_right:
            problems.append(
                f"expected {' or '.join(sorted(request.codes))}, got {response.status} {code}: {response.body[:200]!r}"
            )
        if request.control >= 0 and code == OK:
            self._check_control(request.control, response, problems)
        found_id = response.headers.get(b"x-request-id", b"")
        own = f"h-{request.index}".encode()
        # nginx refuses a bad request line before it reads the headers.
        is_early = code in ("bad_request", "uri_too_long", _HTML) and not found_id.startswith(b"h-")
        if request.way is Way.SHARED and found_id != own and not is_early:
            problems.append(f"expected the X-Request-Id {own!r}, got {found_id!r}: another request's answer")
        return code

    def _code(self, response: Response, problems: list[str]) -> str:
        """Return the error code of a response, OK for none, _HTML for a page of gunicorn."""
        kind = response.headers.get(b"content-type", b"")
        if response.status in (200, 201):
            return OK
        if not self._nginx and response.status in _GUNICORN_STATUSES and kind == b"text/html":
            return _HTML
        if response.status < 400:
            problems.append(f"expected no redirect, got {response.status}")
            return str(response.status)
        try:
            body = json.loads(response.body)
            code, message = body["error"]["code"], body["error"]["message"]
            is_error = body.keys() == {"error"} and body["error"].keys() == {"code", "message"}
        except (ValueError, KeyError, TypeError, AttributeError):
            is_error, code, message = False, "", ""
        if not is_error or kind != b"application/json" or not isinstance(message, str) or not message:
            problems.append(
                f"expected an error in JSON with status {response.status}, got {kind!r} {response.body[:200]!r}"
            )
            return str(response.status)
        if self._codes.get(code) != response.status:
            problems.append(f"expected a code of docs/architecture.md with its status, got {response.status} {code}")
        if response.status >= 500 and code not in _ALLOWED_5XX:
            problems.append(f"the server failed: {response.status} {code}")
        return str(code)

    def _check_control(self, number: int, response: Response, problems: list[str]) -> None:
        label, score = self._controls[number]
        try:
            body = json.loads(response.body)
            is_right = body["label"] == label and abs(body["score"] - score) <= _SCORE_TOLERANCE
        except (ValueError, KeyError, TypeError):
            is_right = False
        if not is_right:
            problems.append(f"control {number}: expected {label} {score}, got {response.body[:300]!r}")

    def _check_marks(self, request: Hostile, response: Response, problems: list[str]) -> None:
        content = response.body + b"\n".join(response.headers.values())
        if found := _LEAKS.search(content):
            problems.append(f"a response contains {found[0]!r}: {response.body[:300]!r}")
        if strangers := {int(index) for index in _CANARY.findall(content)} - {request.index}:
            problems.append(f"a response contains the text of request {min(strangers)}")
        if b"smuggled-" in content:
            problems.append("the server answered a smuggled request")


def check_log(content: bytes) -> tuple[list[str], list[str]]:
    """Return the problems of a server's log, and its lines that are not of the access log."""
    problems: list[str] = []
    others: list[str] = []
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        shown = line[:300].decode("utf-8", "replace")
        if _CANARY.search(line):
            problems.append(f"a log line contains a user's text: {shown}")
        elif line.startswith(b"{"):
            problems += _log_line_problems(line, shown)
        else:
            others.append(shown)
            if re.search(rb'Traceback|  File "| ERROR | CRITICAL |\[crit\]|\[alert\]|\[emerg\]', line):
                problems.append(f"the log has an error: {shown}")
    return problems, others


def check_metrics(text: str, codes: Collection[str]) -> list[str]:
    """Return the problems of a server's /metrics: labels that clients made up, or too many series."""
    found = set(re.findall(r'^textclf_errors_total\{code="([^"]*)"', text, re.MULTILINE))
    problems = [f"/metrics has an undocumented code: {code}" for code in sorted(found - set(codes))]
    series = sum(bool(line) and line[0] != "#" for line in text.splitlines())
    if not 0 < series <= _MAX_SERIES:
        problems.append(f"expected 1 to {_MAX_SERIES} series in /metrics, found {series}")
    return problems


def _log_line_problems(line: bytes, shown: str) -> list[str]:
    try:
        fields: dict[str, Any] = json.loads(line)
    except ValueError:
        return [f"a log line is not JSON: {shown}"]
    found = []
    if missing := _LOG_FIELDS - fields.keys():
        found.append(f"a log line lacks {', '.join(sorted(missing))}: {shown}")
    if "text" in fields:
        found.append(f"a log line contains a text: {shown}")
    if str(fields.get("request_id", "")).startswith("smuggled-"):
        found.append(f"a smuggled request reached a worker: {shown}")
    if fields.get("status", 0) >= 500 and fields.get("error") not in _ALLOWED_5XX:
        found.append(f"a request failed: {shown}")
    return found


def growth_per_100k(samples: list[tuple[int, float]]) -> float:
    """Return the growth of memory in bytes per 100,000 requests, after a fifth of the samples.

    It is 0 if less than 50,000 requests are left: memory grows until all shapes of batches were seen.
    """
    kept = samples[len(samples) // 5 :]
    if not kept or kept[-1][0] - kept[0][0] < _MIN_REQUESTS:
        return 0.0
    mean_x = sum(x for x, _ in kept) / len(kept)
    mean_y = sum(y for _, y in kept) / len(kept)
    spread = sum((x - mean_x) ** 2 for x, _ in kept)
    return 1e5 * sum((x - mean_x) * (y - mean_y) for x, y in kept) / spread if spread else 0.0
