"""Local paths and URLs as a file system of pyarrow and a path in it.

S3 is pyarrow's own, with the endpoint of AWS_ENDPOINT_URL; any other URL is opened by fsspec.
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textclf.errors import ConfigError
from textclf.urls import public_text

_EXTRA = "install textclf with its extra `shards`"


def is_url(place: str) -> bool:
    """Whether the place is a URL and not a local path."""
    return "://" in place


def absolute_place(place: str) -> str:
    """A URL as it is, without a slash at its end; a local path as an absolute one, links kept."""
    return place.rstrip("/") if is_url(place) else os.path.abspath(place)  # Path.resolve() would follow links.


def open_location(place: str, environment: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """The file system (pyarrow.fs.FileSystem) of a place, and the path in it.

    Args:
        place: a local path or a URL.
        environment: environment variables; None means those of the process.

    Raises:
        ConfigError: if pyarrow, or what the kind of URL needs, is not installed; or if a URL has a user in it, or
            one of http has a query.
    """
    try:
        from pyarrow import fs
    except ImportError:
        raise ConfigError(f"scoring in shards needs pyarrow, found none; {_EXTRA}") from None
    if not is_url(place):
        return fs.LocalFileSystem(), str(Path(place).absolute())
    scheme, _, path = place.partition("://")
    if "@" in path.partition("/")[0]:
        raise ConfigError(
            f"{scheme}://…: expected a URL without user and password, because it is stored in the output; pass them in "
            f"environment variables"
        )
    if scheme in ("http", "https") and "?" in path:
        raise ConfigError(
            f"{public_text(place)}: expected a URL without a query, which may have a signature, because it is stored "
            f"in the output; use the storage's own URL (s3://…), or download the files"
        )
    if scheme in ("s3", "s3a"):
        return _s3(os.environ if environment is None else environment), path
    if scheme == "file":
        return fs.LocalFileSystem(), path
    try:
        from fsspec.core import url_to_fs

        found, path = url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{public_text(place)}: expected a local path or a URL that fsspec opens ({error}); install the package of "
            f"its scheme, or {_EXTRA}"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def _s3(environment: Mapping[str, str]) -> Any:
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    return _s3_client(
        endpoint.rstrip("/"), environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    )


@functools.cache  # A client keeps its connections.
def _s3_client(endpoint: str, region: str) -> Any:
    from pyarrow import fs

    scheme, separator, host = endpoint.partition("://")
    values: dict[str, Any] = {"region": region} if region else {}
    if endpoint:
        values |= {"endpoint_override": host if separator else endpoint, "scheme": scheme if separator else "https"}
    return fs.S3FileSystem(**values)
