"""The scripts of local_test/: train, serve and ask, without docker and with a docker that only records its calls."""

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
from serving_stack import ROOT, free_port, serving_python

from textclf.store.model_store import ModelStore

SCRIPTS = ROOT / "local_test"
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$DOCKER_CALLS"
case "$*" in "image inspect"*) exit "$HAS_IMAGE" ;; run*) exit 7 ;; esac
"""


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
    counts = {"messages.json": 1, "messages.csv": 3, "messages.jsonl": 2}
    for name, lines in counts.items():
        result = run(trained, "predict.sh", str(SCRIPTS / "payloads" / name), PORT=port)
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.split("\n")) >= lines
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


def with_recording_docker(folder: Path, has_image: str) -> dict[str, str]:
    """Settings with a docker that writes its arguments to `folder`/calls; `has_image` is its status for an image."""
    (folder / "bin").mkdir()
    (folder / "bin/docker").write_text(FAKE_DOCKER)
    (folder / "bin/docker").chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "DOCKER_CALLS": str(folder / "calls"), "HAS_IMAGE": has_image}


@pytest.mark.parametrize(("arguments", "has_image"), [((), "1"), ((), "0"), (("mine",), "0"), (("mine",), "1")])
def test_with_docker(tmp_path, arguments, has_image):
    """No container engine runs here: a script in its place records its arguments, and ends `run` with 7."""
    prepare(tmp_path, "minilm-l6")
    result = run(tmp_path, "train_local.sh", *arguments, **with_recording_docker(tmp_path, has_image))
    made = re.sub(r"--label \S+", "--label REVISION", (tmp_path / "calls").read_text()).splitlines()
    if arguments and has_image == "1":
        assert result.returncode == 1
        assert "expected the image mine, which docker does not have" in result.stderr
        return
    assert result.returncode == 7
    image, job = (arguments or ("textclf-training",))[0], tmp_path / "job"
    build = [] if has_image == "0" else [f"build --target training --tag textclf-training --label REVISION {ROOT}"]
    volumes = [f"--volume {job}/input:/opt/ml/input:ro"]
    volumes += [f"--volume {job}/{name}:/opt/ml/{name}" for name in ("model", "output", "checkpoints")]
    user = f"--user {os.getuid()}:{os.getgid()}"
    run_line = f"run --rm {user} {' '.join(volumes)} {image} train"
    assert made == ["info", f"image inspect {image}", *build, run_line]
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


def test_a_search_with_docker(tmp_path):
    prepare(tmp_path, "minilm-l6")
    more = with_recording_docker(tmp_path, "0")
    result = run(tmp_path, "tune_local.sh", "-n", "8", "mine", "--", "--prune", PROCESSES="1", **more)
    assert result.returncode == 7
    assert "searching with docker, in the image mine" in result.stderr
    (call,) = [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("run ")]
    assert (
        f"--volume {tmp_path}/job/input/data:/data/data:ro --volume {tmp_path}/job/output:/opt/ml/output mine" in call
    )
    assert "python3 -m textclf tune --dataset-path /data/data --trials 8 --study-dir /opt/ml/output/study" in call
    assert call.endswith(" --prune")
