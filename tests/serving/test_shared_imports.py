"""The code that gunicorn's arbiter imports for its workers."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_START = """
import os
import sys
from types import SimpleNamespace

import serving.server.gunicorn_conf as conf

conf.on_starting(SimpleNamespace(cfg=SimpleNamespace(workers=int(sys.argv[1]))))
print(len(os.listdir("/proc/self/task")), *[name in sys.modules for name in ("serving.app", "openvino", "tensorflow")])
"""


@pytest.mark.parametrize(("workers", "is_imported"), [(2, True), (1, False)])
def test_several_workers_share_the_code_of_the_app_and_no_thread_is_lost_by_the_fork(workers, is_imported):
    command = [sys.executable, "-c", _START, str(workers)]
    environment = {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split() == ["1", str(is_imported), "False", "False"]
