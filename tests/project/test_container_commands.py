"""The commands of ops/containers.mk, without docker and with a docker that only records its calls."""

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fake_docker import docker_calls, fake_docker
from serving_stack import ROOT, free_port, is_in_state, processes, serving_python, wait_for

from textclf.store.model_store import ModelStore


@pytest.fixture
def workspace(tmp_path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "docker").write_text("#!/bin/sh\nexit 1\n")
    (folder / "docker").chmod(0o755)
    return folder


def environment(workspace: Path, **more: str) -> dict[str, str]:
    own = {
        "PATH": f"{workspace}:{os.environ['PATH']}",
        "WORKSPACE": str(workspace),
        "TEXTCLF_TRAINING_PYTHON": sys.executable,
        "NGINX": "off",
        "MODEL_SERVER_WORKERS": "1",
    }
    # `make test` hands its own level and options to the make of a test.
    outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return {**outer, **own, **more}


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


def test_data_of_another_address_does_not_pass_for_the_old(workspace, files, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "files" / folder).mkdir()
        (tmp_path / "files" / folder / "t.csv").write_text(f"text,label\n{folder},pos\n")
    with_secrets = f"{files}/a/t.csv?key=hidden".replace("//", "//me:hidden@")
    first = make(workspace, "download_data", f"url={with_secrets}")
    assert first.returncode == 0, first.stderr
    assert "hidden" not in first.stdout + first.stderr
    kept = workspace / "datasets/.sources/t.csv"
    assert kept.read_text() == f"{files}/a/t.csv\n"

    other = make(workspace, "download_data", f"url={files}/b/t.csv")
    assert other.returncode == 2
    assert (
        f"expected data from {files}/a/t.csv, because datasets/t.csv is from there, got {files}/b/t.csv" in other.stderr
    )
    assert (workspace / "datasets/t.csv").read_text() == "text,label\na,pos\n"

    (workspace / "datasets/t.csv").unlink()
    again = make(workspace, "download_data", f"url={files}/b/t.csv")
    assert again.returncode == 0, again.stderr
    assert (workspace / "datasets/t.csv").read_text() == "text,label\nb,pos\n"
    kept.unlink()
    unknown = make(workspace, "download_data", f"url={files}/a/t.csv")
    assert "datasets/t.csv is used again, and its address is not known" in unknown.stderr
    assert not kept.exists()


@pytest.mark.slow
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


@pytest.mark.slow
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
        for bad in ({"api_port": "1x"}, {"api_port": "65536"}, {"model": "nowhere"}, {"READY_SECONDS": "0"}):
            refused = make(workspace, "start_api", *(f"{name}={value}" for name, value in bad.items()), **serving)
            assert refused.returncode == 2
            assert int((workspace / ".api/pid").read_text()) == ids[1]
        missing = {**serving, "TEXTCLF_SERVING_PYTHON": str(workspace / "none")}
        assert make(workspace, "start_api", f"model={ROOT / 'model'}", **missing).returncode == 2
        assert [one for one in processes() if one.pid == ids[1] and one.state != "Z"]
    finally:
        stopped = make(workspace, "stop_api")
    assert stopped.returncode == 0, stopped.stderr
    assert f"stopped process {ids[1]}" in stopped.stderr
    wait_for(lambda: not [one for one in processes() if one.pid == ids[1] and one.state != "Z"])
    assert "no server is running" in make(workspace, "stop_api").stderr


_NAME = "download.sh: expected a name without quotes, backslashes and line breaks"

