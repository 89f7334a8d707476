"""Run the programs of a server side by side, and end all of them when one ends or a signal stops them.

It can be process 1 of a container: it reaps orphans too. It uses only the standard library, for a quick start.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True)
class Program:
    """A program to run; `drain_signal` ends it after the requests in progress."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    drain_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class Drain:
    """The time between SIGTERM and the stop, in which a load balancer notices it and sends no more requests.

    Attributes:
        seconds: its length; 0 for none.
        announce: called at its start.
    """

    seconds: float
    announce: Callable[[], None]


def supervise(
    programs: Sequence[Program],
    grace: float,
    drain: Drain | None = None,
    on_started: Callable[[], None] | None = None,
) -> int:
    """Run the programs until SIGTERM, SIGINT or SIGHUP, or until one of them ends.

    Then the others are stopped in their order, so the one that faces the clients is first. After `grace` seconds, or
    at a second signal, they are killed. SIGTERM starts the drain first, which another signal or the end of a program
    ends. The signals stay caught, so that they do not disturb the clean-up.

    Args:
        programs: programs to run.
        grace: seconds until the programs are killed.
        drain: what SIGTERM starts first; None for nothing.
        on_started: called after all programs are started, for a thread, which a fork would not copy.

    Returns:
        Exit status: 0 if a signal stopped it and all programs ended in time, else 1.
    """
    signals = _catch_signals()
    running = {_start(program): program for program in programs}
    if on_started is not None:
        on_started()
    stops = 0
    numbers = b""
    while not stops and len(running) == len(programs):
        numbers = _next(signals)
        stops = _stops(numbers)
        for message in _reap(running):
            _say(f"{message}; stopping")
    is_complete = len(running) == len(programs)
    if drain is not None and drain.seconds and is_complete and stops == 1 and signal.SIGTERM in numbers:
        try:
            drain.announce()
        except OSError as error:  # It must not keep the server from stopping.
            _say(f"the drain can't be announced, so load balancers don't notice it: {error}")
        _wait(running, signals, drain.seconds)
    stopped = _stop(running, signals, stops, time.monotonic() + grace)
    return 0 if stops and stopped else 1


def _wait(running: dict[int, Program], signals: int, seconds: float) -> None:
    """Wait until the time is over, a signal stops the wait, or a program ends."""
    count, end = len(running), time.monotonic() + seconds
    while len(running) == count and (left := end - time.monotonic()) > 0 and not _stops(_next(signals, left)):
        for message in _reap(running):
            _say(f"{message}; stopping")


def _stop(running: dict[int, Program], signals: int, stops: int, deadline: float) -> bool:
    """End the programs one after another; False if they had to be killed. `stops` counts the stop signals so far."""
    for pid, program in list(running.items()):
        if pid in running:
            os.kill(pid, program.drain_signal)
        while pid in running:
            numbers = b"" if stops > 1 else _next(signals, max(0.0, deadline - time.monotonic()))
            if not numbers:
                _say("killed" if stops > 1 else f"{program.name} did not finish in time; killed")
                _kill(running)
                return False
            stops += _stops(numbers)
            for message in _reap(running, expected=pid):
                _say(message)
    return True


def _catch_signals() -> int:
    """Return a file descriptor that gives one byte for each watched signal."""
    # Handlers in Python are not enough: a signal between Python's last check and the wait does not end the wait.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for watched in _WATCHED:
        # nohup ignores it.
        if watched != signal.SIGHUP or signal.getsignal(watched) != signal.SIG_IGN:
            signal.signal(watched, lambda *_: None)
    # The parent process may have blocked them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    return reader


def _next(signals: int, timeout: float | None = None) -> bytes:
    """Return the numbers of the next signals; empty after the time-out."""
    return os.read(signals, 64) if select.select([signals], [], [], timeout)[0] else b""


def _stops(numbers: bytes) -> int:
    return len(numbers) - numbers.count(signal.SIGCHLD)


def _kill(running: dict[int, Program]) -> None:
    for pid in running:
        # It leads a group once it has called setsid; before, it has no children.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
    for pid in list(running):
        os.waitpid(pid, 0)
        del running[pid]


def _reap(running: dict[int, Program], expected: int = 0) -> list[str]:
    """Remove ended programs from `running`; return a message for each one except `expected`."""
    messages: list[str] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return messages
        if pid == 0:
            return messages
        program = running.pop(pid, None)
        if program is not None:
            # A killed program leaves its children: nginx's keep serving.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if pid != expected:
                messages.append(f"{program.name} ended with status {os.waitstatus_to_exitcode(status)}")


def _start(program: Program) -> int:
    """Fork and execute; return the process id, which is also the id of a new process group."""
    parent = os.getpid()
    # Block signals to the child until the supervisor's handlers are removed.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid
    try:
        for watched in _WATCHED:
            signal.signal(watched, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # A new session: Ctrl-C in a terminal reaches only the supervisor, which then drains.
        os.setsid()
        if sys.platform == "linux":
            # If the supervisor is killed, the kernel ends the program.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
        os.chdir(program.folder)
        os.execve(program.command[0], list(program.command), program.environment)  # noqa: S606
    except OSError as error:
        _say(f"{program.name} can't be started: {error}")
    finally:
        os._exit(127)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # A closed stderr must not stop the draining.
        os.write(2, f"serve: {message}\n".encode())
