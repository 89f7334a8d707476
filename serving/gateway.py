"""WSGI apps for gateways and browsers: a prefix of all paths, and access from pages of other origins."""

from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from serving.api.headers import CUSTOM_ATTRIBUTES, INFERENCE_HEADER_LENGTH

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Header = tuple[str, str]
# Headers that a page of another origin may send and read, next to those that browsers always allow.
ALLOWED_HEADERS = (
    "Authorization", "Content-Encoding", "Content-Type", "X-API-Key", CUSTOM_ATTRIBUTES, "X-Prediction-Log",
    "X-Request-Id", INFERENCE_HEADER_LENGTH,
)  # fmt: skip
EXPOSED_HEADERS = ("Retry-After", CUSTOM_ATTRIBUTES, INFERENCE_HEADER_LENGTH, "X-Request-Id")
# Seconds for which a browser remembers a preflight.
_MAX_AGE = 600


class PrefixMiddleware:
    """A WSGI app that serves another one below a prefix, and without it, too.

    A gateway that keeps the prefix sends it; health checks of a platform do not know it.
    """

    def __init__(self, app: "WSGIApplication", prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve a request."""
        path: str = environ["PATH_INFO"]
        if path == self._prefix:
            # The links of the pages are relative, so the page at the prefix needs the slash.
            redirect = HTTPStatus.PERMANENT_REDIRECT
            query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
            start_response(f"{redirect} {redirect.phrase}", [("Location", f"{path}/{query}"), ("Content-Length", "0")])
            return []
        if path.startswith(f"{self._prefix}/"):
            environ["SCRIPT_NAME"] = self._prefix
            environ["PATH_INFO"] = path[len(self._prefix) :]
        return self._app(environ, start_response)


class CorsMiddleware:
    """A WSGI app that lets pages of some origins read the responses of another one (https://fetch.spec.whatwg.org).

    Args:
        app: the other one.
        origins: origins of the pages, such as https://a.example.
    """

    def __init__(self, app: "WSGIApplication", origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve a request."""
        origin: str = environ.get("HTTP_ORIGIN", "")
        is_preflight = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ

        def start(status: str, headers: list[_Header], exc_info: Any = None) -> Callable[[bytes], object]:
            headers = _with_vary(headers)
            if origin in self._origins:
                headers += cors_headers(origin)
                if is_preflight:
                    headers += preflight_headers(headers)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


def origins_of(setting: str) -> tuple[str, ...]:
    """Return the origins of CORS_ORIGINS, as browsers write them, each once."""
    return tuple(dict.fromkeys(origin.strip().lower() for origin in setting.split(",") if origin.strip()))


def cors_headers(origin: str) -> list[_Header]:
    """Return the headers of every response to a page of an allowed origin."""
    return [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", ", ".join(EXPOSED_HEADERS))]


def preflight_headers(headers: Iterable[_Header]) -> list[_Header]:
    """Return the headers of the response to a preflight, which has `headers`."""
    methods = next((value for name, value in headers if name.lower() == "allow"), "GET, HEAD, OPTIONS, POST")
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)),
        ("Access-Control-Max-Age", str(_MAX_AGE)),
    ]


def _with_vary(headers: Iterable[_Header]) -> list[_Header]:
    """Return the headers with Origin in Vary: a cache must not give a page the response to another origin."""
    values = [value for name, value in headers if name.lower() == "vary"]
    others = [(name, value) for name, value in headers if name.lower() != "vary"]
    return [*others, ("Vary", ", ".join([*values, "Origin"]))]
