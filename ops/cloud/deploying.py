"""Make models and endpoints in AWS, in several calls of which none is left half done."""

from collections.abc import Sequence

from ops.cloud.calls import Call, Cloud
from ops.cloud.errors import CloudError
from ops.cloud.results import say


def make_all(cloud: Cloud, calls: Sequence[tuple[Call, Call | None]]) -> None:
    """Make calls in order; if one fails, undo those before it.

    Args:
        cloud: makes the calls.
        calls: each call with the one that undoes it, or None.

    Raises:
        ConfigError: if a parameter is not accepted; then no call was made.
        CloudError: if AWS refuses a call.
    """
    for call, _ in calls:
        call.check()
    undo: list[Call] = []
    for call, undoing in calls:
        try:
            cloud.call(call)
        except CloudError:
            delete_all(cloud, undo[::-1])
            raise
        if undoing:
            undo.append(undoing)


def delete_all(cloud: Cloud, calls: Sequence[Call]) -> None:
    """Make calls that delete; one that fails is named, and the others are made all the same."""
    for call in calls:
        try:
            cloud.call(call)
        except CloudError as error:
            say(f"not deleted: {error}")
