"""The README's commands and its Python block run as they stand, with a tiny encoder in place of minilm-l6."""

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from serving_stack import free_port
from tiny_bert import write_checkpoint

from serving.settings import settings_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# These reach the network, or never end.
NOT_RUN = ("initializing.py download", "tensorboard ")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("readme-encoder") / "tiny", max_position_embeddings=256)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a reader of the README would be: data/ is here."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Runs a script as `python script arguments` does, but in this process, which has TensorFlow already."""

    def run(script: str, *arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(ROOT / script), run_name="__main__")
        finally:
            signal.signal(signal.SIGTERM, before)
        printed = capsys.readouterr()
        assert end.value.code == 0, f"{script} {arguments}: {printed.err[-3000:]}"
        return printed.out

    return run


def ask_server(command: str, folder: Path) -> str:
    """The answer to a line of the README from a server of the model that the lines before it trained."""
    port = str(free_port())
    environment = {**os.environ, "MODEL_PATH": str(folder / "my-models"), "PORT": port, "MODEL_SERVER_WORKERS": "1"}
    with subprocess.Popen([sys.executable, ROOT / "serving" / "serve"], env=environment, cwd=folder) as server:
        try:
            words = shlex.split(command.replace(":8080/", f":{port}/"))
            retrying = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--fail"]
            result = subprocess.run([*words, *retrying], capture_output=True, text=True, timeout=90, check=True)
            return result.stdout
        finally:
            server.terminate()


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_commands(folder, run, encoder):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if not any(part in line for part in NOT_RUN)]
    assert len(commands) >= 8
    printed = {}
    for command in commands:
        if command.startswith("curl "):
            printed[command] = ask_server(command, folder)
            continue
        if not command.startswith("python "):
            subprocess.run(command, shell=True, cwd=folder, check=True, timeout=300)  # noqa: S602  (README's own line)
            continue
        words = shlex.split(command.replace("minilm-l6", str(encoder)))
        if "report" in words:
            words += ["--encoder", str(encoder)]  # The default is minilm-l6.
        printed[command] = run(*words[1:])
    assert (folder / "model_structure.png").read_bytes().startswith(b"\x89PNG")
    assert len((folder / "scored.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert any("accuracy" in text for command, text in printed.items() if " batch " in command)
    answers = [json.loads(text) for command, text in printed.items() if command.startswith("curl ")]
    assert [sorted(answer)[0] for answer in answers] == ["label", "model"]
    assert len(answers[1]["predictions"]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_python(folder, encoder, capsys):
    (code,) = blocks("python")
    exec(compile(code.replace("minilm-l6", str(encoder)), "README.md", "exec"), {})  # noqa: S102 (README's own lines)
    printed = capsys.readouterr().out
    assert re.search(r"\{'neg': 0\.\d+, 'pos': 0\.\d+\}", printed)
    assert (folder / "my-models" / "current").is_file()


def test_no_figure_is_left_open():
    assert "@@" not in README


def test_table_of_settings_is_the_servers():
    assert settings_table() in README


def test_table_of_files_is_true():
    named = set(re.findall(r"`([\w./-]+)`", README.split("## The files")[1].split("## ")[0]))
    for name in named - {"minilm-l6", "make", "__init__.py"}:
        assert (ROOT / name).exists(), name
    for path in (*ROOT.glob("*.py"), *(path for path in (ROOT / "textclf").iterdir() if path.is_dir())):
        relative = path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "")
        assert relative in named or path.name == "__pycache__", relative
