"""Counts the attempts at a shard: one whose process ends is scored again, up to a number of times."""

from textclf.errors import TextClfError

MAX_ATTEMPTS = 3


class ShardError(TextClfError):
    """A shard can't be scored."""


class Attempts:
    """The shards that are left, and how often each has failed.

    Args:
        shards: numbers of the shards, in their order.
    """

    def __init__(self, shards: list[int]) -> None:
        self._waiting = list(reversed(shards))
        self._failures: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> int:
        """The next shard."""
        return self._waiting.pop()

    def failed(self, shard: int, reason: str) -> str:
        """Put a shard back after a failure that another attempt may not have; returns a line about it.

        Raises:
            ShardError: if it was the last attempt.
        """
        self._failures[shard] = self._failures.get(shard, 0) + 1
        if self._failures[shard] >= MAX_ATTEMPTS:
            raise ShardError(
                f"shard {shard}: failed {MAX_ATTEMPTS} times, the last time because {reason}; the shards that are done "
                f"are kept: correct the cause, and run the same command"
            )
        self._waiting.append(shard)
        return f"shard {shard}: {reason}; trying again ({self._failures[shard]} of {MAX_ATTEMPTS} attempts failed)"
