"""A command run again and again, each time in a process of its own, until SIGTERM.

So the memory of a run is given back, a run that fails in whatever way ends alone, and the watcher can go at once.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime

import click
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger

from textclf.monitoring.subprocesses import end

# The run that is asked to end may have to end one of its own first.
_SECONDS_TO_END = 1.6


class Scheduler:
    """Runs a command every so often; one run at a time, and runs that were missed are made up for by one.

    Args:
        command: to run; its output is passed on.
        every: seconds from one start to the next.
        good: statuses that are not a failure.
        on_failure: called after a run that failed.
        environment: added to that of this process.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        command: Sequence[str],
        every: float,
        good: Collection[int],
        on_failure: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.command = command
        self.every = every
        self.good = good
        self.on_failure = on_failure
        self.environment = environment or {}
        self.clock = clock
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False

    def run(self, first: float) -> None:
        """Watch until SIGTERM, which ends it, and a run in hand, within two seconds and with status 0.

        Args:
            first: when to run first, in seconds since the epoch; at once if that is past.
        """
        # It would say each time that a run has not ended when the next one is due.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        scheduler = BlockingScheduler(timezone=UTC)
        scheduler.add_job(
            self.run_once,
            IntervalTrigger(seconds=self.every, timezone=UTC),
            next_run_time=datetime.fromtimestamp(max(first, self.clock()), UTC),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            scheduler.start()
        finally:
            with self._guard:
                self._is_ending = True
                process = self._process
            if process is not None:
                end(process, _SECONDS_TO_END)
            scheduler.shutdown(wait=False)

    def run_once(self) -> None:
        """One run; a failure is one line on stderr, with the last that the run had to say."""
        try:
            status, last = self._run()
        except OSError as error:
            status, last = None, str(error)
        if self._is_ending or status in self.good:
            return
        now = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        how = "could not be started" if status is None else f"failed with status {status}"
        click.echo(f"{now}: this run {how}, the next one will come: {last}", err=True)
        self.on_failure()

    def _run(self) -> tuple[int, str]:
        """The status of a run, and if that is not good the last line of its stderr; the others are passed on."""
        with self._guard:
            if self._is_ending:
                return 0, ""
            environment = {**os.environ, **self.environment}
            self._process = process = subprocess.Popen(  # noqa: S603  what it runs is this project's own
                self.command, env=environment, stderr=subprocess.PIPE
            )
        last = ""
        with process.stderr or io.BytesIO() as lines:
            for line in lines:
                if last:
                    click.echo(last, err=True)
                # A progress bar writes over itself: what it came to is enough.
                last = line.decode("utf-8", errors="replace").rstrip().rpartition("\r")[2]
        status = process.wait()
        if last and status in self.good:
            click.echo(last, err=True)
        return status, last