_FILE = "download.sh: expected url=ADDRESS with the name of a file at its end"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "gpu=first"), "train.sh: expected gpu= with the number of a GPU or all, got first"),
        (("train", "data=nowhere", "tensorboard_port="), "train.sh: expected data= with a folder, table or archive"),
        (("train", "tensorboard_port=x"), "train.sh: expected a port number, got x"),
        (("download_data", "url="), "download.sh: expected url=ADDRESS, got none"),
        (("download_data", "url=http://a.example/b/"), f"{_FILE}, got http://a.example/b/"),
        (("download_data", "url=http://u:secret@a.example?c=1"), f"{_FILE}, got http://a.example"),
        (("download_data", "url=http://127.0.0.1:1/a.csv", 'text_column=a"b'), f'{_NAME}, got a"b'),
        (("download_data", "url=http://127.0.0.1:1/a.csv", "label_column=a\\b"), f"{_NAME}, got a\\b"),
        (("download_data", 'url=http://127.0.0.1:1/a".csv'), f'{_NAME}, got a".csv'),
        (("start_api", "model=nowhere"), "api.sh: expected model= with a model store, got nowhere"),
        (("start_api", f"model={ROOT / 'model'}", "api_port=1x"), "api.sh: expected a port number, got 1x"),
    ],
)
def test_errors_are_one_line(workspace, arguments, says):
    result = make(workspace, *arguments)
    assert result.returncode == 2
    # make adds a line of its own.
    assert re.fullmatch(rf"{re.escape(says)}[^\n]*\nmake: .*\n", result.stderr)
    assert not (workspace / "datasets/data.toml").exists()


@pytest.fixture
def docker(workspace, monkeypatch) -> Iterator[Path]:
    """The workspace, with a docker that records its calls; its server is stopped at the end."""
    for name, value in fake_docker(workspace).items():
        monkeypatch.setenv(name, value)
    (workspace / "docker").unlink()
    yield workspace
    subprocess.run([workspace / "bin/docker", "stop"], check=True)


