"""The header X-Amzn-SageMaker-Custom-Attributes: what it asks of an explanation, and the trace that it carries.

SageMaker passes it on unchanged, with up to 1,024 characters of visible ASCII. It contains `name=value` items between
commas. Other names belong to other readers and are ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.api.errors import ApiError, ErrorCode
from serving.api.explain_requests import CLARIFY

HEADER = "X-Amzn-SageMaker-Custom-Attributes"
MAX_CHARS = 1024
_KEY = "HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES"
_VISIBLE = re.compile(r"[ -~]*", re.ASCII)
# Value of `explain` -> whether to explain.
_EXPLAIN = {"true": True, "false": False, CLARIFY: True}


@dataclass(frozen=True, slots=True)
class CustomAttributes:
    """The attributes of a request.

    Attributes:
        explain: whether the predictions are to be explained; None if the header does not say it.
        is_clarify: whether the response has the shape of SageMaker Clarify.
        trace: the item `trace=…` as it was sent, for the response; "" without one.
    """

    explain: bool | None = None
    is_clarify: bool = False
    trace: str = ""


_NONE = CustomAttributes()


def parse_custom_attributes(environ: Mapping[str, Any]) -> CustomAttributes:
    """Return the attributes of a request.

    Raises:
        ApiError: if the header is too long or has other characters, or if its `explain` has an unknown value.
    """
    header: str = environ.get(_KEY, "")
    if not header:
        return _NONE
    if len(header) > MAX_CHARS or not _VISIBLE.fullmatch(header):
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"{HEADER}: expected at most {MAX_CHARS} characters of visible ASCII, got {len(header)} characters; "
            f"shorten it, or encode the others",
        )
    items = dict(item.strip().partition("=")[::2] for item in header.split(","))
    explain = items.get("explain")
    if explain is not None and explain not in _EXPLAIN:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"explain in {HEADER}: expected {' or '.join(_EXPLAIN)}, got {explain[:50]!r}; correct or remove it",
        )
    trace = items.get("trace")
    return CustomAttributes(
        None if explain is None else _EXPLAIN[explain],
        explain == CLARIFY,
        "" if trace is None else f"trace={trace}",
    )
