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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


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
    """Run the programs until SIGTERM, SIGINT or SIGHUP comes, or until one of them ends by itself.

    Then the others are drained in their order, the one that faces the clients first. After `grace` seconds, or at
    a second signal, what still runs is killed. The signals stay caught: none disturbs what tidies up afterwards.

    Returns:
        The exit status: 0 if it was told to stop and everything was drained, else 1.
    """
    signals = _catch_signals()
    running = {_start(program): program for program in programs}
    stops = 0
    while not stops and len(running) == len(programs):
        stops = _stops(_next(signals))
        for message in _reap(running):
            _say(f"{message}; stopping")
    drained = _drain(running, signals, stops, time.monotonic() + grace)
    return 0 if stops and drained else 1


def _drain(running: dict[int, Program], signals: int, stops: int, deadline: float) -> bool:
    """End the programs one after another; False if they had to be killed. `stops`: so often it was told to stop."""
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
    """Have the watched signals come out of the file of this number, a byte each, whatever was done with them before.

    Handlers in Python would not do: a signal that comes between Python's last look for signals and the beginning of a
    wait does not end the wait, so that the end of a program may be noticed only when another signal comes, if ever.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for watched in _WATCHED:
        # nohup ignores it.
        if watched != signal.SIGHUP or signal.getsignal(watched) != signal.SIG_IGN:
            signal.signal(watched, lambda *_: None)
    # Whoever started this may have blocked some.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    return reader


def _next(signals: int, timeout: float | None = None) -> bytes:
    """The numbers of the next signals, none if none comes in time."""
    return os.read(signals, 64) if select.select([signals], [], [], timeout)[0] else b""


def _stops(numbers: bytes) -> int:
    """How many of the signals say to stop."""
    return len(numbers) - numbers.count(signal.SIGCHLD)


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
    with contextlib.suppress(OSError):  # Nobody may listen any more; the programs are to be drained all the same.
        os.write(2, f"serve: {message}\n".encode())
