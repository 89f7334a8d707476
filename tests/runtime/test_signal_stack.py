"""A signal does not kill a process whose models were replaced: its stack for signal handlers is still mapped."""

import subprocess
import sys

import pytest
from tiny_engine import write_version

REPLACING = """
import gc, signal, sys, threading
from pathlib import Path
from textclf.runtime.engine import load_engine
from textclf.store.model_store import open_model

version = open_model(Path(sys.argv[1]))
loaded = [load_engine(version, 1)]

def replace():
    loaded[0] = load_engine(version, 1)
    gc.collect()

for _ in range(3):
    if sys.argv[2] == "thread":
        thread = threading.Thread(target=replace)
        thread.start()
        thread.join()
    else:
        replace()
loaded.clear()
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("store"), precision="bfloat16")


@pytest.mark.parametrize("where", ["thread", "main"])
def test_a_signal_is_handled_after_models_were_replaced(version, where):
    command = [sys.executable, "-c", REPLACING, str(version), where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
