"""Scores shards in processes of this machine, each with its own model; a process that ends is replaced."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from textclf.errors import TextClfError
from textclf.sharding.attempts import MAX_ATTEMPTS, Attempts, ShardError
from textclf.sharding.messages import Outcome, attempt, refuse
from textclf.sharding.shard_scoring import ShardJob, ShardScorer

_READY = "ready"
_STOP_SECONDS = 5.0
OnOutcome = Callable[[int, Outcome], None]


def score_here(
    job: ShardJob,
    shards: list[int],
    on_outcome: OnOutcome,
    on_bytes: Callable[[int], None],
    on_line: Callable[[str], None],
) -> None:
    """Score shards in this process, one after the other.

    Args:
        job: the run.
        shards: numbers of the shards.
        on_outcome: called after each attempt.
        on_bytes: called with the number of bytes of the input that were read since the last call.
        on_line: receives a line about each failed attempt.

    Raises:
        TextClfError: if the model can't be loaded, or a shard can't be scored.
    """
    attempts = Attempts(shards)
    scorer = ShardScorer(job, on_bytes)
    scorer.load()
    while attempts:
        shard = attempts.take()
        outcome = attempt(scorer, shard, time.monotonic)
        refuse(outcome)
        if outcome.error:
            on_line(attempts.failed(shard, outcome.error))
        on_outcome(shard, outcome)


def score_in_processes(
    job: ShardJob,
    shards: list[int],
    processes: int,
    on_outcome: OnOutcome,
    on_bytes: Callable[[int], None],
    on_line: Callable[[str], None],
) -> None:
    """Score shards in processes; for the other arguments see score_here().

    Args:
        processes: number of processes.

    Raises:
        TextClfError: if the model can't be loaded, or a shard can't be scored.
    """
    attempts = Attempts(shards)
    workers = [_Worker(job) for _ in range(min(processes, len(shards)))]
    starts = 0
    try:
        while attempts or any(worker.shard is not None for worker in workers):
            for worker in workers:
                if worker.is_ready and worker.shard is None and attempts:
                    worker.give(attempts.take())
            connections = wait([worker.pipe for worker in workers])
            for at, worker in [(at, worker) for at, worker in enumerate(workers) if worker.pipe in connections]:
                message = worker.receive()
                if message is None:
                    reason = worker.end_in_words()
                    starts += worker.shard is None
                    if starts > MAX_ATTEMPTS * len(workers):
                        raise ShardError(f"the processes that score shards can't start: {reason}")
                    if worker.shard is not None:
                        on_line(attempts.failed(worker.shard, reason))
                    workers[at] = _Worker(job)
                elif isinstance(message, int):
                    on_bytes(message)
                elif isinstance(message, Outcome):
                    _settle(worker, message, attempts, on_outcome, on_line)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _settle(
    worker: "_Worker", outcome: Outcome, attempts: Attempts, on_outcome: OnOutcome, on_line: Callable[[str], None]
) -> None:
    refuse(outcome)
    shard, worker.shard = worker.shard, None
    if shard is None:
        return
    if outcome.error:
        on_line(attempts.failed(shard, outcome.error))
    on_outcome(shard, outcome)


class _Worker:
    """A process, and the shard that it scores.

    Attributes:
        pipe: connection to the process.
        is_ready: whether it has loaded the model.
        shard: number of the shard that it scores; None between two.
    """

    def __init__(self, job: ShardJob) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.is_ready = False
        self.shard: int | None = None
        self._process = context.Process(target=_work, args=(job, other), daemon=True)
        self._process.start()
        other.close()

    def give(self, shard: int) -> None:
        """Let it score a shard; a process that has ended is noticed later."""
        self.shard = shard
        with contextlib.suppress(OSError):
            self.pipe.send(shard)

    def receive(self) -> Outcome | int | str | None:
        """Its next message; None if it has ended."""
        try:
            message: Outcome | int | str = self.pipe.recv()
        except (EOFError, OSError):
            return None
        self.is_ready = self.is_ready or message == _READY
        return message

    def end_in_words(self) -> str:
        """Why the process has ended."""
        self._process.join(_STOP_SECONDS)
        code = self._process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"

    def terminate(self) -> None:
        """Ask the process to end."""
        self.pipe.close()
        self._process.terminate()

    def join(self) -> None:
        """Wait until the process has ended, and end it if that takes too long."""
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_STOP_SECONDS)


def _work(job: ShardJob, pipe: Connection) -> None:
    """The process: load the model, then score each shard that comes, until the other side ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent stops its processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # Removes unfinished files.
    parent = os.getppid()

    def report(count: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # The parent was killed: its next run scores this shard.
        pipe.send(count)

    scorer = ShardScorer(job, report)
    try:
        scorer.load()
    except (TextClfError, OSError) as error:
        pipe.send(Outcome(None, str(error)))
        return
    pipe.send(_READY)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(attempt(scorer, pipe.recv(), time.monotonic))
