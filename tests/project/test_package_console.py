"""The console script `textclf`: every command of the stages under one name."""

import importlib
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from serving_stack import ROOT, free_port
from tiny_engine import write_version

import textclf
from textclf.__main__ import main
from textclf.errors import ModelStoreError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console") / "model"
    write_version(folder)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `textclf ARGUMENTS` in an empty folder; returns click's result."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **options: CliRunner().invoke(
        main, [*map(str, arguments)], prog_name="textclf", **options
    )


def commands(group: click.Group, *words: str) -> dict[tuple[str, ...], click.Command]:
    """Every command below a group, by the words that are typed for it."""
    found = {}
    for name in group.list_commands(click.Context(group)):
        _, command, _ = group.resolve_command(click.Context(group), [name])
        if isinstance(command, click.Group):
            found |= commands(command, *words, name)
        else:
            found[(*words, name)] = command
    return found


COMMANDS = commands(main)
STAGES = ("initializing", "make_model", "train_model", "inference", "monitoring", "retraining")


def test_every_command_of_every_stage_has_a_name():
    callbacks = {
        command.callback.args[1] if hasattr(command.callback, "args") else command.callback
        for command in COMMANDS.values()
    }
    for stage in STAGES:
        script = importlib.import_module(stage).main
        of_stage = commands(script) if isinstance(script, click.Group) else {(): script}
        for words, command in of_stage.items():
            assert command.callback in callbacks, f"{stage} {words}"


@pytest.mark.parametrize("words", sorted(COMMANDS), ids=" ".join)
def test_help_of_a_command(words, run):
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: textclf {' '.join(words)} ")
    assert "python " not in result.output
    for line in result.output.splitlines():
        if line.strip().startswith("textclf "):
            assert line.split()[1 : 1 + len(words)] == list(words)


def test_help_waits_for_no_slow_package():
    """Each of these packages takes about a second to import."""
    slow = ("tensorflow", "scipy.stats", "openvino", "sklearn", "pyarrow", "matplotlib", "pandas")
    code = f"import sys, {', '.join(STAGES)}; print(*[name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_groups_name_their_commands(run):
    assert run("--help").output.split("Commands:")[1].split()[0] == "data"
    for group in ("data", "model", "versions"):
        result = run(group, "--help")
        assert f"textclf {group}" in result.output
        assert result.exit_code == 0


def test_score_takes_the_options_of_the_whole_script(run, store, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "a great film"}\n', encoding="utf-8")
    arguments = ["--model-path", store, "--threads", "1", "--no-cascade", "--input", "texts.jsonl"]
    result = run("score", *arguments, "--output", "scored.jsonl")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "scored.jsonl").read_text(encoding="utf-8"))["label"] in ("neg", "pos")


def test_live_scores_what_is_typed(run, store):
    result = run("live", "--model-path", store, input="a great film\n\nexit\n")
    assert result.exit_code == 0, result.output
    assert "(score " in result.output


@pytest.mark.parametrize("option", ["--model-path", "--model-dir"])
def test_versions_take_either_name_of_the_store(run, store, option):
    assert "tiny" in run("versions", "list", option, store).output
    result = run("versions", "rollback", option, store)
    assert result.exit_code == 1
    assert result.output.startswith("error: ")


