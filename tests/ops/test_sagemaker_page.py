"""The command lines of docs/sagemaker.md run as dry runs; test_cloud_commands runs the scripts themselves."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from cloud_parts import FOREIGN, succeed

from ops import build_and_push, delete, deploy, follow, training, transform, tuning, update

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sagemaker.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
SCRIPTS = {
    "local_test/build_and_push.sh": build_and_push,
    "local_test/sagemaker_training.sh": training,
    "local_test/sagemaker_hyperparameter.sh": tuning,
}
COMMANDS = {
    one.__name__.rpartition(".")[2]: one for one in (delete, deploy, follow, training, transform, tuning, update)
}


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("export ")])
def test_a_line_of_the_page(line, monkeypatch):
    for name in (*FOREIGN, *(name for name in os.environ if name.startswith("AWS_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    exported = next(line for line in LINES if line.startswith("export "))
    for setting in shlex.split(exported, comments=True)[1:]:
        monkeypatch.setenv(*setting.split("=", 1))
    monkeypatch.chdir(ROOT)
    script, *arguments = shlex.split(line)
    command = COMMANDS[arguments.pop(0)] if script == "ops/cloud_command.sh" else SCRIPTS[script]
    assert "--dry-run" in arguments
    assert os.access(ROOT / script, os.X_OK)
    assert json.loads(succeed(command.main, *arguments))


def test_the_page_has_a_line_for_every_command():
    words = {word for line in LINES for word in line.split()[:2]}
    assert {*SCRIPTS, *COMMANDS} - {"training", "tuning"} <= words
    files = {path.stem for path in (ROOT / "ops" / "config").iterdir()}
    assert {name for name in files if f"| `{name}` |" in PAGE} == files
