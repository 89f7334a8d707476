"""A command run again and again, and `monitoring.py watch`: real processes, real signals."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from command_lines import Shell
from monitored import log_texts, products
from serving_stack import ROOT
from tiny_engine import tiny_reviews, write_version

from monitoring import main
from textclf.drift.state import DRIFT, read_state, update_state
from textclf.monitoring.scheduler import Scheduler

WATCH = """
import sys, time
from pathlib import Path
from textclf.monitoring.scheduler import Scheduler
failures = Path({folder!r}) / "failures"
Scheduler([sys.executable, "-c", {run!r}], {every}, {{0, 3}}, lambda: failures.open("a").write("x")).run(time.time())
"""


@pytest.fixture
def watch(tmp_path):
    """Starts a watcher of a piece of Python that runs in the test's folder."""
    started = []

    def watch(run, every=0.2):
        code = WATCH.format(folder=str(tmp_path), run=run, every=every)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield watch
    for process in started:
        process.kill()
        with process:
            pass


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def ended(process, seconds=10.0):
    """SIGTERM: how long it took, the status, stdout and stderr."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=seconds)
    return time.monotonic() - begin, process.returncode, out, err


def content(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


class EndedError(Exception):
    pass


def test_a_clock_that_is_set_back_does_not_stop_the_runs():
    now, passed, starts = [10.0**9], [0.0], []

    def run():
        starts.append(passed[0])
        if len(starts) == 2:
            now[0] -= 40 * 86_400
        if len(starts) == 5:
            raise EndedError

    def wait(seconds):
        now[0] += seconds
        passed[0] += seconds
        assert passed[0] < 6 * 3600, "the next run waits for the day that the clock showed before"

    scheduler = Scheduler(
        [sys.executable, "-c", "raise SystemExit(1)"], 3600.0, {0}, run, clock=lambda: now[0], wait=wait
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(EndedError):
            scheduler.run(now[0])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert starts[:2] == [0.0, 3600.0]
    assert starts[4] - starts[2] == 7200.0


def test_a_run_that_fails_is_one_line_and_the_next_one_comes(watch, tmp_path):
    runs = tmp_path / "runs"
    process = watch(
        "import sys; f = open('runs', 'a'); f.write('x'); f.close(); n = len(open('runs').read()); print('run', n)\n"
        "print('a warning', file=sys.stderr)\n"
        "sys.exit('error: run 2' if n == 2 else 3 if n == 3 else 0)"
    )
    wait_until(lambda: len(content(runs)) >= 4)
    _, status, out, err = ended(process)
    assert status == 0
    assert out.startswith("run 1\nrun 2\nrun 3\n")
    (line,) = [line for line in err.splitlines() if line != "a warning"]
    assert "this run failed with status 1, the next one will come: error: run 2" in line
    assert err.count("a warning") >= 3
    assert content(tmp_path / "failures") == "x"


def test_sigterm_ends_a_run_that_does_not_want_to(watch, tmp_path):
    process = watch(
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('new', 'w').write(str(os.getpid())); os.rename('new', 'pid'); time.sleep(60)"
    )
    wait_until((tmp_path / "pid").exists)
    seconds, status, _, err = ended(process)
    assert (status, err) == (0, "")
    assert seconds < 3  # 1.6, and what a busy machine adds.
    with pytest.raises(ProcessLookupError):
        os.kill(int(content(tmp_path / "pid")), 0)
    assert content(tmp_path / "failures") == ""


def test_runs_never_overlap(watch, tmp_path):
    process = watch(
        "import os, time\n"
        "assert not os.path.exists('inside'); open('inside', 'w').close(); time.sleep(.5); os.remove('inside')\n"
        "open('runs', 'a').write('x')"
    )
    wait_until(lambda: len(content(tmp_path / "runs")) >= 2)
    _, _, _, err = ended(process)
    assert "AssertionError" not in err
    assert content(tmp_path / "failures") == ""


def test_a_command_that_can_not_be_started_is_a_failure(tmp_path, capsys):
    failures = []
    Scheduler([str(tmp_path / "missing")], 1.0, {0}, lambda: failures.append(1), clock=lambda: 0.0).run_once()
    assert failures == [1]
    assert capsys.readouterr().err.startswith("1970-01-01 00:00:00 UTC: this run could not be started")


def test_runs_keep_to_the_times_that_the_first_one_set():
    """Run 2 lasts longer than two intervals, and the machine sleeps for four before run 3."""
    now, starts, lasts = [100.0], [], iter([1.0, 25.0, 1.0, 1.0])

    class Timed(Scheduler):
        def run_once(self):
            starts.append(now[0])
            now[0] += next(lasts, 0.0)
            if len(starts) == 5:
                raise EndedError

    def wait(seconds):
        now[0] += seconds + (43.0 if len(starts) == 2 else 0.0)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(EndedError):
            Timed(["unused"], 10.0, {0}, lambda: None, clock=lambda: now[0], wait=wait).run(50.0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert starts == [100.0, 110.0, 183.0, 190.0, 200.0]


@pytest.mark.slow
def test_watch(tmp_path):
    """A run that fails because there is no log yet, one that judges the window, and the end in the midst of another."""
    store = tmp_path / "model"
    write_version(store, reference_texts=tiny_reviews(150))
    (tmp_path / "later").mkdir()
    log_texts(store, tmp_path / "later", products(120), [time.time() - 3600.0] * 120)
    with Shell(tmp_path) as shell:
        url = f"sqlite:///{tmp_path}/log/predictions.sqlite"
        process = shell.start(
            *("monitoring.py", "watch", "--model-path", store, "--every", "1s", "--windows", "1of2", "--log-url", url)
        )
        wait_until(lambda: read_state(store).failed_runs)
        (tmp_path / "later" / "log").rename(tmp_path / "log")
        wait_until(lambda: read_state(store).windows)
        seconds, status, out, err = ended(process, 30.0)
    assert status == 0
    assert seconds < 10  # 1.6 at most for the run, and what a busy machine adds.
    assert out.startswith("Drift: the 120 latest texts")
    state = read_state(store)
    assert [(window.verdict, window.texts) for window in state.windows] == [(DRIFT, 120)]
    lines = err.splitlines()
    assert len(lines) == state.failed_runs
    assert "this run failed with status 1, the next one will come: error: sqlite:///" in lines[0]


def test_a_restart_goes_on_where_the_last_window_ended(tmp_path, monkeypatch):
    store = tmp_path / "model"
    (store / "versions").mkdir(parents=True)
    update_state(store, lambda state: dataclasses.replace(state, edge=5_000.0))
    seen = {}
    monkeypatch.setattr(Scheduler, "run", lambda self, first: seen.update(vars(self), first=first))
    arguments = ["watch", "--model-path", str(store), "--every", "2h", "--log-url", "postgresql://me:secret@db/log"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert seen["first"] == 5_000 + 2 * 3600
    assert seen["environment"] == {"PREDICTION_LOG_URL": "postgresql://me:secret@db/log"}
    assert "--windows 2of3" in " ".join(seen["command"])
    assert "secret" not in " ".join(seen["command"])


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--every", "6"], 2),
        (["--windows", "4of3"], 2),
        (["--model-path", "none", "--retrain"], 2),
        (["--model-path", "none"], 1),
    ],
)
def test_what_makes_no_sense_ends_it_at_the_start(tmp_path, arguments, status):
    result = CliRunner().invoke(main, ["watch", *arguments])
    assert result.exit_code == status
    assert len(result.stderr.splitlines()) == 1
