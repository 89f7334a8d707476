"""Short runs of the long attacks of bench.hardening against tiny models."""

import json

import pytest
from click.testing import CliRunner
from serving_stack import serving_python
from tiny_engine import write_version

from bench.hardening import hostile_requests, kills


@pytest.mark.bench
@pytest.mark.parametrize("options", [(), ("--no-nginx",)])
def test_a_tiny_server_withstands_some_hundred_requests(tmp_path, options):
    write_version(tmp_path / "model")
    arguments = ["--count", "600", "--python", serving_python(), "--model", str(tmp_path / "model")]
    arguments += ["--work-dir", str(tmp_path / "work"), "--json", str(tmp_path / "found.json"), *options]
    result = CliRunner().invoke(hostile_requests.main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["requests"], found["failed_checks"]) == (600, 0)
    assert found["codes"]["ok"] > 50
    # Nothing is left to do, and one request is sent again.
    assert CliRunner().invoke(hostile_requests.main, arguments).exit_code == 0
    again = CliRunner().invoke(hostile_requests.main, [*arguments, "--only", "17"])
    assert "as expected" in again.output


@pytest.mark.bench
def test_a_dozen_kills_lose_nothing(tmp_path):
    arguments = ["--count", "14", "--python", serving_python(), "--work-dir", str(tmp_path / "work")]
    # Trainings take most of the time of a full run.
    names = ",".join(name for name in kills.SHARES if name != "training")
    arguments += ["--json", str(tmp_path / "found.json"), "--scenarios", names]
    result = CliRunner().invoke(kills.main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["kills"], found["failed"]) == (14, 0)
    assert len(found["by_scenario"]) >= 4
    # Nothing is left to do.
    assert json.loads((tmp_path / "work" / "progress.json").read_text())["next"] == 14
    assert CliRunner().invoke(kills.main, arguments).exit_code == 0
