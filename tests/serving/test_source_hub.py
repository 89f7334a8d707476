"""HUB_MODEL_NAME: each failure at the start is one line with one status, and leaves nothing outside the cache."""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import Hub, running_hub
from serving_stack import ROOT, free_port, running_stack, wait_for

from serving.server import launcher
from serving.source.hub_start import failure_of
from textclf.errors import ModelStoreError

NAME = "tests/tiny"
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(100_000)}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.add(NAME, FILES)
        yield hub


def refused(capfd: pytest.CaptureFixture[str], hub: Hub, folder: Path, **environ: str) -> tuple[int, str]:
    """The status and the last line of a start that is refused."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    base = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "NGINX": "off", "PREDICTION_LOG_URL": "off"}
    place = {"HUB_MODEL_NAME": NAME, "HF_ENDPOINT": hub.endpoint, "TMPDIR": str(temporary)}
    status = launcher.run({**base, **place, **environ})
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert all(line.startswith("serve: ") for line in lines[:-1]), err
    assert {path.name for path in temporary.iterdir()} <= {f"textclf-hub-{os.geteuid()}"}
    return status, lines[-1]


def test_a_model_of_another_kind_is_one_line(hub, capfd, tmp_path):
    hub.add("tests/gpt", {**FILES, "config.json": b'{"model_type": "gpt2"}'})
    status, line = refused(capfd, hub, tmp_path, HUB_MODEL_NAME="tests/gpt")
    assert (status, line.startswith("error: tests/gpt: ")) == (4, True), line
    assert str(tmp_path) not in line


def test_sigterm_ends_an_import(hub, tmp_path):
    hub.gate.clear()
    environ = {"HUB_MODEL_NAME": NAME, "HF_ENDPOINT": hub.endpoint, "TMPDIR": str(tmp_path), "NGINX": "off"}
    with running_stack(tmp_path / "run", tmp_path, wait=False, **environ) as stack:
        wait_for(lambda: hub.requests, 30)
        started = time.monotonic()
        assert stack.stop() == 143, stack.log
        assert time.monotonic() - started < 10
        assert "Traceback" not in stack.log


@pytest.mark.parametrize(
    ("environ", "fault", "status", "says"),
    [
        ({"HUB_MODEL_NAME": "tests/absent"}, "", 3, "tests/absent: there is no such model, or it is private"),
        ({"HUB_MODEL_NAME": f"{NAME}@v2"}, "", 3, "tests/tiny@v2: there is no such revision"),
        ({"HF_HUB_OFFLINE": "1"}, "", 3, "tests/tiny: is not in the cache, and HF_HUB_OFFLINE forbids"),
        ({}, "gated", 3, "tests/tiny: access is gated"),
        ({}, "broken", 3, "tests/tiny: model.safetensors: expected SHA-256"),
        ({"MODEL_MAX_BYTES": "1000"}, "", 4, "tests/tiny: expected at most 1,000 bytes to download, got 100,004"),
        ({"HUB_CACHE_DIR": "/dev/null/cache"}, "", 2, "HUB_CACHE_DIR: expected a folder that user"),
        # A folder that exists, in which not even root can write.
        ({"HUB_CACHE_DIR": "/sys/kernel"}, "", 2, "HUB_CACHE_DIR: expected a folder that user"),
        (
            {"HUB_CACHE_DIR": "/var/none", "SERVERLESS": "1"},
            "",
            2,
            "HUB_CACHE_DIR, SERVERLESS: expected a folder below",
        ),
    ],
)
def test_each_failure_is_one_line_and_one_status(hub, capfd, tmp_path, environ, fault, status, says):
    hub.fault = fault
    found, line = refused(capfd, hub, tmp_path, **environ)
    assert (found, line[: len(says) + 7]) == (status, f"error: {says}")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, "config"), (errno.EPERM, "config"), (errno.EROFS, "config"), (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"), (errno.EIO, "file"),
    ],
)  # fmt: skip
def test_errors_of_the_file_system_by_what_to_do(number, kind):
    error = OSError(number, os.strerror(number), "/cache/locks")
    assert failure_of(error, "/cache")["kind"] == kind
    wrapped = ModelStoreError("the store can't be written")
    wrapped.__cause__ = error
    assert failure_of(wrapped, "/cache")["kind"] == ("unusable" if kind == "file" else kind)


def test_without_the_extra_it_is_named(hub, capfd, tmp_path):
    (tmp_path / "huggingface_hub.py").write_text("raise ModuleNotFoundError(name='huggingface_hub')", "utf-8")
    status, line = refused(capfd, hub, tmp_path, PYTHONPATH=str(tmp_path))
    assert (status, "install textclf with its extra `hub`, or build the image" in line) == (2, True), line


def test_the_default_cache_is_of_this_user_alone(hub, capfd, tmp_path):
    refused(capfd, hub, tmp_path, HUB_MODEL_NAME="tests/absent")
    (folder,) = (tmp_path / "tmp").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    status, line = refused(capfd, hub, tmp_path)
    assert (status, "expected a folder that only user" in line) == (2, True), line


def test_a_plain_server_imports_nothing_of_the_hub():
    code = "import sys, serving.app, serving.wsgi, serving.server.launcher; print(*sys.modules)"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "serving.source.location" in loaded
    assert not loaded & {"huggingface_hub", "httpx", "tokenizers", "safetensors", "nncf", "textclf.hub.client"}