def in_docker(workspace: Path, *arguments: str, **environ: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run make with the docker that records; its result, and the calls that change something."""
    (workspace / "calls").write_text("")
    result = make(workspace, *arguments, **environ)
    read = ("info", "image inspect", "container inspect")
    return result, [line for line in docker_calls(workspace) if not line.startswith(read)]


USER = f"--user {os.getuid()}:{os.getgid()}"


def test_docker_builds_and_trains(docker):
    data = docker / "reviews.csv"
    data.write_text("text,label\n")
    for command, target, image in (("build_dev", "training", "textclf-training"), ("build_api", "serving", "textclf")):
        built, (call,) = in_docker(docker, command)
        assert built.returncode == 0
        assert re.sub(r"--label \S+ ", "", call) == f"build --target {target} --tag {image} {ROOT}"
    trained, (call,) = in_docker(docker, "train", f"data={data}", "tensorboard_port=", "ARGS=--epochs 2")
    assert trained.returncode == 2  # The container ends with 7, and make with 2.
    assert "with docker, in the image textclf-training: train_model.py" in trained.stderr
    assert f"--volume {data}:/mounted/data/reviews.csv:ro " in call
    assert f"--volume {docker}/my-models:/app/my-models " in call
    assert call.endswith(
        " textclf-training python train_model.py --model-dir my-models --runs-dir runs --data-dir datasets --promote "
        "--encoder minilm-l6 --dataset-path /mounted/data/reviews.csv --epochs 2"
    )
    _, (call,) = in_docker(docker, "train", "gpu=1", "tensorboard_port=")
    assert "--gpus device=1 " in call


def test_docker_shows_the_curves(docker):
    port = free_port()
    trained, calls = in_docker(docker, "train", f"tensorboard_port={port}", SERVES="ready")
    assert f"TensorBoard shows the curves at http://127.0.0.1:{port}" in trained.stderr
    assert "TensorBoard has stopped" in trained.stderr
    assert re.fullmatch(
        rf"run --rm --name textclf-tensorboard-\d+ --publish 127\.0\.0\.1:{port}:6006 --volume "
        rf"{docker}/runs:/app/runs:ro textclf-training tensorboard --logdir runs --host 0\.0\.0\.0 --port 6006",
        calls[0],
    )
    assert "textclf-training python train_model.py " in calls[1]
    need_free(port)
    failed, _ = in_docker(docker, "train", f"tensorboard_port={port}")
    assert f"TensorBoard did not start on port {port}" in failed.stderr


def test_docker_downloads(docker):
    columns = ("text_column=post", "label_column=tags")
    url = "https://example.org/posts.csv?raw=1"
    fetched, (call,) = in_docker(docker, "download_data", f"url={url}", "sha256=ab", *columns, RUN_STATUS="0")
    assert fetched.returncode == 0, fetched.stderr
    assert call.endswith(
        f" textclf-training python initializing.py download posts.csv --url {url} --data-dir datasets --sha256 ab"
    )
    written = tomllib.loads((docker / "datasets/data.toml").read_text())
    assert written == {"dataset_path": "posts.csv", "text_column": "post", "label_column": "tags"}
    (docker / "datasets/data.toml").unlink()
    failed, _ = in_docker(docker, "download_data", f"url={url}", *columns)
    assert failed.returncode == 2
    assert not (docker / "datasets/data.toml").exists()

    encoder = docker / "encoder.tar.gz"
    encoder.touch()
    fetched, (call,) = in_docker(docker, "download_base_bert", f"handle={encoder}", RUN_STATUS="0")
    assert fetched.returncode == 0, fetched.stderr
    assert f"--volume {encoder}:/mounted/handle/encoder.tar.gz:ro " in call
    assert (
        f":/tmp/textclf-cache textclf-training python make_model.py preview --encoder /mounted/handle/{encoder.name}"
        in call
    )


def need_free(port: int) -> None:
    """Fail unless the server on a port ends soon."""

    def is_free() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0

    wait_for(is_free)


def test_docker_serves(docker):
    port = free_port()
    model = ROOT / "model"
    started, calls = in_docker(docker, "start_api", f"api_port={port}", f"model={model}", SERVES="ready")
    assert started.returncode == 0, started.stderr
    assert started.stdout == f"http://127.0.0.1:{port}\n"
    logs = " ".join(f"--volume {docker}/{name}:/data/{name}" for name in ("new_data", "prediction_log"))
    assert calls == [
        "rm --force textclf-api",
        f"run --detach --name textclf-api {USER} --env DRAIN_SECONDS=0 {logs} --publish 127.0.0.1:{port}:8080 "
        f"--volume {model}:/opt/ml/model:ro textclf serve",
    ]
    refused, calls = in_docker(docker, "start_api", "api_port=1x")
    assert (refused.returncode, calls) == (2, [])
    stopped, calls = in_docker(docker, "stop_api")
    assert "stopped the container textclf-api" in stopped.stderr
    assert calls == ["stop --time 30 textclf-api", "rm --force textclf-api"]
    need_free(port)
    stopped, calls = in_docker(docker, "stop_api")
    assert "no server is running" in stopped.stderr
    assert calls == ["rm --force textclf-api"]


@pytest.mark.parametrize("serves", ["slow", "nothing"])
def test_docker_keeps_the_log_of_a_server_that_is_not_ready(docker, serves):
    port = free_port()
    started, calls = in_docker(docker, "start_api", f"api_port={port}", SERVES=serves, READY_SECONDS="1")
    assert started.returncode == 2
    assert "the log of the container" in started.stderr
    assert "the server was not ready; the container textclf-api is removed" in started.stderr
    assert calls[2:] == ["logs --tail 5 textclf-api", "rm --force textclf-api"]
    need_free(port)


@pytest.mark.parametrize("serves", ["slow", "nothing"])
def test_a_server_that_is_not_ready_is_stopped(workspace, serves):
    """The interpreter is a script, which starts a server of its own instead of serving/serve."""
    python = workspace / "python"
    python.write_text(
        "#!/bin/sh\necho its last line\n"
        'test $SERVES = nothing || { trap "exit 0" TERM; while :; do sleep 0.1; done; }\n'
    )
    python.chmod(0o755)
    port = free_port()
    settings = {"TEXTCLF_SERVING_PYTHON": str(python), "SERVES": serves, "READY_SECONDS": "1"}
    started = make(workspace, "start_api", f"api_port={port}", f"model={ROOT / 'model'}", **settings)
    assert started.returncode == 2
    assert "its last line\n" in started.stderr
    assert "the server was not ready, and does not run" in started.stderr
    assert ("stopped process" in started.stderr) == (serves == "slow")
    assert not (workspace / ".api/pid").exists()
    assert not [one for one in processes() if str(python) in one.command and one.state != "Z"]
