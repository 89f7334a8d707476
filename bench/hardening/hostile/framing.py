"""Hostile HTTP: request lines, headers, paths, methods, keys, smuggling, chunks, and clients that go away."""

import json
from collections.abc import Callable

from bench.hardening.hostile.bodies import text_of
from bench.hardening.hostile.request import ANY, BUSY, JSON, OK, Hostile, Maker, Way

GETS = ("/ping", "/health/live", "/health/ready", "/health_check", "/info", "/openapi.json")
POSTS = ("/predict", "/invocations", "/invocations/predict", "/feedback")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
_TARGETS = (
    "/a%20/.nginx/{0}", "/%2e%6eginx/{0}",
    "//", "//{0}", "/{0}/", "/./{0}", "/x/../{0}", "/%2e/{0}", "/%2e%2e/{0}", "/..%2f{0}", "/{0}%00",
    "/{0}%0d%0aX:%20y",
    "/%c0%af{0}", "/%ff{0}", "/{0};x=1", "/{0}.json", "/{0}%2f", "/{0}//", "/{0}%20", "/static/../{0}", "/%252e/{0}",
    "/{0}%", "/%%{0}", "/%u0041{0}", "/{0}#x", "/.nginx/{0}", "/..", "/../../../../etc/passwd", "*", "/{0}\\",
    "/~{0}",
    "/\xe9{0}", "/{0}/" + "a/" * 500, "/" + "%61" * 300, "http://localhost/{0}", "http://other.example/{0}",
    "/favicon.ico",
)  # fmt: skip
_JUNK = ("\0", "\r", "\x0b", "\x7f", "\xff", "\x01")


def gets(make: Maker) -> Hostile:
    """A GET route as documented, or with HEAD."""
    method = make.random.choice(("GET", "GET", "HEAD"))
    return make.get(make.random.choice(GETS), OK, method=method)


def metrics(make: Maker) -> Hostile:
    """The metrics."""
    return make.get("/metrics", OK)


def methods(make: Maker) -> Hostile:
    """A method that the route does not have."""
    path = make.random.choice((*GETS, *POSTS, "/metrics"))
    allowed = ("POST", "OPTIONS") if path in POSTS else ("GET", "HEAD", "OPTIONS")
    method = make.random.choice([method for method in _METHODS if method not in allowed])
    if method in ("POST", "PUT", "PATCH"):
        return make.post(path, json.dumps({"text": text_of(make)}).encode(), "method_not_allowed", method=method)
    return make.get(path, "method_not_allowed", method=method)


def odd_methods(make: Maker) -> Hostile:
    """OPTIONS, TRACE, CONNECT and invented methods."""
    method = make.random.choice(("OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Post", "X" * 5000, "G-T", "PRI"))
    codes = ("bad_request", "method_not_allowed", "not_found", "uri_too_long", BUSY, OK)
    return make.done(make.get(make.random.choice(GETS), method=method).parts, *codes, method=method, way=Way.ALONE)


def paths(make: Maker) -> Hostile:
    """A spelling of a path that is no route; without the key, so that no spelling may get past it."""
    route = make.random.choice((*GETS, *POSTS, "/metrics"))[1:]
    path = make.random.choice(_TARGETS).format(route)
    if make.random.random() < 0.2:
        at = make.random.randrange(len(route))
        path = f"/{route[:at]}%{ord(route[at]):02x}{route[at + 1 :]}"
    codes = ["not_found", "bad_request", "method_not_allowed", "uri_too_long", BUSY]
    codes += ["unauthorized"] if make.world.key else []
    codes += [OK] if route != "metrics" or not make.world.key else []
    if path[0] != "/" or "\\" in path or "#" in path or "\xe9" in path:
        return make.done(make.get(path, key=False).parts, *codes, way=Way.ALONE)
    return make.get(path, *codes, key=False)


def queries(make: Maker) -> Hostile:
    """A query that no route reads; it may contain a text, which no log line may."""
    query = make.random.choice(
        ("text={0}", "?{0}", "%00{0}", "&&&={0}", "x=%ff{0}", "api_key={0}", "{0}" * 200, "<script>{0}")
    )
    path = make.random.choice(GETS)
    return make.get(f"{path}?{query.format(make.canary)}", OK, "bad_request", "uri_too_long")


