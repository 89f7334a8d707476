"""pytest-xdist for a run that ends whatever happens: a worker that dies costs the test it died in, and no other.

pytest-xdist 3.8 hands on the files of a dead worker together with the tests that it had completed (its issues 1323 and
1378), and a single test without the word that it is the last (1327): the worker that gets them waits for ever. It also
runs the test again that the worker died in (its pull request 1371), and so loses one worker after another.
"""

import signal
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling


class CrashProofScheduling(LoadFileScheduling):
    """`--dist loadfile`, but for what is left of the files of a worker that died."""

    def remove_node(self, node):
        workload = self.assigned_work.pop(node)
        left = {
            scope: {nodeid: False for nodeid, is_completed in unit.items() if not is_completed}
            for scope, unit in workload.items()
        }
        pending = [(scope, nodeid) for scope, unit in left.items() for nodeid in unit]
        if not pending:
            return None
        scope, crashed = pending[0]
        del left[scope][crashed]
        self.workqueue.update((scope, unit) for scope, unit in left.items() if unit)
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _reschedule(self, node):
        super()._reschedule(node)
        # A worker begins a test when it knows the next one, or that there is none.
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue and not node.shutting_down:
            node.shutdown()


class Witness:
    """In the process that shows the results: which tests are running, and how a worker died; SIGTERM ends the run.

    A kill leaves no trace in the worker's output, and one by the kernel for want of memory looks like any other.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._running: set[str] = set()
        self._kills_for_memory = _kills_for_memory()
        # With all that is known, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid):
        self._running.add(nodeid)

    def pytest_runtest_logfinish(self, nodeid):
        self._running.discard(nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        if not error:
            return
        status = node.gateway._io.popen.wait(timeout=30)
        kills = _kills_for_memory() - self._kills_for_memory
        self._say(f"[{node.gateway.id}] ended with status {status}; processes killed for want of memory: {kills}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem):
        self._running.discard(crashitem)
        self._say(f"it was running {crashitem}")

    def pytest_terminal_summary(self):
        for nodeid in sorted(self._running):
            self._say(f"still running: {nodeid}")

    def _say(self, line: str) -> None:
        self._config.pluginmanager.getplugin("terminalreporter").write_line(line)


def _kills_for_memory() -> int:
    """By the kernel since it started."""
    counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(counters.get("oom_kill", 0))
