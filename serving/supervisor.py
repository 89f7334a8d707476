"""Runs the programs of a server side by side, and ends all of them when one ends or when it is told to stop.

It may be process 1 of a container: every child that is left to it is reaped. Standard library only, for a quick start.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@dataclass(frozen=True)
class Program:
    """A program to run.

    Attributes:
        name: for messages.
        command: the executable's path, and its arguments.
        folder: its working directory.
        environment: its whole environment.
        drain_signal: lets it finish what it is answering, and then ends it.
    """

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    drain_signal: signal.Signals = signal.SIGTERM


def supervise(programs: Sequence[Program], grace: float) -> int:
    """Run the programs until SIGTERM or SIGINT comes, or until one of them ends by itself.

    Then the others are drained in their order, the one that faces the clients first. After `grace` seconds, or at
    a second signal, what still runs is killed.

    Returns:
        The exit status: 0 if it was told to stop and everything was drained, else 1.
    """
    with _caught_signals() as signals:
        running = {_start(program): program for program in programs}
        told_to_stop = False
        while not told_to_stop and len(running) == len(programs):
            told_to_stop = _next(signals) != signal.SIGCHLD
            for message in _reap(running):
                _say(f"{message}; stopping")
        drained = _drain(running, signals, time.monotonic() + grace)
    return 0 if told_to_stop and drained else 1


def _drain(running: dict[int, Program], signals: int, deadline: float) -> bool:
    """End the programs one after another; False if they had to be killed."""
    for pid, program in list(running.items()):
        if pid in running:
            os.kill(pid, program.drain_signal)
        while pid in running:
            number = _next(signals, max(0.0, deadline - time.monotonic()))
            for message in _reap(running, expected=pid):
                _say(message)
            if number != signal.SIGCHLD and pid in running:
                _say("killed" if number else f"{program.name} did not finish in time; killed")
                _kill(running)
                return False
    return True


@contextlib.contextmanager
def _caught_signals() -> Iterator[int]:
    """For the time of the block the watched signals come out of the file of this number, a byte each.

    A handler in Python would not do: what is caught between its last check for signals and the beginning of a wait
    does not end the wait, so that a program that has ended may be noticed at the next signal only, if one comes.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer)
    before = {watched: signal.signal(watched, lambda *_: None) for watched in _WATCHED}
    try:
        yield reader
    finally:
        for watched, handler in before.items():
            signal.signal(watched, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reader)
        os.close(writer)


def _next(signals: int, timeout: float | None = None) -> int:
    """The number of the next signal, 0 if none comes in time."""
    return os.read(signals, 1)[0] if select.select([signals], [], [], timeout)[0] else 0


def _kill(running: dict[int, Program]) -> None:
    """Kill each program with the processes it started, and wait for it."""
    for pid in running:
        # It leads a group as soon as it has called setsid; until then there is only itself.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
    for pid in list(running):
        os.waitpid(pid, 0)
        del running[pid]


def _reap(running: dict[int, Program], expected: int = 0) -> list[str]:
    """Take the programs that have ended out of `running`; what to say of those but the `expected` one."""
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
            # Killed, it may have left processes of its own: nginx's go on serving.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if pid != expected:
                messages.append(f"{program.name} ended with status {os.waitstatus_to_exitcode(status)}")


def _start(program: Program) -> int:
    """Fork and execute; returns the process id, which is also that of a new process group."""
    parent = os.getpid()
    # A signal to the child waits until it is no longer the supervisor's handler that gets it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid
    try:
        for watched in _WATCHED:
            signal.signal(watched, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which then drains.
        os.setsid()
        if sys.platform == "linux":
            # If the supervisor is killed, nobody is left to end the program: let the kernel do it.
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
    os.write(2, f"serve: {message}\n".encode())