def keys(make: Maker) -> Hostile:
    """No key, a wrong one, or several."""
    lines = make.random.choice(
        (
            [],
            ["X-API-Key: "],
            ["X-API-Key: wrong"],
            ["X-API-Key: \xff"],
            ["Authorization: Bearer"],
            ["Authorization: Bearer wrong"],
            ["Authorization: Basic dGVzdDp0ZXN0"],
            ["X-API-Key: " + "k" * 4000],
            ["X-API-Key: wrong", "X-API-Key: also-wrong"],
            ["Authorization: Bearer wrong", "X-API-Key: wrong"],
            ["X_API_Key: wrong"],
        )
    )
    if make.random.random() < 0.4:
        return make.get("/metrics", "unauthorized" if make.world.key else OK, lines=lines, key=False)
    body = json.dumps({"label": 1, "text": 1}).encode()
    return make.post(
        make.random.choice(POSTS), body, "unauthorized" if make.world.key else "wrong_shape", lines=lines, key=False
    )


def good_keys(make: Maker) -> Hostile:
    """The right key in one of its forms; a server without a key ignores it."""
    key = make.world.key or "unused"
    lines = make.random.choice(
        (
            [f"X-API-Key: {key}"],
            [f"Authorization: Bearer {key}"],
            [f"authorization: bearer  {key}"],
            [f"X-API-Key: {key}", f"X-API-Key: {key}"],
            ["X-API-Key: wrong", f"Authorization: Bearer {key}"],
        )
    )
    return make.get("/metrics", OK, lines=lines, key=False)


def request_lines(make: Maker) -> Hostile:
    """A request line that is not HTTP."""
    line = make.random.choice(
        (
            "GET", "GET ", "GET /", "/ HTTP/1.1", "GET  / HTTP/1.1", "GET / HTTP/9.9", "GET / HTTP/1",
            "GET / HTTP/1.10",
            "GET / HTTP/2.0", "GET / http/1.1", "GET / HTTP/1.1 x", "GET\t/\tHTTP/1.1", " GET / HTTP/1.1",
            "GET / HTTP/-1.1",
            "GET /" + make.random.choice(_JUNK) + " HTTP/1.1", "GET ping HTTP/1.1", "GET /ping HTTP/1.0",
            "GET ? HTTP/1.1",
            "GET http:///ping HTTP/1.1", "GET http://[::1/ping HTTP/1.1", "GET /" + "a" * 9000 + " HTTP/1.1",
            "\x16\x03\x01\x02",
            "GET /ping HTTP/1.1\r\r", "G\0T /ping HTTP/1.1", ":", "{}", "GET /ping HTTP/0.9", "POST /predict",
        )
    )  # fmt: skip
    data = f"{line}\r\n".encode("latin-1") + "\r\n".join([*make.headers(), "", ""]).encode()
    return make.done(data, ANY, "raw", way=Way.ALONE, may_be_silent=True)


def header_lines(make: Maker) -> Hostile:
    """A header line that is not HTTP: names, values, line ends, continuation lines."""
    junk = make.random.choice(_JUNK)
    line = make.random.choice(
        (
            ": x", "X", "X Y: z", "X\t: y", " X: y", f"X{junk}: y", f"X: a{junk}b", "X: a\r\n b",
            "X: a\nY: b", "X: a\rY: b",
            "\xe9: x", "X-Y: " + "v" * 9000, "N" * 9000 + ": x", "Host: a\r\nHost: b", "Host:", "Host: a b",
            "Host: [::1",
            "Host: localhost:99999999", "Content-Length", "(): x", "X:" + " " * 5000, "\r\nX: y",
            "X: \xff\xfe", "-: -",
            "Connection: close, keep-alive, X-Request-Id", "Connection: \0", "Upgrade: h2c\r\nConnection: Upgrade",
            "Range: bytes=0-,0-,0-", "If-None-Match: *", "Accept: " + "a," * 2000, "Cookie: " + "a=b;" * 1000,
            "X-Forwarded-For: 1.1.1.1, " + "x" * 500, "Transfer_Encoding: chunked", "Content_Length: 50",
            "X-Request-Id: a b",
            "Proxy: http://other.example/", "X-Original-URL: /metrics", "Forwarded: for=\"[\"",
            "Accept-Encoding: gzip;q=x",
        )
    )  # fmt: skip
    data = make.head("GET", make.random.choice(GETS), [*make.headers(), "@"]).replace(b"@", line.encode("latin-1"), 1)
    return make.done(data, ANY, way=Way.ALONE, may_be_silent="\r\n" in line)


