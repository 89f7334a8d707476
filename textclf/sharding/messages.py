"""Reports of a process that scores shards, as plain values, so that no exception has to be sent."""

from collections.abc import Callable
from dataclasses import dataclass

from textclf.errors import TextClfError
from textclf.sharding.attempts import ShardError
from textclf.sharding.shard_scoring import ShardResult, ShardScorer


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt at a shard.

    Attributes:
        result: the shard's record; None after an error.
        error: the error in words; "" without one.
        may_pass: whether another attempt can help, as after an error of the storage.
        seconds: the time that it took.
    """

    result: ShardResult | None
    error: str = ""
    may_pass: bool = False
    seconds: float = 0.0


def attempt(scorer: ShardScorer, shard: int, clock: Callable[[], float]) -> Outcome:
    """Score a shard; an error that a user or another attempt can fix becomes a value."""
    begin = clock()
    try:
        return Outcome(scorer.score(shard), seconds=clock() - begin)
    except TextClfError as error:
        return Outcome(None, str(error))
    except OSError as error:
        return Outcome(None, str(error), may_pass=True)


def refuse(outcome: Outcome) -> None:
    """Raise the error of an outcome that no other attempt can help.

    Raises:
        ShardError: if the outcome has such an error.
    """
    if outcome.error and not outcome.may_pass:
        raise ShardError(outcome.error)
