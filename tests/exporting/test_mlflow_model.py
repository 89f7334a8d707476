"""A folder of MLflow predicts as its version does, in a process without textclf; registered versions and aliases."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from serving_stack import free_port
from tiny_engine import write_version

from textclf.exporting.command import export, main
from textclf.exporting.mlflow_registry import register
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import open_model

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of its own classes.
pytest.importorskip("mlflow")
TEXTS = ["the film was dull and boring", "a film", " ", "größer"]
_LOAD = """
import json, os, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(pandas.DataFrame({"id": range(4), "text": json.loads(sys.argv[2])}, index=[9, 8, 7, 6]))
import textclf
print(json.dumps({"found": found.to_dict("list"), "index": found.index.tolist(), "code": textclf.__file__,
                  "id": model.metadata.metadata["textclf_version"]}))
"""


@pytest.fixture(scope="module", autouse=True)
def no_reports():
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return open_model(write_version(tmp_path_factory.mktemp("store"), cascade=True, unusual=True))


@pytest.fixture(scope="module")
def folder(version, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "my-mlflow"
    export(version, "mlflow", target)
    return target


def test_another_process_gets_the_predictions_of_the_version(version, folder, tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"  # The folder is that of other tests, too.
    command = [sys.executable, "-c", _LOAD, str(folder), json.dumps(TEXTS)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    expected = predictor_of_version(version).predict(TEXTS)
    found = answer["found"]
    assert found["label"] == [item.label for item in expected]
    assert found["score"] == [item.score for item in expected]
    assert found["p:neg"] == [item.probabilities["neg"] for item in expected]
    assert list(found) == ["label", "score", "p:neg", "p:pos"]
    assert (answer["index"], answer["id"]) == ([9, 8, 7, 6], version.id)
    assert answer["code"].startswith(str(folder))


def test_the_folder_is_complete_and_has_no_pickle(folder):
    import mlflow.models

    model = mlflow.models.Model.load(str(folder))
    assert model.flavors["python_function"]["loader_module"] == "textclf.exporting.mlflow_loader"
    assert model.signature.inputs.input_names() == ["text"]
    assert model.signature.outputs.input_names() == ["label", "score", "p:neg", "p:pos"]
    assert model.load_input_example(str(folder)).columns.tolist() == ["text"]
    names = {path.name for path in folder.rglob("*")}
    assert not {name for name in names if name.endswith((".pkl", ".pyc"))}
    packages = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert {package.partition("==")[0] for package in packages} == {
        "mlflow-skinny", "numpy", "openvino", "pandas", "scipy"
    }  # fmt: skip
    assert list(folder.parent.iterdir()) == [folder]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A tracking database in place of a server."""
    pytest.importorskip("alembic")
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    yield mlflow.MlflowClient
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_a_version_is_registered_once_and_the_alias_moves(version, tmp_path, server):
    def run(name, *options):
        arguments = ["--to", "mlflow", "--output", str(tmp_path / name), "--model-dir", str(version.path.parent.parent)]
        result = CliRunner().invoke(main, [*arguments, "--register", "films", *options])
        assert result.exit_code == 0, result.output
        assert "Rules are not part of it" in result.output
        return result.output.splitlines()[-1]

    assert run("a") == "films: version 1"
    assert register(tmp_path / "a", "another", "films", "current") == "2"
    assert server().get_model_version_by_alias("films", "current").version == 2
    assert run("b", "--alias", "current") == "films: version 1, alias current"
    found = server().get_model_version_by_alias("films", "current")
    assert (found.version, found.tags) == (1, {"textclf.version": version.id})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "onnx", "--register", "films"], "--register: expected --to mlflow, got --to onnx"),
        (["--to", "mlflow", "--alias", "current"], "--alias: expected --register next to it"),
        (["--to", "mlflow", "--register", "a'b"], "--register: expected at most 200 letters"),
        (["--to", "mlflow", "--register", "films"], "--register: expected MLFLOW_TRACKING_URI, found none"),
    ],
)
def test_a_registration_that_can_not_be_made(version, tmp_path, monkeypatch, options, says):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--output", str(tmp_path / "out"), "--model-dir", str(version.path.parent.parent)]
    result = CliRunner().invoke(main, [*arguments, *options])
    assert result.exit_code != 0
    assert says in result.output
    assert not (tmp_path / "out").exists()


def test_a_server_that_can_not_be_reached_is_one_line(version, folder, tmp_path, monkeypatch):
    from textclf.errors import ConfigError

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match="--register: expected an MLflow server"):
        register(folder, version.id, "films")


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}", "http://127.0.0.1:x", "http://"])
def test_an_address_where_nothing_listens_is_refused_before_the_export(version, tmp_path, monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(free_port()))
    monkeypatch.setenv("no_proxy", "*")
    arguments = ["--output", str(tmp_path / "out"), "--model-dir", str(version.path.parent.parent)]
    result = CliRunner().invoke(main, [*arguments, "--to", "mlflow", "--register", "films"])
    assert "--register: expected an MLflow server at MLFLOW_TRACKING_URI, found none (" in result.output
    assert not (tmp_path / "out").exists()
