"""The web pages: static files of serving/page, and Swagger UI from its package."""

import functools
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from flask import Flask, Response, request

# Path -> file of serving/page.
PAGES = MappingProxyType({"/": "index.html", "/review": "review.html", "/drift": "drift.html", "/docs": "docs.html"})
# Prefix of the paths of scripts and styles.
ASSETS = "/page/"
# Files of the package flask-swagger-ui, which contains the official distribution; nothing else of it is used.
_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # A browser asks each time whether the file is still the same, so that an update of the server takes effect.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class StaticFile:
    """A file in memory: its bytes, the same with gzip, its media type, and the quoted hash that names its content."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def register_pages(app: Flask) -> None:
    """Add the routes of all pages, scripts and styles."""
    for path, file in static_files().items():
        app.add_url_rule(path, path, _view(file), methods=["GET"])


def static_files() -> dict[str, Traversable]:
    """Return the file of each path."""
    folder = files("serving") / "page"
    assets = sorted((item for item in folder.iterdir() if not item.name.endswith(".html")), key=lambda item: item.name)
    pages = {path: folder / name for path, name in PAGES.items()}
    swagger = {ASSETS + name: files("flask_swagger_ui") / "dist" / name for name in _SWAGGER}
    return pages | {ASSETS + item.name: item for item in assets} | swagger


def _view(file: Traversable) -> Callable[[], Response]:
    # A worker reads a file at its first request, and then responds from memory: that costs no more than /ping.
    load = functools.cache(functools.partial(_load, file))

    def view() -> Response:
        static = load()
        response = Response(content_type=static.media_type, headers=HEADERS)
        if static.media_type.startswith("text/html"):
            response.headers["Content-Security-Policy"] = _POLICY
        response.headers["ETag"] = static.etag
        if request.if_none_match.contains_weak(static.etag.strip('"')):
            response.status_code = 304
        elif request.accept_encodings["gzip"] > 0:
            response.headers["Content-Encoding"] = "gzip"
            response.set_data(static.compressed)
        else:
            response.set_data(static.content)
        return response

    return view


def _load(file: Traversable) -> StaticFile:
    content = file.read_bytes()
    media_type = _TYPES[file.name[file.name.rindex(".") :]]
    return StaticFile(
        content, gzip.compress(content, mtime=0), media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    )
