"""The model card: its figures, front matter that YAML readers accept, and what it must not contain."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import inference
from textclf.report.model_card import ExportNotes, escaped, model_card
from textclf.store.manifest import Manifest

ROOT = Path(__file__).parents[2]
STORE = ROOT / "tests" / "fixtures" / "persisted" / "model"
(SHIPPED,) = (ROOT / "model" / "versions").glob("*/manifest.json")
MANIFESTS = [
    Manifest.from_json(path.read_text(encoding="utf-8"))
    for path in sorted([*STORE.glob("versions/*/manifest.json"), SHIPPED])
]


def front_matter(card):
    start, block, rest = card.split("---\n", 2)
    assert start == ""
    assert rest
    return yaml.safe_load(block)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.id)
def test_every_version_has_a_card(manifest):
    card = model_card(manifest)
    assert front_matter(card)["pipeline_tag"] == "text-classification"
    assert card.endswith("\n")
    assert "None" not in card
    assert manifest.id in card


def test_the_figures_of_the_shipped_version():
    manifest = Manifest.from_json(SHIPPED.read_text(encoding="utf-8"))
    card = model_card(manifest)
    (results,) = front_matter(card)["model-index"][0]["results"]
    assert results["dataset"]["split"] == "test"
    values = {one["type"]: one["value"] for one in results["metrics"]}
    assert values["accuracy"] == round(manifest.metrics["test"]["accuracy"], 4)
    assert values["f1"] == round(manifest.metrics["test"]["macro_f1"], 4)
    assert "| accuracy | 0.9248 | 0.9206 to 0.9288 |" in card
    assert f"{manifest.cascade['test']['accuracy']['cascade']:.4f}" in card


@pytest.mark.parametrize(("precision", "named"), [("float32", ""), ("bfloat16", " in bfloat16")])
def test_another_precision_of_the_metrics_than_that_of_the_weights_is_named(precision, named):
    manifest = MANIFESTS[-1]
    card = model_card(dataclasses.replace(manifest, training={**manifest.training, "measured_in": precision}))
    assert f"The trained encoder{named} on {manifest.metrics['test']['n']:,} " in card


def test_nothing_private_and_no_markup_of_names():
    manifest = MANIFESTS[-1]
    source = "https://ann:secret@example.org/data/re|views.csv?token=abc"
    private = dataclasses.replace(
        manifest,
        name='my <b>"model"\n---',
        class_names=("a|b", "[c](d)"),
        encoder={**manifest.encoder, "name_to_handle": "/home/ann/encoder"},
        data={**manifest.data, "path": "/home/ann/reviews", "source": source},
        training={**manifest.training, "options": {"teachers": ["/home/ann/t.csv"], "notes": "/home/ann"}},
    )
    card = model_card(private, ExportNotes("transformers", "Use it.", ["Nothing."]))
    assert front_matter(card)["model-index"][0]["name"] == 'my <b>"model" ---'
    assert front_matter(card)["library_name"] == "transformers"
    for word in ("ann", "secret", "token", "<b>"):
        assert word not in card.split("---\n", 2)[2], word
    assert "ann" not in card
    assert "secret" not in card
    assert r"| classes | a\|b, \[c\](d) |" in card
    assert "- Nothing." in card


def test_an_imported_version_has_a_licence_and_no_path():
    handle = "private/folder/my-model"
    manifest = dataclasses.replace(
        MANIFESTS[-1],
        encoder=dict.fromkeys(MANIFESTS[-1].encoder, handle),
        source={"handle": handle, "revision": "", "license": "mit"},
    )
    card = model_card(manifest)
    assert front_matter(card)["license"] == "mit"
    assert "| encoder | my-model |" in card
    imported = dataclasses.replace(
        manifest, training={}, metrics={"validation": MANIFESTS[-1].metrics["validation_select"]}
    )
    assert "these figures are of the texts that the import was given" in model_card(imported)
    assert "private" not in card.replace('"type": "private"', "")
    hub = dataclasses.replace(manifest, source={**manifest.source, "revision": "0" * 40})
    assert "| encoder | private/folder/my-model |" in model_card(hub)


def test_escaped_is_one_line():
    assert escaped("a\nb | *c* & <d>") == r"a b \| \*c\* &amp; &lt;d&gt;"


def test_inspect_prints_the_card():
    store = str(ROOT / "model")
    shown = CliRunner().invoke(inference.main, ["--model-path", store, "inspect", "--card"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == model_card(Manifest.from_json(SHIPPED.read_text(encoding="utf-8")))