def many_headers(make: Maker) -> Hostile:
    """Up to 1,500 headers, the same or different ones, or many bytes of them."""
    count = make.random.randint(90, 1500)
    lines = [f"X-{0 if make.random.random() < 0.5 else at}: {'v' * make.random.choice((1, 20))}" for at in range(count)]
    return make.done(make.get("/ping", lines=lines).parts, ANY, way=Way.ALONE)


def random_bytes(make: Maker) -> Hostile:
    """Bytes of other protocols, or of none."""
    data = make.random.choice(
        (
            make.random.randbytes(make.random.randint(1, 600)) + b"\r\n\r\n",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + make.random.randbytes(160),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + make.random.randbytes(30),
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\0" * 500 + b"\r\n\r\n",
            b"\r\n" * 200 + b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
        )
    )
    return make.done(data, ANY, "raw", way=Way.ALONE, may_be_silent=True)


def script_names(make: Maker) -> Hostile:
    """Headers that servers may take for variables of the environment, or for instructions of a proxy."""
    name = make.random.choice(
        ("SCRIPT_NAME", "Script-Name", "PATH_INFO", "REMOTE_USER", "wsgi.input", "HTTP_HOST", "SERVER_NAME",
         "SCGI", "REQUEST_URI",
         "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Sendfile", "X-Accel-Redirect", "X-Forwarded-Ssl",
         "Request-Method")
    )  # fmt: skip
    value = make.random.choice(("/x", "/ping", "https", "on", "\xff", "", "/metrics", "../../"))
    data = make.head("GET", make.random.choice(GETS), [*make.headers(), "@"]).replace(
        b"@", f"{name}: {value}".encode("latin-1")
    )
    return make.done(data, ANY, way=Way.ALONE)


def _smuggled(make: Maker) -> bytes:
    return f"GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-Id: {make.smuggled_id}\r\n\r\n".encode()


def _framed(make: Maker, lines: list[str], body: bytes, *codes: str) -> Hostile:
    """A POST whose end depends on the header that counts."""
    head = make.head("POST", make.random.choice((*POSTS, "/nothing")), [*make.headers(f"Content-Type: {JSON}"), "@"])
    head = head.replace(b"@", "\r\n".join(lines).encode("latin-1"))
    return make.done(head + body, *(codes or (ANY,)), method="POST", way=Way.PROBE, may_be_silent=True)


