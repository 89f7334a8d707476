"""`textclf import` with names of the Hub, next to folders and archives."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hub_classifier import write_classifier
from loopback_hub import running_hub
from serving_stack import ROOT, free_port

from textclf.store.model_store import open_model

NAME = "tests/reviews"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub() as hub:
        hub.add_folder(NAME, write_classifier(tmp_path_factory.mktemp("hub") / "reviews"))
        yield hub


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `textclf import` in a folder, with a cache of its own."""
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf")}
    command = [sys.executable, "-m", "textclf", "import", *arguments, "--model-dir", "store"]
    return subprocess.run(command, cwd=folder, env={**base, **environ}, capture_output=True, text=True, timeout=120)


def test_a_name_of_the_hub_is_imported_and_a_commit_needs_no_hub(hub, tmp_path):
    (commit,) = hub.models[NAME]
    result = run(tmp_path, NAME, "--tokenizer", NAME, HF_ENDPOINT=hub.endpoint)
    assert result.returncode == 0, result.stderr
    source = open_model(tmp_path / "store").manifest.source
    assert (source["handle"], source["revision"], source["license"]) == (NAME, commit, "apache-2.0")
    closed = f"http://127.0.0.1:{free_port()}"
    assert run(tmp_path, f"hf://{NAME}@{commit}", HF_ENDPOINT=closed).returncode == 0


def test_an_existing_path_wins(hub, tmp_path):
    write_classifier(tmp_path / NAME, labels=("no", "yes"))
    result = run(tmp_path, NAME, HF_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 0, result.stderr
    assert open_model(tmp_path / "store").manifest.class_names == ("no", "yes")


def test_an_archive_is_unpacked(tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(write_classifier(tmp_path / "reviews"), ".")
    result = run(tmp_path, "model.tar.gz")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("handle", "says"),
    [
        ("tests/absent", "tests/absent: there is no such model, or it is private"),
        ("./absent", "HANDLE: expected a folder or an archive of a model, or OWNER/NAME of the Hub, got ./absent"),
        ("hf://a/b/c", "HANDLE: expected a model of the Hub as OWNER/NAME"),
    ],
)
def test_what_is_neither_is_one_line(hub, tmp_path, handle, says):
    result = run(tmp_path, handle, HF_ENDPOINT=hub.endpoint)
    assert (result.returncode, result.stderr[: len(says) + 7]) == (1, f"error: {says}")
    assert result.stderr.count("\n") == 1
