"""Requests that a server must reject, with status and code: one table for the app, gunicorn and nginx.

The cases hold for the default settings without a key, and a model with the classes neg and pos.
"""

import gzip
import io
import json
import socket
import zlib
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
CSV = "text/csv"
LINES = "application/jsonlines"
MAX_BODY = 2 * 1024**2
MAX_CHARS = 100_000
MAX_BATCH = 1000


@dataclass(frozen=True)
class Case:
    """Request as it goes over the wire, and the expected response.

    Attributes:
        name: name of the defect.
        path, method, headers, body: parts of the request; Host and Content-Length are added.
        status: status of the response.
        code: error code of the response; "" for a response without a body.
        says: text that the message must contain.
        announced: Content-Length, if it differs from that of the body.
        chunk: size of the chunks of the body; 0 sends it whole, with its length.
        answer_headers: header names of the response, and text that they must contain.
        through_proxy: False if a proxy does not pass on the request unchanged.
    """

    name: str
    path: str
    body: bytes
    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)
    method: str = "POST"
    says: str = ""
    announced: int | None = None
    chunk: int = 0
    answer_headers: tuple[tuple[str, str], ...] = ()
    through_proxy: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def wire(self) -> bytes:
        """Return the whole request in bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.chunk:
            lines.append("Transfer-Encoding: chunked")
            parts = [body[at : at + self.chunk] for at in range(0, len(body), self.chunk)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        elif self.method not in ("GET", "HEAD") or body:
            lines.append(f"Content-Length: {len(body) if self.announced is None else self.announced}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def environ(self) -> dict[str, Any]:
        """Return the request as a WSGI environment."""
        names = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers:
            key = names.get(name.lower(), f"HTTP_{name.upper().replace('-', '_')}")
            environ[key] = value
        if self.chunk:
            environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        elif self.method not in ("GET", "HEAD") or self.body:
            environ["CONTENT_LENGTH"] = str(len(self.body) if self.announced is None else self.announced)
        return environ

    def check(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Fail unless this is the expected response; header names are in lower case."""
        assert status == self.status, f"{self.name}: {status} {body[:300]!r}"
        for name, value in self.answer_headers:
            assert value in headers.get(name.lower(), ""), f"{self.name}: {headers}"
        if not self.code:
            assert body == b"", self.name
            return
        assert headers["content-type"] == JSON, self.name
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message"}, self.name
        assert error["code"] == self.code, f"{self.name}: {error}"
        assert self.says in error["message"], f"{self.name}: {error}"
        assert "Traceback" not in error["message"], self.name
        assert len(body) < 2000, self.name


