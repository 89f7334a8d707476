"""The configuration that a version prints: also versions of earlier software, and what no option can repeat."""

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

import inference
import train_model
from textclf.cli.options import recorded_options
from textclf.encoder_handles import handles_of
from textclf.report.version_config import config_comments, training_values
from textclf.store.manifest import Manifest

STORE = Path(__file__).parents[1] / "fixtures" / "persisted" / "model"
MANIFESTS = [
    Manifest.from_json((path / "manifest.json").read_text(encoding="utf-8"))
    for path in sorted((STORE / "versions").iterdir())
]


@pytest.mark.parametrize("manifest", [one for one in MANIFESTS if one.data], ids=lambda manifest: manifest.id)
def test_a_version_of_earlier_software_prints_a_file_that_training_reads(manifest, tmp_path):
    shown = CliRunner().invoke(inference.main, ["--model-path", str(STORE), "inspect", manifest.id, "--config"])
    assert shown.exit_code == 0, shown.output
    assert f"# Trains version {manifest.id} again" in shown.stdout
    assert "records the name of its data, but not the path" in " ".join(shown.stdout.replace("\n#", "").split())
    (tmp_path / "run.toml").write_text(shown.stdout, encoding="utf-8")
    values = train_model.main.make_context("train", ["--config", str(tmp_path / "run.toml")]).params
    assert values["dataset_path"] == manifest.data["source"]
    assert {name: values[name] for name in manifest.training["options"]} == manifest.training["options"]
    assert {name: values[name] for name in manifest.data["options"]} == manifest.data["options"]
    # Earlier software compared characters.
    assert values["equal_texts"] == "characters"
    handles = handles_of(values["encoder"], values["preprocess"])
    assert handles.name_to_handle == manifest.encoder["name_to_handle"]
    assert handles.model_to_handle == manifest.encoder["model_to_handle"]


def test_a_version_without_data_leaves_the_path_to_the_reader():
    (manifest,) = (one for one in MANIFESTS if not one.data)
    shown = CliRunner().invoke(inference.main, ["--model-path", str(STORE), "inspect", manifest.id, "--config"]).stdout
    assert "\n#dataset_path =\n" in shown
    assert "The version does not record its data: set dataset_path." in shown


def test_every_recorded_option_has_a_value():
    assert set(training_values(MANIFESTS[0])) == set(recorded_options)


def test_comments_name_what_no_option_repeats():
    manifest = next(one for one in MANIFESTS if one.parent)
    text = " ".join(config_comments(manifest))
    assert f"It was made from version {manifest.parent}." in text
    assert manifest.data["fingerprint"]["all"] in text
    assert f"python {manifest.software['python']}" in text
    renamed = dataclasses.replace(manifest, encoder={**manifest.encoder, "model_name": "mine"})
    assert "The encoder was called mine; with these options it is called " in " ".join(config_comments(renamed))
    recorded = dataclasses.replace(manifest, data={**manifest.data, "path": "a/b"})
    assert "not the path" not in " ".join(config_comments(recorded))
    assert training_values(recorded)["dataset_path"] == "a/b"
