"""SIGTERM ends a command, also one that is inside a long call of C."""

import signal
import subprocess
import sys
import threading

import pytest

from textclf.cli.termination import ends_on_sigterm

_COMMAND = """
import hashlib, threading, time
from textclf.cli.termination import ends_on_sigterm

def sleep_again():
    try:
        time.sleep(60)
    finally:
        time.sleep(60)

with ends_on_sigterm(max_seconds=0.5):
    # The signal must not come before the work.
    threading.Timer(0.5, lambda: print("ready", flush=True)).start()
    try:
        {work}
    finally:
        print("cleaned up", flush=True)
"""
_WORK = {
    "python": ("time.sleep(60)", "cleaned up\n"),
    "c": ("hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)", ""),
    "python that does not end": ("sleep_again()", ""),
}


@pytest.mark.parametrize(("work", "output"), _WORK.values(), ids=_WORK)
def test_sigterm_ends_the_process(work, output):
    with subprocess.Popen([sys.executable, "-c", _COMMAND.format(work=work)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert process.stdout.read().decode() == output


_FORK = """
import os, signal, sys, time
from textclf.cli.termination import ends_on_sigterm

with ends_on_sigterm(max_seconds=0.2):
    child = os.fork()
    if not child:
        time.sleep(60)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    # The watcher of this process would have ended it by then.
    time.sleep(1)
    child = os.fork()
    if not child:
        time.sleep(60)
print("over", flush=True)  # The second child is still there, and keeps the pipe open.
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_a_signal_to_a_forked_process_is_not_one_to_its_parent():
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{-signal.SIGTERM}\nover\n", "")


_LEAVING = """
import os
from textclf.cli.termination import ends_on_sigterm

child = 0
with ends_on_sigterm():
    child = os.fork()
if not child:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_may_leave_the_block():
    done = subprocess.run([sys.executable, "-c", _LEAVING], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_handlers_and_threads_end_with_the_block():
    before, threads = signal.set_wakeup_fd(-1), threading.active_count()
    handler = signal.getsignal(signal.SIGTERM)
    with ends_on_sigterm():
        assert threading.active_count() == threads + 1
        assert signal.getsignal(signal.SIGTERM) != handler
    assert signal.getsignal(signal.SIGTERM) == handler
    assert signal.set_wakeup_fd(before) == -1
    assert threading.active_count() == threads


_NESTED = """
import signal
from textclf.cli.termination import ends_on_sigterm

with ends_on_sigterm(max_seconds=0.2):
    try:
        with ends_on_sigterm(max_seconds=0.2):
            signal.raise_signal(signal.SIGTERM)
    except SystemExit as end:
        print(end.code)
"""


def test_nested_blocks_end_in_turn():
    done = subprocess.run([sys.executable, "-c", _NESTED], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "")


def test_other_threads_may_run_commands():
    def run():
        with ends_on_sigterm():
            done.append(True)

    done = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done
