"""Run a command at fixed intervals, each time in its own process, until SIGTERM.

A process per run returns its memory, can fail without stopping the scheduler, and can be ended at once.
"""

import io
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click

from textclf.monitoring.subprocesses import end

# A run that is asked to end may first have to end its own child process.
_SECONDS_TO_END = 1.6
# The longest wait before the clock is read again, so that a clock that was set is noticed.
_MAX_WAIT_SECONDS = 60.0


@dataclass(eq=False)
class Scheduler:
    """Runs a command every `every` seconds, one run at a time; several missed runs are replaced by one.

    Args:
        command: command to run; its output is passed on.
        every: seconds from one start to the next.
        good: exit statuses that are not failures.
        on_failure: called after a failed run.
        environment: variables added to the environment of this process.
        clock: returns seconds since the epoch.
        wait: sleeps for a number of seconds.
    """

    command: Sequence[str]
    every: float
    good: Collection[int]
    on_failure: Callable[[], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    wait: Callable[[float], object] = time.sleep
    _is_starting: bool = field(default=False, init=False)
    _is_ending: bool = field(default=False, init=False)

    def run(self, first: float) -> None:
        """Run the command until SIGTERM, which ends it and this process within two seconds and with status 0.

        The first run is at `first`, in seconds since the epoch; a time in the past means now.
        """
        signal.signal(signal.SIGTERM, self._stop)
        due = max(first, self.clock())
        while True:
            while (left := due - self.clock()) > 0:
                if left > self.every + _MAX_WAIT_SECONDS:
                    # The clock was set back. The run tells whether the state is now in the future.
                    due = self.clock()
                    break
                self.wait(min(left, _MAX_WAIT_SECONDS))
            self.run_once()
            # Keep to the times that the first run set; skip those that passed during this run.
            due += self.every * (1 + max(0, math.floor((self.clock() - due) / self.every)))

    def run_once(self) -> None:
        """Run the command once; a failure is one line on stderr with the last line of the command's stderr."""
        try:
            status, last = self._run()
        except OSError as error:
            status, last = None, str(error)
        if self._is_ending:
            sys.exit(0)
        if status in self.good:
            return
        now = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        how = "could not be started" if status is None else f"failed with status {status}"
        click.echo(f"{now}: this run {how}, the next one will come: {last}", err=True)
        self.on_failure()

    def _stop(self, *_: object) -> None:
        is_first, self._is_ending = not self._is_ending, True
        # An exception inside Popen would lose the process that it has just created.
        if is_first and not self._is_starting:
            sys.exit(0)

    def _run(self) -> tuple[int, str]:
        """Return the exit status and, unless that is good, the last line of stderr; pass the other lines on."""
        process, last = None, ""
        self._is_starting = True
        try:
            process = subprocess.Popen(  # noqa: S603  what it runs is this project's own
                self.command, env={**os.environ, **self.environment}, stderr=subprocess.PIPE
            )
            self._is_starting = False
            if self._is_ending:
                sys.exit(0)
            for line in process.stderr or io.BytesIO():
                if last:
                    click.echo(last, err=True)
                # A progress bar overwrites itself: keep its last state.
                last = line.decode("utf-8", errors="replace").rstrip().rpartition("\r")[2]
            status = process.wait()
        finally:
            self._is_starting = False
            if process is not None:
                end(process, _SECONDS_TO_END)
                (process.stderr or io.BytesIO()).close()
        if last and status in self.good:
            click.echo(last, err=True)
        return status, last
