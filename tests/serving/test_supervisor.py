"""Programs that run side by side and end together, with real processes."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from serving_stack import ROOT, children, is_in_state, processes, wait_for

from serving.server.supervisor import Program, _kill

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_STUBBORN = "trap '' TERM; touch up; while true; do sleep 0.05; done"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(folder, *scripts): a supervisor of shell scripts, which exits with the result of supervise()."""
    with contextlib.ExitStack() as started:

        def start(
            folder: Path,
            *scripts: str,
            grace: float = 5,
            like_process_1: bool = False,
            drain: float = 0,
            hang_up: signal.Handlers = signal.SIG_DFL,
        ) -> subprocess.Popen[str]:
            def prepare() -> None:
                signal.signal(signal.SIGHUP, hang_up)  # The tests may run under nohup.
                if like_process_1:
                    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

            process = subprocess.Popen(
                [sys.executable, "-c", program(folder, scripts, grace, drain)],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=prepare,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def program(folder: Path, scripts: Sequence[str], grace: float, drain: float) -> str:
    return (
        "import os, sys; from pathlib import Path; from serving.server.supervisor import Drain, Program, supervise\n"
        f"drain = Drain({drain}, Path({str(folder / 'draining')!r}).touch)\n"
        f"programs = [Program(f'p{{i}}', ['/bin/sh', '-c', s], Path({str(folder)!r}), os.environ)"
        f" for i, s in enumerate({list(scripts)!r})]\n"
        f"sys.exit(supervise(programs, {grace}, drain))"
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=20)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_in_order_and_exits_with_0(start, tmp_path, number):
    scripts = [
        f"trap 'sleep 0.2; echo {name} >> order; exit 0' TERM; touch {name}.up; while true; do sleep 0.02; done"
        for name in ("front", "back")
    ]
    process = start(tmp_path, *scripts)
    wait_for(lambda: (tmp_path / "front.up").exists() and (tmp_path / "back.up").exists())
    process.send_signal(number)
    assert end(process) == (0, "")
    assert (tmp_path / "order").read_text() == "front\nback\n"


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_one_that_ends_ends_the_others(start, tmp_path, script, status):
    process = start(
        tmp_path, "trap 'touch drained; exit 0' TERM; while true; do sleep 0.02; done", f"sleep 0.3; {script}"
    )
    assert end(process) == (1, f"serve: p1 ended with status {status}; stopping\n")
    assert (tmp_path / "drained").exists()


def test_a_drain_that_can_not_be_announced_stops_all_the_same(start, tmp_path):
    (tmp_path / "draining").symlink_to("missing/file")
    script = "trap 'touch stopped; exit 0' TERM; touch up; while true; do sleep 0.02; done"
    process = start(tmp_path, script, drain=0.1)
    wait_for((tmp_path / "up").exists)
    process.terminate()
    status, messages = end(process)
    assert status == 0
    assert "the drain can't be announced" in messages
    assert (tmp_path / "stopped").exists()


def test_one_that_does_not_finish_is_killed(start, tmp_path):
    process = start(tmp_path, _STUBBORN, grace=0.3)
    wait_for((tmp_path / "up").exists)
    process.terminate()
    status, err = end(process)
    assert status == 1
    assert "p0 did not finish in time; killed" in err


def test_a_second_signal_kills_at_once(start, tmp_path):
    process = start(tmp_path, _STUBBORN, grace=60)
    wait_for((tmp_path / "up").exists)
    process.terminate()
    time.sleep(0.2)
    process.terminate()
    assert end(process)[0] == 1


def test_a_signal_with_the_end_of_a_program_drains_the_others(start, tmp_path):
    """Both come while the supervisor does not run; the one that says to stop is the first of its kind."""
    front = "touch front.up; while true; do sleep 0.02; done"
    back = "trap 'echo drained > back; exit 0' TERM; touch back.up; while true; do sleep 0.02; done"
    process = start(tmp_path, front, back)
    wait_for(lambda: (tmp_path / "front.up").exists() and (tmp_path / "back.up").exists())
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: is_in_state(process.pid, "T"))
    front = min(children(process.pid))
    os.kill(front, signal.SIGKILL)
    wait_for(lambda: is_in_state(front, "Z"))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert end(process) == (0, "serve: p0 ended with status -9; stopping\n")
    assert (tmp_path / "back").read_text() == "drained\n"


_WILLING = "trap 'touch stopped; exit 0' TERM; touch up; while true; do sleep 0.02; done"


def test_sigterm_drains_first(start, tmp_path):
    process = start(tmp_path, _WILLING, drain=0.6)
    wait_for((tmp_path / "up").exists)
    began = time.monotonic()
    process.terminate()
    wait_for((tmp_path / "draining").exists)
    assert not (tmp_path / "stopped").exists()
    assert end(process) == (0, "")
    assert time.monotonic() - began >= 0.6
    assert (tmp_path / "stopped").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain(start, tmp_path, number):
    process = start(tmp_path, _WILLING, drain=60)
    wait_for((tmp_path / "up").exists)
    process.terminate()
    wait_for((tmp_path / "draining").exists)
    process.send_signal(number)
    assert end(process) == (0, "")
    assert (tmp_path / "stopped").exists()


def test_sigint_does_not_drain(start, tmp_path):
    process = start(tmp_path, _WILLING, drain=60)
    wait_for((tmp_path / "up").exists)
    process.send_signal(signal.SIGINT)
    assert end(process) == (0, "")
    assert not (tmp_path / "draining").exists()