def test_exit_status_of_a_command_is_passed_on(run, store, tmp_path):
    (tmp_path / "texts.csv").write_text("text\na great film\n", encoding="utf-8")
    result = run("check", "--model-path", store, "--latest", "texts.csv")
    assert result.exit_code == 4, result.output  # not_enough_data


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["frobnicate"], 2, "error: No such command 'frobnicate'. (see textclf --help)"),
        (["score", "--output", "x.csv"], 2, "error: Missing option '--input'. (see textclf score --help)"),
        (["versions", "list", "--model-path", "absent"], 1, "/absent: expected a model store"),
        (["versions", "list", "--model-path", "a", "--model-dir", "a"], 1, "/a: expected a model store"),
        (["versions", "list", "--threads", "2"], 2, "error: No such option '--threads'"),
        (
            ["check", "--model-path", "a", "--model-dir", "b"],
            2,
            "error: Invalid value for '--model-path' / '--model-dir': expected one model store, got a and b",
        ),
        (
            ["serve", "--model-path", "a", "--model-dir", "b"],
            2,
            "error: Invalid value for '--model-path' / '--model-dir': expected one model store, got a and b",
        ),
        (["serve", "--model-path", "absent"], 2, "error: MODEL_PATH: expected a model, found none in absent"),
    ],
)
def test_error_is_one_line(run, arguments, status, message, monkeypatch):
    monkeypatch.setenv("PORT", str(free_port()))
    result = run(*arguments)
    assert result.exit_code == status
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("module", "package", "arguments", "extra"),
    [
        ("sklearn", "scikit-learn", ["check"], "monitor"),
        ("sklearn", "scikit-learn", ["watch"], "monitor"),
        ("gunicorn", "gunicorn", ["serve"], "serve"),
        ("tensorflow", "tensorflow", ["model", "preview"], "train"),
        ("optuna", "optuna", ["tune", "--dataset-path", "x"], "tune"),
        ("plotly", "plotly", ["tune", "--dataset-path", "x", "--html", "x.html"], "tune"),
    ],
)
def test_missing_package_names_the_extra(module, package, arguments, extra):
    result = run_without([module], f"main({arguments!r})")
    expected = f"error: textclf {arguments[0]} needs {package}; install textclf with its extra `{extra}`"
    assert (result.returncode, result.stderr.strip()) == (1, expected)


def test_stage_that_an_image_leaves_out_is_one_line():
    result = run_without(["train_model"], "main(['train', '--dataset-path', 'x'])")
    expected = "error: textclf train needs train_model.py, found none; run it where models are trained"
    assert (result.returncode, result.stderr.strip()) == (1, expected)


def test_help_needs_no_package_of_an_extra():
    code = "for name in ('train', 'tune', 'check', 'watch', 'retrain'): main([name, '--help'], standalone_mode=False)"
    result = run_without(["sklearn", "tensorflow", "datasketch", "matplotlib", "optuna", "plotly"], code)
    assert (result.returncode, result.stderr) == (0, "")
    assert "--model-path" in result.stdout


def test_completion_with_a_missing_package_is_quiet():
    environ = {"_TEXTCLF_COMPLETE": "bash_complete", "COMP_WORDS": "textclf train --", "COMP_CWORD": "2"}
    result = run_without(["tqdm"], f"import os; os.environ.update({environ!r}); main([], prog_name='textclf')")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["plain,--verbose", "plain,--help"]


def run_without(modules: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with the console script's `main` in a process that can't import `modules`."""
    code = f"import sys; sys.modules.update(dict.fromkeys({modules!r})); from textclf.__main__ import main\n{code}"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("textclf ver", ["versions"]),
        ("textclf versions li", ["list", "lift-hold"]),
        ("textclf score --thr", ["--threads"]),
    ],
)
def test_shell_completion(typed, completions):
    last = str(len(typed.split()) - 1)
    environ = {"_TEXTCLF_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": last}
    result = CliRunner().invoke(main, [], prog_name="textclf", env=environ)
    assert result.output.splitlines() == [f"plain,{completion}" for completion in completions]


def test_load_is_one_line(store):
    (prediction,) = textclf.load(store).predict(["a great film"])
    assert prediction.label in ("neg", "pos")


def test_load_reports_a_wrong_path_at_once(tmp_path):
    with pytest.raises(ModelStoreError, match="expected a model store"):
        textclf.load(tmp_path / "absent")
    with pytest.raises(TypeError, match="not NoneType"):
        textclf.load(None)


def test_unknown_attribute_is_an_attribute_error():
    assert isinstance(textclf.__version__, str)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        textclf.nothing  # noqa: B018