def send(case: Case, host: str, port: int, seconds: float = 20) -> tuple[int, dict[str, str], bytes]:
    """Send a case to a server; return status, headers (names in lower case) and body of the response."""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        try:
            connection.sendall(case.wire())
            if case.announced is not None:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # A server may respond before it has read everything.
        answer = rest_of(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return int(first.split()[1]), headers, body


def rest_of(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    content = b""
    while block := connection.recv(65536):
        content += block
    return content


def _joined(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        body += chunks[: int(size, 16)]
        chunks = chunks[int(size, 16) + 2 :]
    return body


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _of(name: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", name),)


def _packed(body: bytes, content_type: str = JSON, encoding: str = "gzip") -> dict[str, Any]:
    return {"body": body, "headers": (("Content-Type", content_type), ("Content-Encoding", encoding))}


GOOD = _json({"text": "good"})
_BOMB = gzip.compress(b" " * 100 * 1024**2)
_GZIPPED = gzip.compress(GOOD)
_MEMBER = gzip.compress(b"")

_PREDICT: list[tuple[str, bytes, int, str, str]] = [
    # Name, body, status, code, words of the message.
    ("no body", b"", 400, "empty_body", ""),
    ("not JSON", b"good film", 400, "invalid_json", ""),
    ("JSON cut short", b'{"text": "go', 400, "invalid_json", ""),
    ("two JSON values", b'{"text": "a"} {"text": "b"}', 400, "invalid_json", ""),
    ("single quotes", b"{'text': 'good'}", 400, "invalid_json", ""),
    ("trailing comma", b'{"text": "good",}', 400, "invalid_json", ""),
    ("line break in a string", b'{"text": "go\nod"}', 400, "invalid_json", ""),
    ("only blanks", b"  \n", 400, "invalid_json", ""),
    ("NaN", b'{"text": NaN}', 400, "invalid_json", "NaN"),
    ("Infinity", b'{"text": Infinity}', 400, "invalid_json", "Infinity"),
    ("minus Infinity", b'{"X": [-Infinity]}', 400, "invalid_json", "Infinity"),
    ("number of 5000 digits", b'{"text": ' + b"9" * 5000 + b"}", 400, "invalid_json", ""),
    ("lists 100000 deep", b"[" * 100_000 + b"]" * 100_000, 400, "invalid_json", "nested"),
    ("objects 100000 deep", b'{"text":' * 100_000 + b"1" + b"}" * 100_000, 400, "invalid_json", "nested"),
    ("lists 500 deep", b'{"text":' + b"[" * 500 + b"]" * 500 + b"}", 422, "wrong_shape", "text"),
    ("not UTF-8", b'{"text": "g\xf6od"}', 400, "invalid_utf8", "byte 11"),
    ("UTF-16", '{"text": "good"}'.encode("utf-16"), 400, "invalid_utf8", ""),
    ("UTF-8 of a surrogate", b'{"text": "\xed\xa0\x80"}', 400, "invalid_utf8", ""),
    ("overlong UTF-8", b'{"text": "\xc0\xaf"}', 400, "invalid_utf8", ""),
    ("NUL outside of a string", b'{"text"\x00: "good"}', 400, "invalid_json", ""),
    ("raw NUL in a string", b'{"text": "go\x00od"}', 400, "invalid_json", ""),
    ("top level list", _json(["good"]), 422, "wrong_shape", "object"),
    ("top level string", _json("good"), 422, "wrong_shape", "a string"),
    ("top level number", b"3", 422, "wrong_shape", "a number"),
    ("top level null", b"null", 422, "wrong_shape", "null"),
    ("top level true", b"true", 422, "wrong_shape", "a boolean"),
    ("empty object", b"{}", 422, "wrong_shape", "none"),
    ("misspelt key", _json({"txt": "good"}), 422, "wrong_shape", "'txt'"),
    ("key of another case", _json({"Text": "good"}), 422, "wrong_shape", "'Text'"),
    ("key too many", _json({"text": "good", "lang": "en"}), 422, "wrong_shape", "'lang'"),
    ("text and X", _json({"text": "good", "X": ["good"]}), 422, "wrong_shape", "text and X"),
    ("data", _json({"data": "good"}), 422, "wrong_shape", "'data'"),
    ("key twice", b'{"text": "good", "text": "bad"}', 422, "duplicate_key", ""),
    ("text null", _json({"text": None}), 422, "wrong_shape", "null"),
    ("text number", _json({"text": 3}), 422, "wrong_shape", "a number"),
    ("text true", _json({"text": True}), 422, "wrong_shape", "a boolean"),
    ("text list", _json({"text": ["good"]}), 422, "wrong_shape", "a list"),
    ("text object", _json({"text": {"a": 1}}), 422, "wrong_shape", "an object"),
    ("X string", _json({"X": "good"}), 422, "wrong_shape", "a string"),
    ("X null", _json({"X": None}), 422, "wrong_shape", "null"),
    ("X object", _json({"X": {"0": "good"}}), 422, "wrong_shape", "an object"),
    ("X empty", _json({"X": []}), 422, "empty_list", "X"),
    ("X with a number", _json({"X": ["good", "bad", 3]}), 422, "wrong_shape", "X[2]"),
    ("X with null", _json({"X": [None, "good"]}), 422, "wrong_shape", "X[0]"),
    ("X with a list", _json({"X": ["good", ["bad"]]}), 422, "wrong_shape", "X[1]"),
    ("X with a surrogate", b'{"X": ["good", "\\ud83d"]}', 422, "invalid_text", "X[1]"),
    ("X with 1001 texts", _json({"X": ["good"] * 1001}), 422, "too_many_texts", "1001"),
    ("X with 10000 texts", _json({"X": ["good"] * 10_000}), 422, "too_many_texts", "at most 1000"),
    ("X with a long text", _json({"X": ["a", "x" * (MAX_CHARS + 1)]}), 422, "text_too_long", "X[1]"),
    ("long text", _json({"text": "x" * (MAX_CHARS + 1)}), 422, "text_too_long", "100001"),
    ("lone surrogate", b'{"text": "half \\ud83d of it"}', 422, "invalid_text", "character 5"),
    ("lone low surrogate", b'{"text": "\\ude00"}', 422, "invalid_text", "character 0"),
    ("surrogates the wrong way round", b'{"text": "\\ude00\\ud83d"}', 422, "invalid_text", ""),
    ("10 MB", _json({"text": "x" * 10_000_000}), 413, "body_too_large", ""),
    ("one byte too many", b" " * (MAX_BODY + 1), 413, "body_too_large", ""),
]

_INVOCATIONS: list[tuple[str, str, bytes, int, str, str]] = [
    ("data number", JSON, _json({"data": 3}), 422, "wrong_shape", "a number"),
    ("data null", JSON, _json({"data": None}), 422, "wrong_shape", "null"),
    ("data empty", JSON, _json({"data": []}), 422, "empty_list", "data"),
    ("data with a number", JSON, _json({"data": ["good", 1.5]}), 422, "wrong_shape", "data[1]"),
    ("data and text", JSON, _json({"data": "a", "text": "a"}), 422, "wrong_shape", "text and data"),
    ("all three", JSON, _json({"data": "a", "text": "a", "X": ["a"]}), 422, "wrong_shape", ""),
    ("explain as a string", JSON, _json({"data": "good", "explain": "true"}), 422, "wrong_shape", "explain"),
    ("explain as a number", JSON, _json({"data": "good", "explain": 1}), 422, "wrong_shape", "explain"),
    ("explain null", JSON, _json({"data": "good", "explain": None}), 422, "wrong_shape", "null"),
    ("explain beside text", JSON, _json({"text": "good", "explain": False}), 422, "wrong_shape", "explain"),
    ("explain true next to X", JSON, _json({"X": ["good"], "explain": True}), 422, "wrong_shape", "/explain"),
    ("explain data number", JSON, _json({"data": 3, "explain": True}), 422, "wrong_shape", "data"),
    ("explain alone", JSON, _json({"explain": False}), 422, "wrong_shape", "none"),
    ("CSV empty", CSV, b"", 400, "empty_body", ""),
    ("CSV two fields", CSV, b"good\ngood,bad\n", 422, "wrong_shape", "record 1"),
    ("CSV open quote", CSV, b'good\n"bad\n', 400, "invalid_csv", "record 1"),
    ("CSV text after a quote", CSV, b'"good" film\n', 400, "invalid_csv", "record 0"),
    ("CSV not UTF-8", CSV, b"g\xf6od\n", 400, "invalid_utf8", ""),
    ("CSV long text", CSV, b"good\n" + b"x" * (MAX_CHARS + 1), 422, "text_too_long", "record[1]"),
    ("CSV 1001 texts", CSV, b"good\n" * 1001, 422, "too_many_texts", "1000"),
    ("CSV 1000000 texts", CSV, b"a\n" * 10**6, 422, "too_many_texts", "1000"),
    ("CSV Latin-1", "text/csv; charset=iso-8859-1", b"g\xf6od\n", 415, "unsupported_media_type", "iso-8859-1"),
    ("lines blank", LINES, b"\n\n", 422, "empty_list", ""),
    ("lines not JSON", LINES, b'{"text": "good"}\ngood\n', 400, "invalid_json", "line 1"),
    ("lines with a gap", LINES, b'{"text": "good"}\n\n{"text": "bad"}\n', 400, "invalid_json", "line 1"),
    ("lines of strings", LINES, b'"good"\n', 422, "wrong_shape", "line 0"),
    ("lines with a number", LINES, b'{"text": "good"}\n{"text": 3}\n', 422, "wrong_shape", "line[1]"),
    ("lines with another key", LINES, b'{"review": "good"}\n', 422, "wrong_shape", "'review'"),
    ("lines with two keys", LINES, b'{"text": "good", "data": "good"}\n', 422, "wrong_shape", "line 0"),
    ("lines with a key twice", LINES, b'{"text": "good", "text": "bad"}\n', 422, "duplicate_key", ""),
    ("lines 1001 texts", LINES, b'{"text": "good"}\n' * 1001, 422, "too_many_texts", "1001"),
    ("lines 100000 texts", LINES, b'{"text":"good"}\n' * 10**5, 422, "too_many_texts", "100000"),
    ("lines surrogate", LINES, b'{"text": "\\udc00"}', 422, "invalid_text", "line[0]"),
]

_EXPLAIN: list[tuple[str, Any, int, str, str]] = [
    ("data", {"data": "good"}, 422, "wrong_shape", "'data'"),
    ("explain", {"text": "good", "explain": True}, 422, "wrong_shape", "'explain'"),
    ("nothing", {}, 422, "wrong_shape", "none"),
    ("text and X", {"text": "good", "X": ["good"]}, 422, "wrong_shape", "text and X"),
    ("text number", {"text": 3}, 422, "wrong_shape", "a number"),
    ("X string", {"X": "good"}, 422, "wrong_shape", "a string"),
    ("X empty", {"X": []}, 422, "empty_list", "X"),
    ("X with null", {"X": ["good", None]}, 422, "wrong_shape", "X[1]"),
    ("X with 1001 texts", {"X": ["good"] * 1001}, 422, "too_many_texts", "1001"),
    ("long text", {"text": "x" * (MAX_CHARS + 1)}, 422, "text_too_long", "100001"),
    ("lone surrogate", {"text": "a\ud83d"}, 422, "invalid_text", "text"),
    ("classes string", {"text": "good", "classes": "pos"}, 422, "wrong_shape", "a string"),
    ("classes null", {"text": "good", "classes": None}, 422, "wrong_shape", "null"),
    ("classes empty", {"text": "good", "classes": []}, 422, "empty_list", "classes"),
    ("classes with a number", {"text": "good", "classes": ["pos", 1]}, 422, "wrong_shape", "classes[1]"),
    ("classes with a surrogate", {"text": "good", "classes": ["\ud83d"]}, 422, "invalid_text", "classes[0]"),
    ("unit unknown", {"text": "good", "unit": "percent"}, 422, "wrong_shape", "probability or logit"),
    ("unit of another case", {"text": "good", "unit": "Logit"}, 422, "wrong_shape", "'Logit'"),
    ("unit null", {"text": "good", "unit": None}, 422, "wrong_shape", "null"),
    ("unit list", {"text": "good", "unit": ["logit"]}, 422, "wrong_shape", "a list"),
    ("format unknown", {"text": "good", "format": "shap"}, 422, "wrong_shape", "textclf or clarify"),
    ("format number", {"text": "good", "format": 1}, 422, "wrong_shape", "a number"),
    ("evaluations 1", {"text": "good", "max_evaluations": 1}, 422, "wrong_shape", "from 2 to"),
    ("evaluations negative", {"text": "good", "max_evaluations": -5}, 422, "wrong_shape", "got -5"),
    ("evaluations too many", {"text": "good", "max_evaluations": 10**9}, 422, "wrong_shape", "EXPLAIN_MAX_EVALUATIONS"),
    (
        "evaluations of 4000 digits",
        {"text": "good", "max_evaluations": 10**3999},
        422,
        "wrong_shape",
        "max_evaluations",
    ),
    ("evaluations with a fraction", {"text": "good", "max_evaluations": 9.5}, 422, "wrong_shape", "got 9.5"),
    ("evaluations of 1e300", {"text": "good", "max_evaluations": 1e300}, 422, "wrong_shape", "got 1e+300"),
    ("evaluations true", {"text": "good", "max_evaluations": True}, 422, "wrong_shape", "a boolean"),
    ("evaluations string", {"text": "good", "max_evaluations": "9"}, 422, "wrong_shape", "a string"),
    ("evaluations null", {"text": "good", "max_evaluations": None}, 422, "wrong_shape", "null"),
]

_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_HEADERS: list[tuple[str, str, bytes, str, str]] = [
    ("value unknown", JSON, _json({"data": "good"}), "explain=maybe", "'maybe'"),
    ("value empty", CSV, b"good", "explain=", "''"),
    ("1025 characters", JSON, _json({"data": "good"}), "x" * 1025, "1025"),
    ("not ASCII", JSON, _json({"data": "good"}), "trace=\xe9", "got '\xe9'"),
    ("explain twice", JSON, _json({"data": "good"}), "explain=true,explain=true", "twice"),
    ("explain with text", JSON, _json({"text": "good"}), "explain=true", "/explain"),
    ("explain with X", JSON, _json({"X": ["good"]}), "trace=1,explain=clarify", "/explain"),
]

_FEEDBACK: list[tuple[str, Any, int, str, str]] = [
    ("no label", {"text": "good"}, 422, "wrong_shape", "label"),
    ("no text", {"label": "pos"}, 422, "wrong_shape", "text"),
    ("unknown label", {"text": "good", "label": "neutral"}, 422, "unknown_label", "neg, pos"),
    ("label that is a path", {"text": "good", "label": "../pos"}, 422, "unknown_label", ""),
    ("label that is a number", {"text": "good", "label": 1}, 422, "wrong_shape", "a number"),
    ("label empty", {"text": "good", "label": ""}, 422, "unknown_label", ""),
    ("label with NUL", {"text": "good", "label": "pos\0"}, 422, "unknown_label", ""),
    ("blank review", {"text": " \n\t", "label": "pos"}, 422, "blank_text", "text"),
    ("empty review", {"text": "", "label": "pos"}, 422, "blank_text", "text"),
    ("invisible review", {"text": "\u200b\ufeff\x00\u00ad\u0301", "label": "pos"}, 422, "blank_text", "text"),
    ("long review", {"text": "x" * (MAX_CHARS + 1), "label": "pos"}, 422, "text_too_long", "text"),
    ("review with a surrogate", {"text": "a\ud83d", "label": "pos"}, 422, "invalid_text", "text"),
    ("audit as a string", {"text": "good", "label": "pos", "audit": "false"}, 422, "wrong_shape", "audit"),
    ("audit null", {"text": "good", "label": "pos", "audit": None}, 422, "wrong_shape", "audit"),
    ("source number", {"text": "good", "label": "pos", "source": 3}, 422, "wrong_shape", "source"),
    ("source long", {"text": "good", "label": "pos", "source": "x" * 201}, 422, "text_too_long", "source"),
    ("source with a surrogate", {"text": "good", "label": "pos", "source": "\ud83d"}, 422, "invalid_text", "source"),
    ("review with an id", {"text": "good", "label": "pos", "id": "x"}, 422, "wrong_shape", "'id'"),
    ("list of reviews", [{"text": "good", "label": "pos"}], 422, "wrong_shape", "a list"),
]

_TYPES = (
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", CSV, LINES,
    "application/xml", "application/json; charset=latin-1", "application/json; charset=utf-16", "json", "*/*", ";",
)  # fmt: skip

CASES: list[Case] = [
    *(Case(name, "/predict", body, status, code, says=says) for name, body, status, code, says in _PREDICT),
    *(
        Case(name, "/invocations", body, status, code, _of(kind), says=says)
        for name, kind, body, status, code, says in _INVOCATIONS
    ),
    *(
        Case(f"feedback {name}", "/feedback", _json(body), status, code, says=says)
        for name, body, status, code, says in _FEEDBACK
    ),
    *(
        Case(f"explain {name}", "/explain", _json(body), status, code, says=says)
        for name, body, status, code, says in _EXPLAIN
    ),
    *(
        Case(f"header {name}", "/invocations", body, 422, "wrong_shape", (*_of(kind), (_ATTRIBUTES, given)), says=says)
        for name, kind, body, given, says in _HEADERS
    ),
    *(
        Case(f"content type {kind!r}", "/predict", GOOD, 415, "unsupported_media_type", _of(kind)) for kind in _TYPES
    ),
    Case("no content type", "/predict", GOOD, 415, "unsupported_media_type", ()),
    Case("CSV for a score", "/invocations/predict", b"good", 415, "unsupported_media_type", _of(CSV)),
    Case("CSV for an explanation", "/explain", b"good", 415, "unsupported_media_type", _of(CSV)),
    Case("lines for an explanation", "/explain", b'{"text": "good"}', 415, "unsupported_media_type", _of(LINES)),
    Case("no JSON for an explanation", "/explain", b"good", 400, "invalid_json"),
    Case("no body for an explanation", "/explain", b"", 400, "empty_body"),
    Case("GET of explain", "/explain", b"", 405, "method_not_allowed", (), "GET", answer_headers=(("Allow", "POST"),)),
    Case("CSV for feedback", "/feedback", b"good", 415, "unsupported_media_type", _of(CSV)),
    Case("X for a score", "/invocations/predict", _json({"X": ["good"]}), 422, "wrong_shape", says="'X'"),
    Case("text number for a score", "/invocations/predict", _json({"text": 3}), 422, "wrong_shape", says="text"),
    # Content encodings
    Case("gzip that is none", "/predict", status=400, code="invalid_gzip", **_packed(GOOD)),
    Case("gzip cut short", "/predict", status=400, code="invalid_gzip", **_packed(_GZIPPED[:-6])),
    Case("gzip with a wrong checksum", "/predict", status=400, code="invalid_gzip",
         **_packed(_GZIPPED[:-8] + b"\0\0\0\0" + _GZIPPED[-4:])),
    Case("gzip and rubbish", "/predict", status=400, code="invalid_gzip", **_packed(_GZIPPED + b"rubbish")),
    Case("zlib for gzip", "/predict", status=400, code="invalid_gzip", **_packed(zlib.compress(GOOD))),
    Case("empty gzip", "/predict", status=400, code="empty_body", **_packed(gzip.compress(b""))),
    Case("no bytes as gzip", "/predict", status=400, code="empty_body", **_packed(b"")),
    Case("gzip of no JSON", "/predict", status=400, code="invalid_json", **_packed(gzip.compress(b"good"))),
    Case("gzip twice", "/predict", status=400, code="invalid_utf8", **_packed(gzip.compress(_GZIPPED))),
    Case("gzip bomb", "/predict", status=413, code="body_too_large", **_packed(_BOMB)),
    Case("gzip bomb of many members", "/predict", status=413, code="body_too_large",
         **_packed(gzip.compress(b" " * 1024**2) * 100)),
    Case("gzip of 100000 empty members", "/predict", status=400, code="invalid_gzip", **_packed(_MEMBER * 100_000)),
    Case("gzip of 101 members", "/predict", status=400, code="invalid_gzip", says="100",
         **_packed(_GZIPPED + _MEMBER * 100)),
    Case("gzip bomb of lines", "/invocations", status=413, code="body_too_large", **_packed(_BOMB, LINES)),
    Case("deflate", "/predict", status=415, code="unsupported_encoding", answer_headers=(("Accept-Encoding", "gzip"),),
         **_packed(zlib.compress(GOOD), encoding="deflate")),
    Case("brotli", "/predict", status=415, code="unsupported_encoding", **_packed(GOOD, encoding="br")),
    Case("two encodings", "/predict", status=415, code="unsupported_encoding", **_packed(GOOD, encoding="gzip, gzip")),
    # Lengths
    Case("chunks over the limit", "/predict", b" " * (MAX_BODY + 1), 413, "body_too_large", chunk=65_536),
    Case("10 MB in chunks", "/predict", b" " * 10_000_000, 413, "body_too_large", chunk=65_536),
    Case("chunks of no JSON", "/predict", b"good film", 400, "invalid_json", chunk=4),
    Case("body shorter than announced", "/predict", GOOD, 400, "incomplete_body", announced=len(GOOD) + 10,
         through_proxy=False),
    Case("much announced, little sent", "/predict", GOOD, 413, "body_too_large", announced=10**9, through_proxy=False),
    Case("body longer than announced", "/predict", GOOD + b"x" * 10, 400, "invalid_json", announced=len(GOOD) - 1,
         through_proxy=False),
    # Paths and methods
    Case("no such path", "/nothing", GOOD, 404, "not_found"),
    Case("folder of files", "/page/", b"", 404, "not_found", (), "GET"),
    Case("slash at the end", "/predict/", GOOD, 404, "not_found"),
    Case("two slashes", "/invocations//predict", GOOD, 404, "not_found"),
    Case("path of another case", "/Predict", GOOD, 404, "not_found"),
    Case("path into the files", "/static/../../etc/passwd", b"", 404, "not_found", (), "GET", through_proxy=False),
    Case("path that is not UTF-8", "/%ff%fe", b"", 404, "not_found", (), "GET"),
    Case("GET of predict", "/predict?text=good", b"", 405, "method_not_allowed", (), "GET",
         answer_headers=(("Allow", "POST"),)),
    Case("HEAD of predict", "/predict", b"", 405, "", (), "HEAD", answer_headers=(("Allow", "POST"),)),
    Case("PUT of predict", "/predict", GOOD, 405, "method_not_allowed", method="PUT",
         answer_headers=(("Allow", "POST"),)),
    Case("DELETE of feedback", "/feedback", b"", 405, "method_not_allowed", (), "DELETE",
         answer_headers=(("Allow", "POST"),)),
    Case("POST of ping", "/ping", GOOD, 405, "method_not_allowed", answer_headers=(("Allow", "GET"),)),
    Case("POST of metrics", "/metrics", b"", 405, "method_not_allowed", (), answer_headers=(("Allow", "GET"),)),
    Case("PATCH of invocations", "/invocations", GOOD, 405, "method_not_allowed", method="PATCH",
         answer_headers=(("Allow", "POST"),)),
]  # fmt: skip
