"""Workers of pytest-xdist that die: a run of its own for each case, which ends by itself."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
import pytest
from crash_proof import CrashProofScheduling, Witness

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Witness(config))

def pytest_xdist_make_scheduler(config, log):
    return CrashProofScheduling(config, log)
"""
PASSING = "def test_{0}(): pass\n"
ONE, TWO, THREE = ("".join(PASSING.format(name) for name in "xyz"[:count]) for count in (1, 2, 3))
KILL = "import os, signal, time\ndef test_crash(): time.sleep(.2); os.kill(os.getpid(), signal.SIGKILL)\n"


def start(folder: Path, files: dict[str, str], workers: int) -> subprocess.Popen[str]:
    """pytest on `files`, as `make test` runs it, but in that folder."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    for name, content in files.items():
        (folder / f"test_{name}.py").write_text(content, encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Other plugins would only make it slower.
    environ |= {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["-p", "xdist.plugin", "-p", "no:cacheprovider", "-n", str(workers), "--dist", "loadfile"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", *options, "--no-loadscope-reorder", "--rootdir", folder, folder],
        cwd=folder,
        env=environ,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    """What it said, once it has ended."""
    try:
        return process.communicate(timeout=60)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


@pytest.mark.parametrize(
    ("files", "workers", "passed", "failed"),
    [
        # What the worker has completed, and what it has not, of its file and of the next.
        ({"a": THREE, "b": THREE, "crash": TWO + KILL + ONE.replace("x", "z"), "d": THREE, "e": THREE}, 2, 15, 1),
        # There is nothing left but one test.
        ({"a": THREE, "crash": KILL, "d": ONE}, 1, 4, 1),
        # Nothing is left, and both workers have died.
        ({"a": TWO + KILL, "crash": TWO + KILL}, 2, 4, 2),
    ],
)
def test_a_worker_that_dies_costs_one_test(tmp_path, files, workers, passed, failed):
    said = end(start(tmp_path, files, workers))
    assert f"{failed} failed, {passed} passed" in said
    assert said.count("ended with status -9; processes killed for want of memory: ") == failed
    assert "it was running test_crash.py::test_crash\n" in said


def test_sigterm_ends_the_run_with_what_is_known(tmp_path):
    wrong = "import time\ndef test_wrong(): assert 1 == 2\ndef test_long(): time.sleep(60)\ndef test_last(): pass\n"
    process = start(tmp_path, {"a": wrong}, workers=1)
    assert any("FAILED" in line for line in process.stdout)  # The line ends where the next test begins.
    os.killpg(process.pid, signal.SIGTERM)  # As timeout does.
    said = end(process)
    assert process.returncode == 2, said
    assert "assert 1 == 2" in said
    assert "still running: test_a.py::test_long\n" in said
