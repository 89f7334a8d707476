"""Scores shards in actors of Ray, each with its own model; an actor that dies is replaced.

Ray's own retries stay off: attempts are counted here, so that every failure ends within a bounded time.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from textclf.errors import TextClfError
from textclf.ray_cluster import code_error, code_id, connected, process_count
from textclf.sharding.attempts import MAX_ATTEMPTS, Attempts, ShardError
from textclf.sharding.local_engine import OnOutcome
from textclf.sharding.messages import Outcome, attempt, refuse
from textclf.sharding.shard_scoring import ShardJob, ShardScorer

# Seconds without any actor that is alive, after which the run ends.
START_SECONDS = 180.0
_POLL_SECONDS = 1.0


class _Actor:
    """Scores shards on a node of the cluster."""

    def __init__(self, job: ShardJob, code: str) -> None:
        self._scorer = ShardScorer(job)
        self._code = code

    def load(self) -> str:
        """Check the node's code and load the model; returns the error in words, or ""."""
        if error := code_error(self._code):
            return error
        try:
            self._scorer.load()
        except (TextClfError, OSError) as failure:
            return str(failure)
        return ""

    def score(self, shard: int) -> Outcome:
        """Score a shard."""
        return attempt(self._scorer, shard, time.monotonic)


def score_on_ray(
    job: ShardJob,
    shards: list[int],
    processes: int | None,
    address: str,
    on_outcome: OnOutcome,
    on_line: Callable[[str], None],
    start_seconds: float = START_SECONDS,
) -> None:
    """Score shards in actors of a cluster.

    Args:
        job: the run.
        shards: numbers of the shards.
        processes: number of actors; None leaves one CPU of the cluster free.
        address: address of the cluster; "" starts one on this machine, unless RAY_ADDRESS names one.
        on_outcome: called after each attempt.
        on_line: receives a line about each failed attempt.
        start_seconds: maximum seconds without an actor.

    Raises:
        ConfigError: if Ray is not installed or can't be reached, or the cluster has too few CPUs.
        TextClfError: if the model can't be loaded, or a shard can't be scored.
    """
    with connected(address) as ray:
        count = process_count(ray.cluster_resources().get("CPU", 0), job.threads, processes)
        pool = _Pool(ray, job, min(count, len(shards)), on_line, start_seconds)
        try:
            pool.run(Attempts(shards), on_outcome)
        finally:
            pool.stop()


class _Pool:
    """Actors, and the shards that they score."""

    def __init__(
        self, ray: Any, job: ShardJob, count: int, on_line: Callable[[str], None], start_seconds: float
    ) -> None:
        self._ray = ray
        self._job = job
        self._count = count
        self._on_line = on_line
        self._start_seconds = start_seconds
        # By the reference to the result of a call: the actor, and its shard, or None while it loads.
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        self._actors: list[Any] = []
        self._last_sign = time.monotonic()
        self._lost_starts = 0

    def run(self, attempts: Attempts, on_outcome: OnOutcome) -> None:
        """Score all shards."""
        for _ in range(self._count):
            self._start()
        idle: list[Any] = []
        while attempts or any(shard is not None for _, shard in self._calls.values()):
            while attempts and idle:
                self._give(idle.pop(), attempts.take())
            done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=_POLL_SECONDS)
            for call in done:
                actor, shard = self._calls.pop(call)
                if self._settled(call, shard, attempts, on_outcome):
                    self._last_sign = time.monotonic()
                    idle.append(actor)
                else:
                    # One that failed and did not die would keep its CPUs from the next one.
                    self._end(actor)
                    self._start()
            self._check_alive()

    def stop(self) -> None:
        """End all actors."""
        for actor in list(self._actors):
            self._end(actor)

    def _end(self, actor: Any) -> None:
        self._actors.remove(actor)
        with contextlib.suppress(Exception):  # The cluster may be gone.
            self._ray.kill(actor)

    def _start(self) -> None:
        options = {"num_cpus": self._job.threads, "max_restarts": 0, "max_task_retries": 0}
        environment = {"env_vars": {"OMP_NUM_THREADS": str(self._job.threads), "RAY_USAGE_STATS_ENABLED": "0"}}
        actor = self._ray.remote(_Actor).options(**options, runtime_env=environment).remote(self._job, code_id())
        self._actors.append(actor)
        self._calls[actor.load.remote()] = (actor, None)

    def _give(self, actor: Any, shard: int) -> None:
        self._calls[actor.score.remote(shard)] = (actor, shard)

    def _settled(self, call: Any, shard: int | None, attempts: Attempts, on_outcome: OnOutcome) -> bool:
        """Take the result of a call; returns whether its actor is alive."""
        try:
            found = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            reason = f"its actor or its node died ({type(error).__name__})"
            if shard is not None:
                self._on_line(attempts.failed(shard, reason))
            else:
                self._lost_starts += 1
                if self._lost_starts > MAX_ATTEMPTS * self._count:
                    raise ShardError(f"the actors that score shards can't start: {reason}; see Ray's logs") from error
            return False
        if shard is None:
            if found:
                raise ShardError(found)
            return True
        refuse(found)
        if found.error:
            self._on_line(attempts.failed(shard, found.error))
        on_outcome(shard, found)
        return True

    def _check_alive(self) -> None:
        """End the run if no actor could start for a while, as on a cluster whose nodes are gone."""
        if any(shard is not None for _, shard in self._calls.values()):
            self._last_sign = time.monotonic()
        elif time.monotonic() - self._last_sign > self._start_seconds:
            raise ShardError(
                f"no actor started in {self._start_seconds:.0f} seconds; check that the cluster has free CPUs (ray "
                f"status), then run the same command"
            )
