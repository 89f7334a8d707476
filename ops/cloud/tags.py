"""The tags of a request."""

from collections.abc import Mapping, Sequence
from typing import Any


def tags_parameter(tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The parameter Tags with Key and Value of each tag; no parameter without tags."""
    return {"Tags": [dict(tag) for tag in tags]} if tags else {}