def length_and_chunks(make: Maker) -> Hostile:
    """Both a length and chunks (CL.TE, TE.CL): the smuggled request must not be answered."""
    hidden = _smuggled(make)
    if make.random.random() < 0.5:
        body = b"0\r\n\r\n" + hidden
        lines = [f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"]
    else:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
        lines = ["Content-Length: 4", "Transfer-Encoding: chunked"]
    make.random.shuffle(lines)
    return _framed(make, lines, body)


def odd_codings(make: Maker) -> Hostile:
    """A Transfer-Encoding that two servers may read differently (TE.TE)."""
    value = make.random.choice(
        (
            "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "Transfer-Encoding:\tchunked",
            "Transfer-Encoding: \x0bchunked",
            " Transfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked", "Transfer-Encoding\r\n: chunked",
            "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked;x=1", 'Transfer-Encoding: "chunked"', "Transfer-Encoding: CHUNKED",
            "transfer_encoding: chunked",
            "Transfer-Encoding: chunked\r\n x", "Transfer-Encoding:", "Transfer-Encoding: chunked,", "TE: chunked",
        )
    )  # fmt: skip
    body = b"0\r\n\r\n"
    return _framed(make, [f"Content-Length: {len(body)}", value], body)


def lengths(make: Maker) -> Hostile:
    """A Content-Length that is repeated, negative, huge, or no number."""
    body = b'{"text": 1}'
    size = len(body)
    value = make.random.choice(
        (
            f"Content-Length: {size}\r\nContent-Length: {size}", f"Content-Length: {size}\r\nContent-Length: 0",
            f"Content-Length: {size}, {size}", "Content-Length: -1", f"Content-Length: +{size}",
            f"Content-Length: 0x{size:x}",
            "Content-Length: " + "9" * 30, f"Content-Length: {2**63}", f"Content-Length: {2**32 + size}",
            "Content-Length: 1e3",
            f"Content-Length: {size}.0", "Content-Length: x", "Content-Length:", f"Content-Length: {size} {size}",
            f"Content-Length: 0{size}", f"Content-Length:\t{size}", f"Content-Length : {size}",
            f"Content_Length: {size}",
            "Content-Length: \xb2", f"content-length: {size}\r\nCONTENT-LENGTH: {size + 5}",
        )
    )  # fmt: skip
    return _framed(make, [value], body)


def good_chunks(make: Maker) -> Hostile:
    """A body in chunks of odd sizes, with extensions and trailers, followed by another request."""
    body = json.dumps({"text": 1, "more": make.canary}).encode()
    chunks = b""
    while body:
        size = make.random.randint(1, 9)
        extension = make.random.choice((b"", b"", b";x=y", b";x"))
        digits = make.random.choice((b"%x", b"%X", b"0%x", b"000%x")) % len(body[:size])
        chunks += digits + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = make.random.choice(
        (b"", b"", b"X-Trailer: y\r\n", b"Content-Length: 5\r\n", b"X-Request-Id: smuggled-0\r\n")
    )
    codes = ("wrong_shape", "not_found", "bad_request", "incomplete_body", "too_many_requests")
    return _framed(make, ["Transfer-Encoding: chunked"], chunks + b"0\r\n" + trailers + b"\r\n", *codes)


def broken_chunks(make: Maker) -> Hostile:
    """Chunks that are cut, negative, too long, too large, or end with other bytes."""
    hidden = _smuggled(make)
    body = make.random.choice(
        (
            b"x\r\n", b"-1\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"\r\n\r\n",
            b"1\nx\n0\n\n", b"0\n\n",
            b"ffffffffffffffff\r\nx", b"10000000000000000\r\nx", b"1 \r\nx\r\n0\r\n\r\n",
            b"0x1\r\nx\r\n0\r\n\r\n", b"3\r\nabcX0\r\n\r\n",
            b"+1\r\nx\r\n0\r\n\r\n", b"1_0\r\nx", b"1;" + b"x" * 20_000 + b"\r\nx\r\n0\r\n\r\n",
            b"0\r\nX" + b"y" * 20_000 + b"\r\n\r\n",
            b"1\r\nx\r\n0\r\n\rX" + hidden, b"2\r\nxx" + b"\r\n0\r\n" * 50,
            b"1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n", b"1\r\nx\r\n00\r\n\r\n",
        )
    )  # fmt: skip
    return _framed(make, ["Transfer-Encoding: chunked"], body)


def expectations(make: Maker) -> Hostile:
    """Expect: 100-continue with a body, and unknown expectations."""
    body = json.dumps({"text": 1}).encode()
    value = make.random.choice(("100-continue", "100-Continue", "200-ok", "100-continue, x", ""))
    made = make.post("/predict", body, ANY, lines=[f"Expect: {value}"], way=Way.ALONE)
    head, end, rest = made.parts[0].partition(b"\r\n\r\n")
    return make.done((head + end, rest), ANY, method="POST", way=Way.ALONE, pause=0.02)


def slow_requests(make: Maker) -> Hostile:
    """A request that arrives in pieces with pauses."""
    whole = make.post("/predict", json.dumps({"text": 1, "more": make.canary}).encode()).parts[0]
    cuts = sorted(make.random.sample(range(1, len(whole)), 4))
    parts = tuple(whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    codes = ("wrong_shape", "too_many_requests", "request_timeout")
    return make.done(parts, *codes, method="POST", way=Way.ALONE, pause=make.random.uniform(0.01, 0.15))


def half_requests(make: Maker) -> Hostile:
    """A part of a request; then the client goes away."""
    whole = make.post(make.random.choice(POSTS), json.dumps({"text": text_of(make)}).encode()).parts[0]
    return make.done(whole[: make.random.randrange(1, len(whole))], way=Way.ABORT, may_be_silent=True)


def unread_responses(make: Maker) -> Hostile:
    """Requests whose responses nobody reads."""
    one = make.get(make.random.choice(GETS)).parts[0]
    if make.random.random() < 0.5:
        one = make.post("/predict", json.dumps({"text": text_of(make)}).encode()).parts[0]
    return make.done(one * make.random.randint(1, 5), way=Way.ABORT, may_be_silent=True)


# Functions and their shares in thousandths.
FRAMING: dict[Callable[[Maker], Hostile], float] = {
    gets: 35, metrics: 3, methods: 70, odd_methods: 6, paths: 80, queries: 35, keys: 40,
    good_keys: 3, request_lines: 10,
    header_lines: 12, many_headers: 5, random_bytes: 6, script_names: 6, length_and_chunks: 5,
    odd_codings: 6, lengths: 6,
    good_chunks: 5, broken_chunks: 5, expectations: 3, slow_requests: 3, half_requests: 6, unread_responses: 5,
}  # fmt: skip
