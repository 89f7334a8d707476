"""The commands of ops/containers.mk, without docker and with a docker that only records its calls."""

import http.server
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from serving_stack import ROOT, free_port, is_in_state, processes, serving_python, wait_for

from textclf.store.model_store import ModelStore

# `docker info` fails unless HAS_DOCKER is set; a container that runs in the foreground ends with 7.
FAKE_DOCKER = """#!/bin/sh
[ -n "$HAS_DOCKER" ] || exit 1
printf '%s\\n' "$*" >>"$DOCKER_CALLS"
case "$*" in "run --rm"*) exit 7 ;; "run --detach"*) exec "$SERVER" ;; esac
"""


@pytest.fixture
def workspace(tmp_path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "docker").write_text(FAKE_DOCKER)
    (folder / "docker").chmod(0o755)
    return folder


def environment(workspace: Path, **more: str) -> dict[str, str]:
    own = {
        "PATH": f"{workspace}:{os.environ['PATH']}",
        "WORKSPACE": str(workspace),
        "TEXTCLF_TRAINING_PYTHON": sys.executable,
        "NGINX": "off",
        "MODEL_SERVER_WORKERS": "1",
        "DOCKER_CALLS": str(workspace / "calls"),
    }
    return {**os.environ, **own, **more}


def make(workspace: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run make from another directory, without a terminal."""
    return subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), *arguments],
        cwd=workspace,
        env=environment(workspace, **environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def files(tmp_path) -> Iterator[str]:
    """Address of a server of the folder tmp_path/files."""
    (tmp_path / "files").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "files"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_data_and_encoder_are_downloaded_and_trained_with_tensorboard(workspace, files, tmp_path, tiny_checkpoint):
    table = "post,tags\n" + "".join(f"good film {i},pos\nbad film {i},neg\n" for i in range(20))
    (tmp_path / "files/posts.csv").write_text(table)
    with tarfile.open(tmp_path / "files/encoder.tar.gz", "w:gz") as archive:
        archive.add(tiny_checkpoint, "encoder")

    columns = ("text_column=post", "label_column=tags")
    downloaded = make(workspace, "download_data", f"url={files}/posts.csv", *columns)
    assert downloaded.returncode == 0, downloaded.stderr
    assert (workspace / "datasets/posts.csv").read_text() == table
    assert "download.sh: without docker, with " in downloaded.stderr

    handle = f"{files}/encoder.tar.gz"
    fetched = make(workspace, "download_base_bert", f"handle={handle}")
    assert fetched.returncode == 0, fetched.stderr
    (tmp_path / "files/encoder.tar.gz").unlink()  # The encoder is kept.

    port = free_port()
    options = "ARGS=--epochs 3 --max-length 32 --recipe none --precision float32"
    command = ["make", "-C", str(ROOT), "train", f"encoder={handle}", f"tensorboard_port={port}", options]
    with subprocess.Popen(command, env=environment(workspace), stderr=subprocess.PIPE, text=True) as training:
        said = ""
        while "TensorBoard shows the curves" not in said:
            line = training.stderr.readline()
            assert line, said
            said += line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"TensorBoard" in page.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/runs", timeout=30) as runs:
            json.load(runs)
        said += training.communicate(timeout=300)[1]
    assert training.returncode == 0, said
    assert "TensorBoard has stopped" in said
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    assert ModelStore(workspace / "my-models").open().manifest.class_names == ("neg", "pos")
    assert list((workspace / "runs").rglob("events.out.tfevents.*"))


def test_a_stopped_training_is_not_left_running(workspace, tiny_checkpoint):
    options = "ARGS=--epochs 5000 --max-length 32 --recipe none --precision float32"
    command = ["make", "-C", str(ROOT), "train", f"encoder={tiny_checkpoint}", f"data={ROOT}/data/sample", options]
    with subprocess.Popen(
        [*command, "tensorboard_port="], env=environment(workspace), stderr=subprocess.PIPE, text=True
    ) as training:
        said = ""
        while "epoch 1" not in said:
            part = training.stderr.read(1)
            assert part, said
            said += part
        training.terminate()
        # The pipe stays open as long as the training runs.
        training.communicate(timeout=120)
    assert training.returncode != 0
    assert not list((workspace / "my-models").glob("versions/*"))
    assert list((workspace / "runs").rglob("*checkpoint*"))


def test_a_server_starts_is_replaced_and_stops(workspace):
    serving = {"TEXTCLF_SERVING_PYTHON": serving_python(), "CASCADE": "off"}
    ids = []
    try:
        for _ in range(2):
            port = free_port()
            started = make(workspace, "start_api", f"api_port={port}", f"model={ROOT / 'model'}", **serving)
            assert started.returncode == 0, started.stderr
            assert started.stdout == f"http://127.0.0.1:{port}\n"
            assert "without docker, with " in started.stderr
            body = json.dumps({"X": ["a great film"]}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                assert json.load(response)["predictions"] == ["pos"]
            ids.append(int((workspace / ".api/pid").read_text()))
        assert ids[0] != ids[1]
        assert ids[0] not in {process.pid for process in processes()} or is_in_state(ids[0], "Z")
        refused = make(workspace, "train", f"tensorboard_port={port}")
        assert refused.returncode == 2
        assert "expected a free port" in refused.stderr
    finally:
        stopped = make(workspace, "stop_api")
    assert stopped.returncode == 0, stopped.stderr
    assert f"stopped process {ids[1]}" in stopped.stderr
    wait_for(lambda: not [one for one in processes() if one.pid == ids[1] and one.state != "Z"])
    assert "no server is running" in make(workspace, "stop_api").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "gpu=first"), "train.sh: expected gpu= with the number of a GPU or all, got first"),
        (("train", "data=nowhere", "tensorboard_port="), "train.sh: expected data= with a folder, table or archive"),
        (("train", "tensorboard_port=x"), "train.sh: expected a port number, got x"),
        (("download_data", "url="), "download.sh: expected url=ADDRESS, got none"),
        (("start_api", "model=nowhere"), "api.sh: expected model= with a model store, got nowhere"),
        (("start_api", f"model={ROOT / 'model'}", "api_port=1x"), "api.sh: expected a port number, got 1x"),
    ],
)
def test_errors_are_one_line(workspace, arguments, says):
    result = make(workspace, *arguments)
    assert result.returncode == 2
    # make adds a line of its own.
    assert re.fullmatch(rf"{re.escape(says)}[^\n]*\nmake: .*\n", result.stderr)


def test_docker_gets_the_same_commands(workspace):
    data = workspace / "reviews.csv"
    data.write_text("text,label\n")
    docker = {"HAS_DOCKER": "1"}
    assert make(workspace, "build_dev", **docker).returncode == 0
    assert make(workspace, "build_api", **docker).returncode == 0
    trained = make(workspace, "train", f"data={data}", "tensorboard_port=", "ARGS=--epochs 2", **docker)
    assert trained.returncode == 2  # The container ends with 7, and make with 2.
    assert "with docker, in the image textclf-training: train_model.py" in trained.stderr
    make(workspace, "train", "gpu=1", "tensorboard_port=", **docker)
    assert make(workspace, "stop_api", **docker).returncode == 0
    calls = [line for line in (workspace / "calls").read_text().splitlines() if not line.startswith(("info", "image"))]
    labels = [re.sub(r"--label \S+ ", "", line) for line in calls[:2]]
    assert labels == [
        f"build --target training --tag textclf-training {ROOT}",
        f"build --target serving --tag textclf {ROOT}",
    ]
    train, gpu, stop = calls[2:]
    assert f"--volume {data}:/mounted/data/reviews.csv:ro " in train
    assert f"--volume {workspace}/my-models:/app/my-models " in train
    assert train.endswith(
        " textclf-training python train_model.py --model-dir my-models --runs-dir runs --data-dir datasets --promote "
        "--encoder minilm-l6 --dataset-path /mounted/data/reviews.csv --epochs 2"
    )
    assert "--gpus device=1 " in gpu
    assert stop == "stop --time 30 textclf-api"
