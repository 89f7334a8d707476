"""The scripts of local_test/: train, serve and ask, without docker and with a docker that only records its calls."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_docker import docker_calls, fake_docker
from serving_stack import ROOT, free_port, processes, serving_python, wait_for

from textclf.store.model_store import ModelStore

SCRIPTS = ROOT / "local_test"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Settings of a script that works in `folder`, without docker."""
    without_docker = folder / "without-docker"
    if not without_docker.exists():
        without_docker.mkdir()
        (without_docker / "docker").write_text("#!/bin/sh\nexit 1\n")
        (without_docker / "docker").chmod(0o755)
    paths = {"PATH": f"{without_docker}:{os.environ['PATH']}", "TEST_DIR": str(folder / "job")}
    return {**os.environ, **paths, "TEXTCLF_TRAINING_PYTHON": sys.executable, "NGINX": "off", **more}


def run(folder: Path, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script from another directory, without a terminal."""
    return subprocess.run(
        [str(SCRIPTS / script), *arguments],
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def prepare(folder: Path, encoder: str) -> Path:
    """The job of the checkout in `folder`/job, with another encoder."""
    shutil.copytree(SCRIPTS / "test_dir/input", folder / "job/input")
    path = folder / "job/input/config/hyperparameters.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "encoder": encoder}))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_checkpoint) -> Path:
    """A folder in which train_local.sh has run."""
    folder = prepare(tmp_path_factory.mktemp("local"), str(tiny_checkpoint))
    result = run(folder, "train_local.sh")
    assert result.returncode == 0, result.stderr
    assert "train_local.sh: training without docker, with " in result.stderr
    return folder


@pytest.fixture
def server(trained) -> Iterator[tuple[str, str]]:
    """serve_local.sh on a free port: the port and the curl line that the script prints."""
    port = str(free_port())
    with subprocess.Popen(
        [str(SCRIPTS / "serve_local.sh"), "textclf", port],
        cwd="/",
        env=environment(trained, TEXTCLF_SERVING_PYTHON=serving_python()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline()
            while line and not line.startswith("curl "):
                line = process.stdout.readline()
            yield port, line
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "serve_local.sh: serving without docker, with " in errors


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_job_is_trained_served_and_asked(trained, server):
    assert ModelStore(trained / "job/model").open().manifest.name == "messages"
    assert (trained / "job/output/data/metrics.json").is_file()
    port, line = server
    response = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True, timeout=30).stdout
    assert {item["label"] for item in json.loads(response)["prediction"]} == {"billing", "delivery", "technical"}
    readers = {
        "messages.json": (3, json.loads),
        "messages.csv": (3, lambda text: list(csv.reader(text.strip().splitlines()))),
        "messages.jsonl": (2, lambda text: [json.loads(line) for line in text.strip().splitlines()]),
    }
    for name, (rows, read) in readers.items():
        result = run(trained, "predict.sh", str(SCRIPTS / "payloads" / name), PORT=port)
        assert result.returncode == 0, result.stderr
        assert len(read(result.stdout)) == rows, result.stdout
    refused = run(trained, "predict.sh", str(SCRIPTS / "payloads/messages.csv"), "application/json", PORT=port)
    assert refused.returncode == 22
    assert '"code"' in refused.stdout
    taken = run(trained, "serve_local.sh", "textclf", port)
    assert taken.returncode == 1
    assert "expected a free port" in taken.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("train_local.sh", (), "expected the folder .*/job/input"),
        ("train_local.sh", ("a", "b"), "expected at most one argument"),
        ("serve_local.sh", (), r"expected a model in .*/job/model; run local_test/train_local\.sh first"),
        ("predict.sh", ("missing.csv",), r"expected a file with texts, got missing\.csv"),
        ("predict.sh", (), r"expected PAYLOAD \[CONTENT_TYPE\]"),
    ],
)
def test_errors_are_one_line(tmp_path, script, arguments, says):
    result = run(tmp_path, script, *arguments)
    assert result.returncode == 1
    assert re.fullmatch(rf"{re.escape(script)}: {says}.*\n", result.stderr)


@pytest.mark.slow
def test_the_exit_status_is_that_of_the_job(tmp_path):
    prepare(tmp_path, encoder="no-such-encoder")
    result = run(tmp_path, "train_local.sh")
    assert result.returncode == 1
    assert (tmp_path / "job/output/failure").read_text().startswith("no encoder at 'no-such-encoder'")


def test_an_environment_that_is_not_there(tmp_path):
    prepare(tmp_path, "minilm-l6")
    result = run(tmp_path, "train_local.sh", TEXTCLF_TRAINING_PYTHON=str(tmp_path / "none"))
    assert result.returncode == 1
    assert f"TEXTCLF_TRAINING_PYTHON: expected a Python, got {tmp_path / 'none'}" in result.stderr


def calls_of(folder: Path) -> list[str]:
    return [re.sub(r"--label \S+", "--label REVISION", line) for line in docker_calls(folder)]


def build_of(target: str, image: str) -> str:
    return f"build --target {target} --tag {image} --label REVISION {ROOT}"


USER = f"--user {os.getuid()}:{os.getgid()}"
IMAGES = pytest.mark.parametrize(
    ("arguments", "has_image"), [((), False), ((), True), (("mine",), True), (("mine",), False)]
)


@IMAGES
def test_with_docker(tmp_path, arguments, has_image):
    """No container engine runs here: a script in its place records its arguments, and ends `run` with 7."""
    prepare(tmp_path, "minilm-l6")
    result = run(tmp_path, "train_local.sh", *arguments, **fake_docker(tmp_path, has_image))
    if arguments and not has_image:
        assert result.returncode == 1
        assert "expected the image mine, which docker does not have" in result.stderr
        return
    assert result.returncode == 7
    image, job = (arguments or ("textclf-training",))[0], tmp_path / "job"
    build = [] if has_image else [build_of("training", image)]
    volumes = [f"--volume {job}/input:/opt/ml/input:ro"]
    volumes += [f"--volume {job}/{name}:/opt/ml/{name}" for name in ("model", "output", "checkpoints", "datasets")]
    run_line = f"run --rm {USER} {' '.join(volumes)} {image} train"
    assert calls_of(tmp_path) == ["info", f"image inspect {image}", *build, run_line]
    assert f"training with docker, in the image {image}" in result.stderr


@pytest.mark.slow
def test_a_search_in_two_processes(tmp_path, tiny_checkpoint):
    prepare(tmp_path, str(tiny_checkpoint))
    options = (
        f"--encoder {tiny_checkpoint} --recipe none --epochs 1 --search dropout --max-length 32 --precision float32"
    )
    result = run(tmp_path, "tune_local.sh", "-n", "2", "--", *options.split())
    assert result.returncode == 0, result.stderr
    assert "tune_local.sh: searching without docker, with " in result.stderr
    for number in (1, 2):
        assert f"[{number}] study:         {tmp_path}/job/output/study, 2 trials\n" in result.stdout
    assert sorted(re.findall(r"trial (\d):", result.stdout)) == ["0", "1"]
    assert {path.name for path in (tmp_path / "job/output").iterdir()} >= {"best.toml", "study.html", "study"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-n", "x"), "expected a number of trials after -n, got x"),
        (("image", "more"), "expected options of textclf tune after --, got more"),
        ((), "expected the folder .*/job/input"),
    ],
)
def test_errors_of_a_search_are_one_line(tmp_path, arguments, says):
    result = run(tmp_path, "tune_local.sh", *arguments)
    assert result.returncode == 1
    assert re.fullmatch(rf"tune_local\.sh: {says}.*\n", result.stderr)


@IMAGES
def test_a_search_with_docker(tmp_path, arguments, has_image):
    prepare(tmp_path, "minilm-l6")
    docker = fake_docker(tmp_path, has_image)
    result = run(tmp_path, "tune_local.sh", "-n", "8", *arguments, "--", "--prune", PROCESSES="1", **docker)
    if arguments and not has_image:
        assert result.returncode == 1
        assert "expected the image mine, which docker does not have" in result.stderr
        return
    assert result.returncode == 7
    image, data, output = (arguments or ("textclf-training",))[0], tmp_path / "job/input/data", tmp_path / "job/output"
    assert f"searching with docker, in the image {image}" in result.stderr
    build = [] if has_image else [build_of("training", image)]
    # best.toml then names paths of this machine.
    run_line = (
        f"run --rm {USER} --volume {data}:{data}:ro --volume {output}:{output} {image} python3 -m textclf tune "
        f"--dataset-path {data} --trials 8 --study-dir {output}/study --save {output}/best.toml "
        f"--html {output}/study.html --data-dir {output}/datasets --encoder minilm-l6 --max-length 64 --prune"
    )
    assert calls_of(tmp_path) == ["info", f"image inspect {image}", *build, run_line]


def fake_python(folder: Path, body: str) -> dict[str, str]:
    """An interpreter that is a shell script; it writes its arguments to `folder`/arguments."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >>{folder}/arguments\n{body}\n')
    python.chmod(0o755)
    return {"TEXTCLF_TRAINING_PYTHON": str(python), "TEXTCLF_SERVING_PYTHON": str(python)}


def alive(folder: Path) -> list[int]:
    """Processes of the interpreter of `folder`."""
    return [one.pid for one in processes() if f"{folder}/python" in one.command and one.state != "Z"]


def test_options_of_a_search_are_added(tmp_path):
    prepare(tmp_path, "minilm-l6")
    options = ("--", "--search", "dropout", "--max-length", "32")
    result = run(tmp_path, "tune_local.sh", "mine", *options, PROCESSES="1", **fake_python(tmp_path, ""))
    assert result.returncode == 0, result.stderr
    assert "; the image mine is not used" in result.stderr
    assert (
        (tmp_path / "arguments")
        .read_text()
        .endswith(" --encoder minilm-l6 --max-length 64 --search dropout --max-length 32\n")
    )


# Takes a moment to end after SIGTERM.
_SLOW_TO_STOP = 'trap "sleep 0.5; exit 3" TERM; while :; do sleep 0.05; done'


def test_a_stopped_search_waits_for_its_processes(tmp_path):
    prepare(tmp_path, "minilm-l6")
    with subprocess.Popen(
        [SCRIPTS / "tune_local.sh"],
        env=environment(tmp_path, **fake_python(tmp_path, _SLOW_TO_STOP)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        arguments = tmp_path / "arguments"
        wait_for(lambda: arguments.exists() and len(arguments.read_text().splitlines()) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 3
        assert not alive(tmp_path)


def with_model(folder: Path) -> Path:
    """A job that has an (empty) model."""
    prepare(folder, "minilm-l6")
    (folder / "job/model/current").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("body", "status"),
    [("exit 0", 1), ("exit 5", 5), ('trap "exit 0" TERM; while :; do sleep 0.05; done', 1), (_SLOW_TO_STOP, 3)],
)
def test_a_server_that_is_not_ready_is_an_error(tmp_path, body, status):
    with_model(tmp_path)
    settings = {**fake_python(tmp_path, body), "READY_SECONDS": "1"}
    result = run(tmp_path, "serve_local.sh", "textclf", str(free_port()), **settings)
    assert result.returncode == status
    assert "the server was not ready, and is stopped" in result.stderr
    assert not alive(tmp_path)


@pytest.mark.parametrize("has_image", [True, False])
def test_a_server_with_docker(tmp_path, has_image):
    with_model(tmp_path)
    port, job = free_port(), tmp_path / "job"
    with subprocess.Popen(
        [SCRIPTS / "serve_local.sh", "textclf", str(port)],
        env=environment(tmp_path, **fake_docker(tmp_path, has_image), SERVES="ready"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"curl -s http://127.0.0.1:{port}/invocations ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    build = [] if has_image else [build_of("serving", "textclf")]
    run_line = (
        f"run --rm {USER} --publish 127.0.0.1:{port}:8080 --env DRAIN_SECONDS=0 --volume {job}/output:/data "
        f"--volume {job}/model:/opt/ml/model:ro textclf serve"
    )
    assert calls_of(tmp_path) == ["info", "image inspect textclf", *build, run_line]


def test_a_server_with_docker_that_is_not_ready(tmp_path):
    with_model(tmp_path)
    docker = {**fake_docker(tmp_path), "SERVES": "slow", "READY_SECONDS": "1"}
    result = run(tmp_path, "serve_local.sh", "textclf", str(free_port()), **docker)
    assert result.returncode == 1
    assert "the server was not ready, and is stopped" in result.stderr
