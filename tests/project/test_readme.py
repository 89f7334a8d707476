"""The shell lines and Python blocks of README.md and docs/ run, with a tiny encoder in place of minilm-l6.

Every shell line is run, or NOT_RUN has the reason. A line that quickstart.md contains too is run there only. A comment
`# exit status 3 or 4` at the end of a line gives the expected statuses.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_stack import free_port
from tiny_bert import write_checkpoint

from textclf.__main__ import main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TRAIN = (
    "textclf train --dataset-path data/sample --encoder minilm-l6 --pooling mean --head-init probe --select last "
    "--epochs 4 --init-lr 1e-4 --batch-size 8 --max-length 128 --model-dir my-models"
)
# Beginning of a line -> why it is not run.
NOT_RUN = {
    "make demo": "installs packages; CI runs it",
    "make test": "runs these tests",
    "tensorboard ": "runs until Ctrl-C",
    "textclf watch ": "runs until SIGTERM; tests/stages/test_monitoring.py runs it",
    "textclf sample --model-path my-models": "needs a log with texts; tests/monitoring/test_labelling.py draws them",
    "textclf labels import ": "needs a labelled file; tests/monitoring/test_labelling.py imports several",
    "textclf versions unsure ": "needs hundreds of texts; tests/evaluation/test_unsure_version.py runs it",
    "textclf import OWNER/": "needs the Hub; tests/importing imports from a loopback Hub",
    "textclf score --model-path /": "needs a cluster or its paths; tests/sharding runs Ray and checks the manifests",
    "textclf live ": "is a prompt; tests/stages/test_inference.py runs it",
    "textclf data download ": "needs the network",
    "textclf train --dataset-path sentiment": "needs the mixture and an hour; test_shipped_model.py parses it",
    "textclf train --dataset-path DATA ": "needs placeholders; test_engine_export.py exports again",
    "textclf tune ": "trains 20 times; tests/tuning/test_tune_command.py runs it",
    "textclf train --dataset-path data/sample --encoder minilm-l6 --hosts": "test_train_on_hosts.py has hosts",
    "textclf train --config best.toml": "needs a search; tests/tuning/test_tune_command.py trains with the file",
    "local_test/tune_local.sh": "trains several times; tests/project/test_local_scripts.py runs it",
    "textclf score --model-path large-models": "needs a better model; tests/training/test_teachers.py scores a file",
    "textclf train --dataset-path reviews.csv --encoder minilm-l6 --": "needs a table; tests/stages has targets",
    "textclf train --dataset-path reviews.csv --teacher": "needs a teacher; tests/training has several",
    "textclf check --model-path my-models --windows": "needs a log; tests/stages/test_monitoring.py runs it",
    "PYTHONPATH=PEER python bench/": "needs data sets, hours and a peer; test_benchmark_commands checks it",
    "python bench/": "needs data sets and hours; test_benchmark_commands checks scripts and options",
    "python train_model.py ": "needs a data set and hours",
    "python3.11 -m venv ": "needs the network; tests/project/test_package_wheel.py installs the wheel",
    "export SAGEMAKER_": "tests/ops/test_sagemaker_page.py runs the commands for SageMaker",
    "local_test/build_and_push.sh ": "tests/ops/test_sagemaker_page.py runs it",
    "local_test/sagemaker_": "tests/ops/test_sagemaker_page.py runs them",
    "ops/cloud_command.sh ": "tests/ops/test_sagemaker_page.py runs it",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "runs until SIGTERM; tests/serving/test_tracing.py has a collector",
    "MLFLOW_TRACKING_URI=": "needs an MLflow server; tests/exporting/test_mlflow_model.py registers a version",
    "cp deploy/compose/": "is for docker; tests/deploy/test_compose.py checks the example",
    "kubectl ": "needs a cluster; tests/deploy/test_kubernetes.py builds and validates the manifests",
    "docker ": "needs docker; make image-test builds and runs the image",
    "local_test/": "trains for a minute; tests/project/test_local_scripts.py runs the scripts",
    "PREFIX=job serving/train": "needs a job folder; tests/serving has one",
    "eval ": "changes the shell; tests/project/test_package_console.py asks for the completion",
    "_TEXTCLF_COMPLETE=": "changes the shell; tests/project/test_package_console.py asks for the completion",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """The lines of sh blocks and of indented blocks, in order."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```(?!sh$)\w+\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^```sh\n(.*?)^```$|(?<=\n\n)((?:    \S[^\n]*\n)+)", text, re.MULTILINE | re.DOTALL)
    code = "".join(fenced or indented for fenced, indented in found).replace("\\\n", " ")
    return [line.strip() for line in code.splitlines() if line.strip()]


def without_comment(line: str) -> str:
    return re.sub(r"\s+# .*", "", line)


def reason_not_to_run(line: str) -> str:
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), "")


def lines_to_run(page: Path) -> list[str]:
    in_quickstart = set() if page == QUICKSTART else {without_comment(line) for line in shell_lines(QUICKSTART)}
    in_quickstart = {line for line in in_quickstart if not line.startswith("textclf serve ")}  # curl needs it.
    return [
        line for line in shell_lines(page) if not reason_not_to_run(line) and without_comment(line) not in in_quickstart
    ]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("readme-encoder") / "tiny", max_position_embeddings=256)


