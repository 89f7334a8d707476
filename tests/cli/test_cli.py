"""The conventions of all command lines: one-line errors, exit statuses, --verbose before or after the command."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from textclf.cli.commands import Command, Group
from textclf.errors import InputError

ROOT = Path(__file__).parents[2]


@click.group(cls=Group)
def group() -> None:
    """A script with commands."""


@group.command()
def mistake() -> None:
    raise InputError("expected a\n  number, got 'x'; mend it")


@group.command()
def missing() -> None:
    Path("/no/such/file").read_text(encoding="utf-8")


@group.command()
@click.argument("path", type=Path)
def read(path: Path) -> None:
    path.read_bytes()


@group.command()
def bug() -> None:
    raise ZeroDivisionError("ours")


@group.command()
def interrupt() -> None:
    raise KeyboardInterrupt


@click.command(cls=Command)
def single() -> None:
    """A script of one command."""
    raise InputError("no")


def test_a_users_error_is_one_line():
    result = CliRunner().invoke(group, ["mistake"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "error: expected a number, got 'x'; mend it\n")


def test_a_file_that_the_system_refuses_is_the_users_error():
    result = CliRunner().invoke(group, ["missing"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "/no/such/file" in result.stderr


def test_errors_show_no_secrets_of_urls():
    result = CliRunner().invoke(group, ["read", "https://user:secret@host/x.csv?sig=secret"])
    assert (result.exit_code, result.stderr.partition(": No such")[0]) == (1, "error: https:/host/x.csv")
    result = CliRunner().invoke(group, ["https://user:secret@host/?sig=secret"])
    assert (result.exit_code, "secret" in result.stderr, "https://host/" in result.stderr) == (2, False, True)


@pytest.mark.parametrize("arguments", [["--verbose", "mistake"], ["mistake", "--verbose"]])
def test_verbose_adds_the_traceback(arguments):
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: expected a number, got 'x'; mend it\n")


def test_a_bug_is_not_dressed_up():
    assert isinstance(CliRunner().invoke(group, ["bug"]).exception, ZeroDivisionError)


def test_interrupt():
    result = CliRunner().invoke(group, ["interrupt"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_wrong_usage_is_one_line_with_clicks_status():
    result = CliRunner().invoke(group, ["nonsense"])
    assert result.exit_code == 2
    assert result.stderr == "error: No such command 'nonsense'. (see group --help)\n"
    result = CliRunner().invoke(group, ["mistake", "--nonsense"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("(see group mistake --help)\n")


def test_no_command_shows_the_commands():
    result = CliRunner().invoke(group, [])
    assert result.exit_code == 2
    assert "mistake" in result.output


def test_sigterm_ends_a_command_and_removes_what_it_was_writing(tmp_path):
    code = (
        "import click, time, sys\nfrom textclf.cli.commands import Command\nfrom textclf.files import atomic_file\n"
        "@click.command(cls=Command)\n"
        "def main():\n"
        "    with atomic_file('out') as file:\n"
        "        file.write('half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert list(tmp_path.iterdir()) == []


def test_a_single_command_does_the_same():
    result = CliRunner().invoke(single)
    assert (result.exit_code, result.stderr) == (1, "error: no\n")


def test_a_reader_that_leaves_early_ends_us_silently():
    """`… | head -1`: a real pipe, closed after a line. The status says that the work may not be done."""
    code = (
        "import click\nfrom textclf.cli.commands import Command\n"
        "@click.command(cls=Command)\n"
        "def main():\n    for i in range(200_000): click.echo(i)\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


@pytest.mark.parametrize("script", ["initializing.py", "make_model.py", "train_model.py", "inference.py"])
def test_help_shows_defaults_and_does_not_import_tensorflow(script):
    code = (
        "import sys, runpy\n"
        f"sys.argv = [{script!r}, '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Example" in result.stdout
