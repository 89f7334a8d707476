"""The wheel, installed into an environment of its own and used outside the checkout, without TensorFlow."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from serving_stack import ROOT, need_nginx, running_stack, serving_python

pytestmark = pytest.mark.package
MODEL = ROOT / "model"
ENVIRON = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def call(*command, folder, typed="", environ=ENVIRON, seconds=120):
    arguments = [str(word) for word in command]
    result = subprocess.run(
        arguments, cwd=folder, env=environ, input=typed, capture_output=True, text=True, timeout=seconds
    )
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    call(sys.executable, "-m", "pip", "wheel", *options, ROOT, folder=folder, environ=os.environ)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def locked(wheel, tmp_path_factory):
    """The programs of an environment with the wheel and the packages of requirements-serving.txt."""
    packages = call(
        serving_python(), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder="/"
    ).strip()
    folder = tmp_path_factory.mktemp("locked") / "v"
    call(sys.executable, "-m", "venv", "--without-pip", folder, folder="/")
    target = folder / "lib" / "python3.11" / "site-packages"
    (target / "locked.pth").write_text(packages, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    call(*pip, "install", "--no-deps", wheel, folder="/", environ=os.environ)
    return folder / "bin"


@pytest.fixture(scope="module")
def from_index(wheel, tmp_path_factory):
    """The programs of an empty environment that pip installed the wheel with its extra `serve` into."""
    folder = tmp_path_factory.mktemp("from_index") / "v"
    call(sys.executable, "-m", "venv", folder, folder="/")
    pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    call(*pip, "install", f"{wheel}[serve]", folder="/", environ=os.environ, seconds=400)
    return folder / "bin"


@pytest.fixture(params=["locked", pytest.param("from_index", marks=pytest.mark.package)])
def programs(request) -> Path:
    return request.getfixturevalue(request.param)


def test_wheel_contains_the_code_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    stages = {f"{name}.py" for name in ("initializing", "make_model", "train_model")}
    stages |= {f"{name}.py" for name in ("inference", "monitoring", "retraining")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"textclf", "serving", *stages}
    for path in (*(ROOT / "textclf").rglob("*"), *(ROOT / "serving").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    assert any(name.endswith("/licenses/NOTICE") for name in names)
    assert wheel.stat().st_size < 1_500_000


def test_installed_commands_and_load(programs, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "a great film"}\n', encoding="utf-8")
    textclf = programs / "textclf"
    call(textclf, "score", "--model-path", MODEL, "--input", "texts.jsonl", "--output", "scored.jsonl", folder=tmp_path)
    assert json.loads((tmp_path / "scored.jsonl").read_text(encoding="utf-8"))["label"] == "pos"
    assert "pos  (score 0." in call(
        textclf, "live", "--model-path", MODEL, folder=tmp_path, typed="a great film\n\nexit\n"
    )
    assert MODEL.joinpath("current").read_text().strip() in call(
        textclf, "versions", "list", "--model-path", MODEL, folder=tmp_path
    )
    code = f"import textclf; print(textclf.__version__, textclf.load({str(MODEL)!r}).predict('a great film').label)"
    version = wheel_version(programs)
    assert call(programs / "python", "-c", code, folder=tmp_path).split() == [version, "pos"]
    code = "import importlib.util as u, inference; print(u.find_spec('tensorflow'), inference.__file__)"
    found, where = call(programs / "python", "-c", code, folder=tmp_path).split()
    assert found == "None"
    assert not Path(where).is_relative_to(ROOT)


def wheel_version(programs):
    return call(programs / "textclf", "--version", folder="/").strip()


@pytest.mark.parametrize("nginx", ["", "off"])
def test_installed_server(programs, tmp_path, nginx):
    if not nginx:
        need_nginx()
    settings = {"MODEL_SERVER_WORKERS": "1", "NGINX": nginx}
    command = [str(programs / "textclf"), "serve"]
    with running_stack(tmp_path, MODEL, command=command, **settings) as stack:
        assert ("nginx" in stack.programs()) is (nginx == "")
        assert stack.request("POST", "/predict", {"text": "a great film"}).json["label"] == "pos"
        environ = {**ENVIRON, "PORT": str(stack.port)}
        call(programs / "textclf", "healthcheck", folder=tmp_path, environ=environ)
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def test_installed_watch_starts_its_checks(locked, tmp_path):
    """`watch` and `--retrain` start monitoring.py and retraining.py by their paths, which are in site-packages then."""
    log = tmp_path / "none.sqlite"
    command = [
        locked / "textclf",
        "watch",
        "--model-path",
        tmp_path / "model",
        "--every",
        "1s",
        "--log-url",
        f"sqlite:///{log}",
    ]
    from tiny_engine import write_version

    write_version(tmp_path / "model")
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=tmp_path,
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(2)]
        finally:
            process.terminate()
    assert process.returncode == 0
    assert any("none.sqlite" in line for line in lines), lines
    scripts = call(locked / "python", "-c", "import monitoring; print(monitoring._RETRAINING)", folder=tmp_path).strip()
    assert "Usage: " in call(locked / "python", scripts, "run", "--help", folder=tmp_path)