@pytest.fixture(scope="module")
def store(encoder, tmp_path_factory) -> Path:
    """The store that TRAIN makes, once for all pages."""
    folder = tmp_path_factory.mktemp("readme-store")
    (folder / "data").symlink_to(ROOT / "data")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        command = TRAIN.replace("minilm-l6", str(encoder)).replace("--epochs 4", "--epochs 1")
        # The tiny encoder is no better than chance, so its version does not become current by itself.
        assert textclf([*shlex.split(command)[1:], "--promote"]) == 0
    return folder / "my-models"


@pytest.fixture
def folder(tmp_path, monkeypatch, store) -> Path:
    """The checkout as a reader sees it; my-models is there, as if the reader had trained it before."""
    for name in ("data", "docs", "model"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(store, tmp_path / "my-models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def textclf(arguments: list[str]) -> int:
    """Run a command in this process, which has imported TensorFlow already; return its exit status."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            main(arguments, prog_name="textclf")
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(end.value.code or 0)


def request(*words: str) -> str:
    """The body of the response to a curl command, once the server accepts it."""
    retrying = ["--retry", "120", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    return subprocess.run([*words, *retrying], capture_output=True, text=True, timeout=150, check=True).stdout


class Reader:
    """Runs the lines of one page in its folder, with at most one server."""

    def __init__(self, folder: Path, encoder: Path) -> None:
        self.folder = folder
        self.encoder = encoder
        self.port = ""
        self.server: subprocess.Popen[bytes] | None = None
        self.responses: list[dict] = []

    def run(self, line: str) -> None:
        command, _, comment = line.partition(" # ")
        words = shlex.split(command)
        statuses = [0]
        if "exit status" in comment:
            statuses = [int(number) for number in re.findall(r"\b\d\b", comment)]
        if line.endswith("make serve") or " make serve " in f" {command} ":
            model = words[0].removeprefix("MODEL_PATH=") if words[0].startswith("MODEL_PATH=") else "model"
            self.serve(model)
        elif words[:2] == ["textclf", "serve"]:
            self.serve(words[words.index("--model-path") + 1])
        elif words[0] == "curl":
            self.ask(words)
        elif words == shlex.split(TRAIN):
            pass  # The fixture `store` ran it.
        elif words[0] == "textclf":
            newest = max(path.name for path in (self.folder / "my-models" / "versions").iterdir())
            words = [{"minilm-l6": str(self.encoder), "ID": newest, "CHILD": newest}.get(word, word) for word in words]
            if words[1:3] in (["data", "report"], ["data", "audit"]):
                words += ["--encoder", str(self.encoder)]
            with contextlib.ExitStack() as output:
                if ">" in words:
                    *words, _, target = words
                    output.enter_context(contextlib.redirect_stdout(output.enter_context(open(target, "w"))))
                assert textclf(words[1:]) in statuses, line
        else:
            subprocess.run(line, shell=True, cwd=self.folder, check=True, timeout=60)  # noqa: S602  (the page's line)

    def serve(self, model: str) -> None:
        self.close()
        self.port = str(free_port())
        environment = {**os.environ, "PORT": self.port, "MODEL_SERVER_WORKERS": "1", "DRAIN_SECONDS": "0"}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "textclf", "serve", "--model-path", model]
        self.server = subprocess.Popen(command, env=environment, cwd=self.folder)
        request("curl", "-s", f"http://127.0.0.1:{self.port}/ping")

    def ask(self, words: list[str]) -> None:
        response = request(*(word.replace(":8080/", f":{self.port}/") for word in words))
        self.responses.append(json.loads(response))
        # The log appears a moment after the response.
        log = self.folder / "prediction_log" / "predictions.sqlite"
        until = time.monotonic() + 30
        while not log.exists() and time.monotonic() < until:
            time.sleep(0.05)

    def close(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait(60)
            self.server = None


@pytest.fixture
def reader(folder, encoder) -> Iterator[Reader]:
    reader = Reader(folder, encoder)
    yield reader
    reader.close()


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
@pytest.mark.parametrize("page", [page for page in PAGES if lines_to_run(page)], ids=page_name)
def test_shell_lines_run(page, reader):
    for line in lines_to_run(page):
        reader.run(line)
    for shown in map(json.loads, blocks(page, "json")):
        (response,) = (one for one in reader.responses if one.get("text") == shown["text"])
        assert set(shown) == set(response) - ({"stage"} if page == QUICKSTART else set())
        if page == README:  # Quickstart has the output of the real encoder.
            assert response["score"] == pytest.approx(shown["score"], abs=0.02)
            assert {**response, "score": 0, "probabilities": 0} == {**shown, "score": 0, "probabilities": 0}


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_python_blocks_run(page, folder, encoder, capsys):
    for code in blocks(page, "python"):
        exec(compile(code.replace("minilm-l6", str(encoder)), page.name, "exec"), {})  # noqa: S102 (the page's block)
    assert re.search(r"neg|pos", capsys.readouterr().out)


def test_each_reason_belongs_to_a_line():
    lines = [line for page in PAGES for line in shell_lines(page)]
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []


def test_benchmark_commands():
    for page in PAGES:
        for line in shell_lines(page):
            if line.startswith(("python bench/", "PYTHONPATH=PEER python bench/")):
                words = shlex.split(line.removeprefix("PYTHONPATH=PEER "))
                source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bench").rglob("*.py"))
                assert (ROOT / words[1]).is_file(), line
                options = {word.split("=")[0] for word in words if word.startswith("--") and " " not in word}
                assert [option for option in options if f'"{option}"' not in source] == [], line


def test_no_number_is_left_open():
    for page in PAGES:
        assert "@@" not in page.read_text(encoding="utf-8"), page