def test_the_end_of_a_program_ends_the_drain(start, tmp_path):
    process = start(tmp_path, _WILLING, "while [ ! -e draining ]; do sleep 0.02; done; exit 3", drain=60)
    wait_for((tmp_path / "up").exists)
    process.terminate()
    assert end(process) == (0, "serve: p1 ended with status 3; stopping\n")
    assert (tmp_path / "stopped").exists()


def test_two_signals_at_once_kill(start, tmp_path):
    process = start(tmp_path, _STUBBORN, grace=15)
    wait_for((tmp_path / "up").exists)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: is_in_state(process.pid, "T"))
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        process.send_signal(number)
    assert end(process) == (1, "serve: killed\n")
    assert time.monotonic() - began < 10


def test_one_signal_after_the_end_of_a_program_does_not_kill_the_others(start, tmp_path):
    back = "trap 'touch asked; sleep 0.5; echo drained > back; exit 0' TERM; touch up; while true; do sleep 0.02; done"
    process = start(tmp_path, "while [ ! -e up ]; do sleep 0.02; done; exit 3", back)
    wait_for((tmp_path / "asked").exists)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (1, "serve: p0 ended with status 3; stopping\n")
    assert (tmp_path / "back").read_text() == "drained\n"


def test_signals_that_whoever_started_it_blocked_are_heard(start, tmp_path):
    script = "trap 'exit 0' TERM; touch up; while true; do sleep 0.02; done"
    blocked = {signal.SIGTERM, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        process = start(tmp_path, script)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wait_for((tmp_path / "up").exists)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (0, "")


def test_nohup_stays_so(start, tmp_path):
    script = "trap 'exit 0' TERM; touch up; while true; do sleep 0.02; done"
    process = start(tmp_path, script, hang_up=signal.SIG_IGN)
    wait_for((tmp_path / "up").exists)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (0, "")


def test_the_others_are_drained_though_nobody_reads_what_is_said(start, tmp_path):
    back = "trap 'echo drained > back; exit 0' TERM; touch up; while true; do sleep 0.02; done"
    process = start(tmp_path, "while [ ! -e go ]; do sleep 0.02; done; exit 3", back)
    wait_for((tmp_path / "up").exists)
    process.stderr.close()
    (tmp_path / "go").touch()
    assert process.wait(20) == 1
    assert (tmp_path / "back").read_text() == "drained\n"


def test_no_signal_disturbs_what_tidies_up_afterwards():
    code = (
        "import os, signal; from pathlib import Path; from serving.server.supervisor import Program, supervise\n"
        "supervise([Program('it', ['/bin/true'], Path('/'), {})], 1)\n"
        "os.kill(os.getpid(), signal.SIGTERM); print('tidy')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout) == (0, "tidy\n")


def test_no_signal_is_missed_whenever_it_comes():
    """One that came when the supervisor was about to wait was noticed at the next, seconds or hours later.

    And one to a child that was just forked, which had the supervisor's handlers still, was lost.
    """
    code = """
import os, signal, sys, threading, time
from pathlib import Path
from serving.server.supervisor import Program, supervise

def stop_after(pauses):
    # A pause of this thread is when the other one has run, and now gives Python's lock back, to wait for signals.
    while signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        pass
    last = time.perf_counter()
    end = last + 0.05
    while pauses and last < end:
        now = time.perf_counter()
        pauses -= now - last > 20e-6
        last = now
    os.kill(os.getpid(), signal.SIGTERM)

for number in range(100):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    thread = threading.Thread(target=stop_after, args=(number % 3 + 1,), daemon=True)
    thread.start()
    if supervise([Program("it", ["/bin/sleep", "10"], Path("/"), {})], 5):
        sys.exit(f"round {number}")
    thread.join()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_child_that_leads_no_group_yet_is_killed():
    """Between fork and setsid it still is in the supervisor's group; beside it one that has come further."""
    program = Program("it", [], Path("/"), {})
    early = subprocess.Popen(["sleep", "60"])
    late = subprocess.Popen(["sleep", "60"], start_new_session=True)
    running = {early.pid: program, late.pid: program}
    _kill(running)
    assert not running
    alive = {process.pid for process in processes()} & {early.pid, late.pid}
    early.wait(20)
    late.wait(20)
    assert not alive


def test_a_program_that_is_not_there(tmp_path):
    code = (
        "import sys; from pathlib import Path; from serving.server.supervisor import Program, supervise\n"
        "sys.exit(supervise([Program('it', ['/no/such/program'], Path('/'), {})], 1))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert "it can't be started: [Errno 2]" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_orphans_leave_no_zombies(start, tmp_path):
    # The inner shell ends at once and leaves its child to the supervisor.
    process = start(tmp_path, "sh -c '(sleep 0.3; touch ended) &'; exec sleep 60", like_process_1=True)
    wait_for((tmp_path / "ended").exists)
    wait_for(lambda: not [child for child in processes() if child.parent == process.pid and child.state == "Z"])
    assert list(children(process.pid).values()) == ["sleep 60 "]
    process.terminate()
    assert end(process)[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_programs_end_with_a_supervisor_that_is_killed(start, tmp_path):
    process = start(tmp_path, "touch up; exec sleep 60")
    wait_for((tmp_path / "up").exists)
    (program,) = children(process.pid)
    process.kill()
    end(process)
    wait_for(lambda: program not in [found.pid for found in processes() if found.state != "Z"])
