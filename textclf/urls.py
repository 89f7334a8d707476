"""URLs without their secret parts: user, password, query and fragment."""

import re
from urllib.parse import urlsplit, urlunsplit

from textclf.errors import ConfigError

# Path() makes one slash of `//`. The punctuation of a sentence may follow the query.
_AUTHORITY = re.compile(r"\b((?:https?|ftps?|s3|gs):/{1,2})[^\s/?#'\"]*@")
_QUERY = re.compile(r"\b((?:https?|ftps?|s3|gs):/[^\s?#'\"]*)[?#][^\s'\"]*?(?=[:;,.)]*(?:[\s'\"]|$))")


def public_url(url: str) -> str:
    """The URL without its secret parts: user, password, query and fragment.

    Raises:
        ConfigError: if it is not an http, https or file URL.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme == "file" or (parts.scheme in ("http", "https") and bool(parts.hostname))
    except ValueError:
        is_usable = False
    if not is_usable:
        # It may contain a password: show only its beginning.
        raise ConfigError(f"url: expected http://…, https://… or file://…, got {url.partition(':')[0][:20]!r}…")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def public_handle(handle: str) -> str:
    """A name, a path or a URL; a URL is without its secret parts. `hf://` names a model of the Hub, which has none."""
    if "://" not in handle or handle.startswith("hf://"):
        return handle
    try:
        return public_url(handle)
    except ConfigError:
        return f"{handle.partition(':')[0]}://…"


def public_text(text: str) -> str:
    """A message without the secret parts of the URLs in it."""
    return _QUERY.sub(r"\1", _AUTHORITY.sub(r"\1", text))
