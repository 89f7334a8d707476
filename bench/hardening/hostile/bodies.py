"""Hostile bodies in well-formed HTTP: broken formats, wrong types, sizes over the limits, Unicode, gzip, feedback."""

import gzip
import json
import string
import zlib
from collections.abc import Callable
from typing import Any

from bench.hardening.hostile.request import ANY, CSV, JSON, LINES, OK, Hostile, Maker, Way

# The server of the attack has these limits, so that exceeding them costs little.
MAX_TEXT_CHARS = 5_000
MAX_BATCH = 64
MAX_BODY_BYTES = 256 * 1024
CONTROLS = (
    "A good film, and the cast is good too.",
    "Dull, slow and far too long; I left early.",
    "the film was great",
    "the worst story of the year, and the music is awful",
    "It is a movie about a camera.",
    "Not bad, not good: fine for a rainy evening.",
)
_WORDS = [
    "the",
    "a",
    "film",
    "movie",
    "story",
    "actor",
    "scene",
    "music",
    "was",
    "is",
    "and",
    "but",
    "good",
    "great",
    "bad",
    "awful",
    "dull",
    "long",
    "best",
    "worst",
]
_ROUTES = ("/predict", "/invocations", "/invocations/predict", "/feedback")
_KEY_OF = {"/predict": "text", "/invocations": "data", "/invocations/predict": "text", "/feedback": "text"}
_TYPES = (
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
    "application/json; charset=latin-1", "application/json; charset=utf-16", "application/json; charset=x",
    "json", "*/*", ";", "application/json/json", "application/jsonp", "text/json", "application/x-gzip", "é",
    "application/json; charset=" + "x" * 500, "text/csv; header=present", "application/cbor",
)  # fmt: skip
_ENCODINGS = ("deflate", "br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "x", "identity, gzip", "*", "chunked")
_SCRIPTS = (
    "\ufdfa", "\ufdfb", "e\u0301\u0323\u0308", "\u0300\u0327", "\u202eabc\u202c", "\u0378", "\U000e0041",
    "\u200b\u200d\ufeff", "\u1112\u1161\u11ab",
    "👩\u200d👩\u200d👧", "漢字仮名", "ß", "ﬃ", "İ", "Å", "\U0001d54f", "\ue000", "\ufffe", "ก็็็็", "०१२", "\u3300",
    "\u33ff", "ꙮ",
)  # fmt: skip


def text_of(make: Maker, words: int = 12) -> str:
    """Return a short text with the request's canary."""
    return " ".join([*make.random.choices(_WORDS, k=make.random.randint(1, words)), make.canary])


def _body(make: Maker, route: str, text: Any = None, **more: Any) -> dict[str, Any]:
    body = {_KEY_OF[route]: text_of(make) if text is None else text, **more}
    if route == "/feedback":
        body.setdefault("label", make.random.choice(make.world.class_names))
    return body


def _refused(make: Maker, route: str) -> dict[str, Any]:
    """A body that stores nothing even if it stays valid."""
    return _body(make, route, label="nothing") if route == "/feedback" else _body(make, route)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _route(make: Maker) -> str:
    return make.random.choice(_ROUTES)


def control(make: Maker) -> Hostile:
    """A text whose answer is known."""
    number = make.random.randrange(len(CONTROLS))
    return make.post("/predict", _dump({"text": CONTROLS[number]}), OK, control=number)


def broken_json(make: Maker) -> Hostile:
    """JSON with an error that every parser finds."""
    route = _route(make)
    whole = json.dumps(_body(make, route))
    breaks: tuple[Callable[[str], str], ...] = (
        lambda text: text[: make.random.randrange(1, len(text))],
        lambda text: text.replace('"', "'"),
        lambda text: text[:-1] + ",}",
        lambda text: text + make.random.choice("}],x{") * make.random.randint(1, 50),
        lambda text: text.replace(":", "=", 1),
        lambda text: text.replace('": "', '": NaN, "', 1),
        lambda text: text.replace('": "', '": "' + chr(make.random.randrange(32)), 1),
        lambda text: text.replace('": "', '": "\\' + make.random.choice("xq0 '"), 1),
        lambda text: text.replace('": "', '": "\\u12', 1).replace(" ", "", 1)[:-1],
        lambda text: "/* comment */" + text,
        lambda text: text.replace(
            "{", '{"x": ' + make.random.choice(("+1", "01", ".5", "1.", "Infinity", "0x1")) + ", "
        ),
        lambda text: text[1:],
        lambda text: "\ufeff\ufeff" + text,
        lambda text: "\0" + text,
    )
    return make.post(route, make.random.choice(breaks)(whole).encode(), "invalid_json", "wrong_shape")


def mutated_json(make: Maker) -> Hostile:
    """A good body with some bytes changed, removed or repeated."""
    route = _route(make)
    body = bytearray(_dump(_refused(make, route)))
    for _ in range(make.random.randint(1, 4)):
        at = make.random.randrange(len(body))
        body[at : at + make.random.randint(0, 3)] = make.random.randbytes(make.random.randint(0, 3))
    return make.post(route, bytes(body) or b"x", ANY)


def broken_utf8(make: Maker) -> Hostile:
    """A text with bytes that are not UTF-8: overlong forms, surrogates, lone and missing continuation bytes."""
    route = _route(make)
    bad = make.random.choice(
        (
            b"\xff",
            b"\x80",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc3",
            b"\xf8\x88\x80\x80\x80",
        )
    )
    body = _dump(_body(make, route)).replace(b'": "', b'": "' + bad, 1)
    if make.random.random() < 0.1:
        body = json.dumps(_body(make, route)).encode(make.random.choice(("utf-16", "utf-32")))
    return make.post(route, body, "invalid_utf8", "invalid_json")


def deep_json(make: Maker) -> Hostile:
    """JSON that is nested up to 100,000 levels deep."""
    depth = int(10 ** make.random.uniform(1.5, 5))
    opening, closing = make.random.choice((("[", "]"), ('{"a":', "}")))
    depth = min(depth, (MAX_BODY_BYTES - 100) // len(opening + closing))
    whole = opening * depth + "1" + closing * (depth if make.random.random() < 0.8 else 0)
    body = whole if make.random.random() < 0.5 else '{"text": ' + whole + "}"
    return make.post(_route(make), body.encode(), "invalid_json", "wrong_shape")


def numbers(make: Maker) -> Hostile:
    """Numbers that overflow, or have thousands of digits."""
    number = make.random.choice(
        ("9" * make.random.randint(20, 9000), "1e999", "-1e-999", "-0", "1E400", "0." + "1" * 5000)
    )
    route = _route(make)
    body = json.dumps(_body(make, route, text=0)).replace("0", number, 1)
    return make.post(route, body.encode(), "invalid_json", "wrong_shape")


def duplicate_keys(make: Maker) -> Hostile:
    """An object that has a key twice, also with an escape."""
    route = _route(make)
    key, text = _KEY_OF[route], json.dumps(text_of(make))
    again = make.random.choice((key, f"\\u{ord(key[0]):04x}{key[1:]}"))
    body = f'{{"{key}": {text}, "{again}": {text}}}'
    return make.post(route, body.encode(), "duplicate_key")


def surrogates(make: Maker) -> Hostile:
    """A text with half of a surrogate pair."""
    route = _route(make)
    half = f"\\u{make.random.randrange(0xD800, 0xE000):04x}"
    field = make.random.choice(("label", "source")) if route == "/feedback" else _KEY_OF[route]
    body = json.dumps({**_refused(make, route), field: "@"})
    return make.post(route, body.replace("@", half).encode(), "invalid_text", "unknown_label")


def wrong_types(make: Maker) -> Hostile:
    """A value of the wrong type for any field of any route, or a body that is no object."""
    wrong: Any = make.random.choice((None, True, 0, 1.5, [], {}, [[]], [None], {"text": "x"}, [1], ["x", 2], -1))
    route = _route(make)
    if make.random.random() < 0.2:
        return make.post(route, _dump(wrong if not isinstance(wrong, dict) else [wrong]), "wrong_shape")
    if route == "/feedback":
        field = make.random.choice(("text", "label", "source", "audit"))
        good_source = field == "source" and wrong is None
        wrong = 1 if good_source or (field == "audit" and wrong is True) else wrong
        return make.post(route, _dump({**_body(make, route), field: wrong}), "wrong_shape")
    if route == "/predict" and make.random.random() < 0.5:
        return make.post(route, _dump({"X": wrong}), "wrong_shape", "empty_list")
    return make.post(
        route, _dump(_body(make, route, text=[None] if wrong is None else wrong)), "wrong_shape", "empty_list"
    )


def unknown_fields(make: Maker) -> Hostile:
    """Fields that the route does not have, with long and odd names."""
    route = _route(make)
    name = make.random.choice(
        ("id", "__proto__", "", "text ", "TEXT", "\u202e", "x" * 3000, "model", "explain.", "'", "\0")
    )
    return make.post(route, _dump({**_body(make, route), name: 1}), "wrong_shape")


def empty(make: Maker) -> Hostile:
    """Nothing, blanks, or empty values."""
    route = _route(make)
    codes = ("empty_body", "invalid_json", "wrong_shape", "blank_text", "empty_list")
    body = make.random.choice((b"", b" ", b"\r\n\r\n", b"\xef\xbb\xbf", b"{}", b"[]", b"null", b'""', b"0"))
    if make.random.random() < 0.4 and route in ("/feedback", "/predict"):
        body = {"/feedback": _dump({"text": " \t\n", "label": "pos"}), "/predict": b'{"X": []}'}[route]
    return make.post(route, body, *codes)


def over_limits(make: Maker) -> Hostile:
    """A text, a list or lines one above the limit."""
    if make.random.random() < 0.5:
        route = _route(make)
        return make.post(route, _dump(_body(make, route, text="x" * (MAX_TEXT_CHARS + 1))), "text_too_long")
    texts = ["x"] * (MAX_BATCH + make.random.choice((1, 2, 1000)))
    body, kind, route = make.random.choice(
        (
            (_dump({"X": texts}), JSON, "/predict"),
            (_dump({"data": texts}), JSON, "/invocations"),
            ("\n".join(texts).encode(), CSV, "/invocations"),
            (b'{"text": "x"}\n' * len(texts), LINES, "/invocations"),
        )
    )
    return make.post(route, body, "too_many_texts", content_type=kind)


def large_bodies(make: Maker) -> Hostile:
    """A body above the limit, or one just below it that nginx stores in a file."""
    if make.random.random() < 0.3:
        body = b" " * (MAX_BODY_BYTES - make.random.randint(1, 100_000)) + b"x"
        return make.post(_route(make), body, "invalid_json", way=Way.ALONE)
    body = b" " * (MAX_BODY_BYTES + make.random.randint(1, 10))
    made = make.post(_route(make), body, "body_too_large", way=Way.ALONE)
    if make.random.random() < 0.5:
        head, _, _ = made.parts[0].partition(b"\r\n\r\n")
        head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
        made = make.done(
            head + b"\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
            "body_too_large",
            "too_many_requests",
            method="POST",
            way=Way.ALONE,
        )
    return made


def unicode_texts(make: Maker) -> Hostile:
    """Texts that grow or shrink when they are normalised, and code points without a meaning."""
    script = make.random.choice(_SCRIPTS)
    longest = 300 if make.random.random() < 0.97 else MAX_TEXT_CHARS
    text = (script * longest)[: make.random.randint(1, longest)] + f" {make.canary}"
    if make.random.random() < 0.3:
        text = "".join(chr(make.random.randrange(0x10000)) for _ in range(40))
        text = text.encode("utf-8", "ignore").decode()
    return make.post("/predict", _dump({"text": text[:MAX_TEXT_CHARS]}), ANY)


def lists(make: Maker) -> Hostile:
    """Good lists in all formats."""
    texts = [text_of(make, 4) for _ in range(make.random.randint(1, 4))]
    body, kind, route = make.random.choice(
        (
            (_dump({"X": texts}), JSON, "/predict"),
            (_dump({"data": texts, "explain": False}), JSON, "/invocations"),
            ("\n".join(texts).encode(), CSV, "/invocations"),
            (b"".join(_dump({"text": text}) + b"\n" for text in texts), LINES, "/invocations"),
        )
    )
    return make.post(route, body, OK, content_type=kind)


def broken_gzip(make: Maker) -> Hostile:
    """Data that is not gzip as announced: cut, with a wrong checksum, with a rest, twice packed, of another format."""
    whole = _dump(_body(make, "/predict"))
    packed = gzip.compress(whole, mtime=0)
    body = make.random.choice(
        (
            packed[: make.random.randrange(1, len(packed))],
            packed[:-8] + b"\0\0\0\0" + packed[-4:],
            packed[:-4] + b"\xff\xff\xff\xff",
            packed + b"rest",
            zlib.compress(whole),
            gzip.compress(packed, mtime=0),
            gzip.compress(b"", mtime=0),
            whole,
            b"",
            b"\x1f\x8b\x08\xff" + make.random.randbytes(40),
        )
    )
    return make.post(
        "/predict", body, "invalid_gzip", "empty_body", "invalid_utf8", "invalid_json", lines=["Content-Encoding: gzip"]
    )


_BOMB = gzip.compress(b" " * (8 * 1024**2), mtime=0)
_MEMBER = gzip.compress(b"", mtime=0)


def gzip_bombs(make: Maker) -> Hostile:
    """Small bodies that unpack to megabytes, and thousands of gzip members."""
    body, code = make.random.choice(
        (
            (_BOMB, "body_too_large"),
            (gzip.compress(b"[" * (MAX_BODY_BYTES - 10), mtime=0), "invalid_json"),
            (_MEMBER * make.random.randint(101, 5000), "invalid_gzip"),
            (gzip.compress(b" " * 100_000, mtime=0) * 50, "body_too_large"),
        )
    )
    return make.post(_route(make), body, code, lines=["Content-Encoding: gzip"])


def good_gzip(make: Maker) -> Hostile:
    """A good body, packed in one member or in two."""
    whole = _dump({"text": text_of(make)})
    at = make.random.randrange(len(whole))
    body = gzip.compress(whole[:at], mtime=0) + gzip.compress(whole[at:], mtime=0)
    return make.post(
        "/predict", body, OK, lines=[f"Content-Encoding: {make.random.choice(('gzip', 'x-gzip', 'GZIP'))}"]
    )


def broken_csv(make: Maker) -> Hostile:
    """CSV with open quotes, several fields, odd line ends and zeros."""
    text = text_of(make)
    body, codes = make.random.choice(
        (
            (f'"{text}', ["invalid_csv"]),
            (f'"{text}"x\n', ["invalid_csv"]),
            (f"{text},{text}\n", ["wrong_shape"]),
            (f"{text}\n" + "," * 5000, ["wrong_shape"]),
            (f"{text}\0\n", [OK, "invalid_csv"]),
            (f"{text}\r{text}\r\n\n", [OK, "invalid_csv"]),
            (f"=cmd|{text}\n@{text}\n+1\n-1", [OK]),
            (f'"{text}""\n{text}"', [OK]),
        )
    )
    return make.post("/invocations", body.encode(), *codes, content_type=CSV)


def broken_lines(make: Maker) -> Hostile:
    """JSON lines with gaps, other values than objects, several keys and other line ends."""
    good = json.dumps({"text": text_of(make)})
    body, codes = make.random.choice(
        (
            (f"{good}\n\n{good}", ["invalid_json"]),
            (f"{good}\n[]", ["wrong_shape"]),
            (f'{good}\n"x"', ["wrong_shape"]),
            (good + good, ["invalid_json"]),
            ('{"text": "x", "data": "y"}', ["wrong_shape"]),
            ('{"text": 1}', ["wrong_shape"]),
            ("\n\n\n", ["empty_list"]),
            (f"[{good}]", ["wrong_shape"]),
            (f"{good}\x0b{good}", ["invalid_json"]),
            (f"{good}\u2028{good}", ["invalid_json"]),
            (f"{good}\r\n{good}\r\n", [OK]),
        )
    )
    return make.post("/invocations", body.encode(), *codes, content_type=LINES)


def content_types(make: Maker) -> Hostile:
    """A content type that the route does not take, or none."""
    route = _route(make)
    wrong = make.random.choice((*_TYPES, None, *((CSV, LINES) if route != "/invocations" else ())))
    # CSV with a header is a batch, whose first record must be the header.
    code = "wrong_shape" if route == "/invocations" and (wrong or "").startswith(CSV) else "unsupported_media_type"
    return make.post(route, _dump(_body(make, route)), code, content_type=wrong)


def encodings(make: Maker) -> Hostile:
    """A content encoding that the server does not know."""
    route = _route(make)
    return make.post(
        route,
        _dump(_body(make, route)),
        "unsupported_encoding",
        lines=[f"Content-Encoding: {make.random.choice(_ENCODINGS)}"],
    )


def feedback(make: Maker) -> Hostile:
    """A review with a label, source or audit that must be refused."""
    label, codes = make.random.choice(
        (
            ("../pos", ["unknown_label"]),
            ("", ["unknown_label"]),
            ("pos\0", ["unknown_label"]),
            ("pos/", ["unknown_label"]),
            (".", ["unknown_label"]),
            ("x" * 4000, ["unknown_label"]),
            ("x" * (MAX_TEXT_CHARS + 1), ["text_too_long", "unknown_label"]),
        )
    )
    body = {"text": text_of(make), "label": label}
    if make.random.random() < 0.3:
        body = {
            "text": text_of(make),
            "label": make.world.class_names[0],
            "source": "x" * make.random.randint(201, 900),
        }
        codes = ["text_too_long"]
    return make.post("/feedback", _dump(body), *codes)


def good_feedback(make: Maker) -> Hostile:
    """A review that is stored, from an odd source."""
    letters = string.printable + "é\u202e\u2028漢=@+-\"'\\"
    source = "".join(make.random.choices(letters, k=make.random.randint(0, 200)))
    body = {
        "text": text_of(make),
        "label": make.random.choice(make.world.class_names),
        "source": source,
        "audit": make.random.random() < 0.5,
    }
    return make.post("/feedback", _dump(body), OK, "quota_exceeded")


# Functions and their shares in thousandths.
BODIES: dict[Callable[[Maker], Hostile], float] = {
    control: 40, broken_json: 75, mutated_json: 30, broken_utf8: 45, deep_json: 8, numbers: 15, duplicate_keys: 40,
    surrogates: 35, wrong_types: 85, unknown_fields: 45, empty: 50, over_limits: 15, large_bodies: 4,
    unicode_texts: 8, lists: 6, broken_gzip: 35, gzip_bombs: 5, good_gzip: 8, broken_csv: 20, broken_lines: 25,
    content_types: 65, encodings: 40, feedback: 40, good_feedback: 6,
}  # fmt: skip
