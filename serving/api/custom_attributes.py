"""The header X-Amzn-SageMaker-Custom-Attributes: what it asks of an explanation, and the trace that it carries.

SageMaker passes it on unchanged, with up to 1,024 characters of visible ASCII. It contains `name=value` items between
commas; names in any case, and blanks around names and values do not count. Other names belong to other readers and are
ignored.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.api.errors import ApiError, ErrorCode
from serving.api.explain_requests import CLARIFY
from serving.api.headers import CUSTOM_ATTRIBUTES

HEADER = CUSTOM_ATTRIBUTES
MAX_CHARS = 1024
_KEY = "HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES"
_INVISIBLE = re.compile(r"[^ -~]")
_NAMES = ("explain", "trace")
# Value of `explain` -> whether to explain.
_EXPLAIN = {"true": True, "false": False, CLARIFY: True}


@dataclass(frozen=True, slots=True)
class CustomAttributes:
    """The attributes of a request.

    Attributes:
        explain: whether the predictions are to be explained; None if the header does not say it.
        is_clarify: whether the response has the shape of SageMaker Clarify.
        trace: the item `trace=…` for the response, its value as it was sent; "" without one.
    """

    explain: bool | None = None
    is_clarify: bool = False
    trace: str = ""


_NONE = CustomAttributes()


def parse_custom_attributes(environ: Mapping[str, Any]) -> CustomAttributes:
    """Return the attributes of a request.

    Raises:
        ApiError: if the header is too long or has other characters, if its `explain` has an unknown value, or if it has
            `explain` or `trace` twice. The error carries the trace, unless it is unclear or has other characters.
    """
    header: str = environ.get(_KEY, "")
    if not header:
        return _NONE
    _check_characters(header)
    items: dict[str, str] = {}
    repeated = ""
    for item in header.split(","):
        name, _, value = item.partition("=")
        name = name.strip().lower()
        if name in _NAMES and name in items:
            repeated = name
        items[name] = value.strip()
    # Two traces do not come back, because it is not known which one the client means.
    trace = f"trace={items['trace']}" if "trace" in items and repeated != "trace" else ""
    headers = {HEADER: trace} if trace else {}
    if repeated:
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"{HEADER}: expected {repeated} once, got it twice; remove one of them", headers
        )
    explain = items.get("explain")
    if explain is not None and explain not in _EXPLAIN:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"explain in {HEADER}: expected {' or '.join(_EXPLAIN)}, got {explain[:50]!r}; correct or remove it",
            headers,
        )
    return CustomAttributes(None if explain is None else _EXPLAIN[explain], explain == CLARIFY, trace)


def _check_characters(header: str) -> None:
    if len(header) > MAX_CHARS:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"{HEADER}: expected at most {MAX_CHARS} characters, got {len(header)}; shorten it",
        )
    # The server decodes headers as Latin-1, but clients send UTF-8.
    with contextlib.suppress(UnicodeError):
        header = header.encode("latin-1").decode()
    if (found := _INVISIBLE.search(header)) is not None:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"{HEADER}: expected visible ASCII, got {found[0]!r} as character {found.start() + 1}; encode or remove it",
        )
