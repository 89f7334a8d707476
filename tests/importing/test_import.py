"""Imported checkpoints of each family answer as transformers does; what can't be imported is one line."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inference import Inference
from textclf.__main__ import main
from textclf.errors import ConfigError, InputError, ModelStoreError, SourceError, TextTooLongError
from textclf.importing.checkpoint import FAMILIES
from textclf.importing.importer import CalibrationTexts, ImportOptions, import_classifier
from textclf.monitoring.samples import open_version
from textclf.report.versions import describe_version
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import ModelStore
from textclf.tokenization.library_tokenizer import LibraryTokenizer

FOLDER = Path(__file__).parent / "checkpoints"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
TEXTS = ANSWERS["texts"]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """One version of each family, in float32."""
    root = tmp_path_factory.mktemp("imported")
    return {
        family: import_classifier(
            FOLDER / family, ModelStore(root / family), ImportOptions(family, precision="float32")
        )
        for family in FAMILIES
    }


@pytest.fixture
def copy(tmp_path):
    """A function that copies a checkpoint to a folder that the test may change."""
    return lambda family: Path(shutil.copytree(FOLDER / family, tmp_path / "copy"))


def config_with(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_logits_are_those_of_transformers(imported, family):
    predictor = predictor_of_version(imported[family])
    tokenizer = predictor.backend.tokenizer
    assert [text.ids for text in tokenizer(TEXTS)] == ANSWERS[family]["ids"]
    logits = predictor.run(predictor.encode(TEXTS)).logits
    expected = np.array(ANSWERS[family]["logits"])
    if expected.shape[1] == 1:
        logits = logits[:, 1:] - logits[:, :1]
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE)
    # And the texts can be told apart.
    assert np.abs(expected - expected[:1]).max() > 100 * TOLERANCE


def test_one_logit_is_a_probability_of_its_label(imported):
    (answer,) = predictor_of_version(imported["roberta"]).predict_batch(TEXTS[:1]).predictions
    logit = ANSWERS["roberta"]["logits"][0][0]
    assert list(answer.probabilities) == ["not toxic", "toxic"]
    assert answer.probabilities["toxic"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)


def test_the_manifest_says_where_it_came_from(imported):
    source = imported["xlm-roberta"].manifest.source
    assert {**source, "sha256": ""} == {
        "handle": "xlm-roberta", "revision": "", "tokenizer": "", "tokenizer_revision": "", "family": "xlm-roberta",
        "sha256": "", "license": "",
    }  # fmt: skip
    assert len(source["sha256"]) == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_words_cover_all_tokens(imported, family):
    tokenizer = predictor_of_version(imported[family]).backend.tokenizer
    for text in [*TEXTS, "", " ", "don't"]:
        words = list(tokenizer.words(text))
        ids = [piece for *_, pieces in words for piece in pieces]
        assert ids == tokenizer([text])[0].wordpieces
        assert all(0 <= start <= end <= len(text) for _, start, end, _ in words)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_of_an_explanation_add_up(imported, family):
    model = Inference(imported[family].path)
    text = "A café that isn't good. 日本 😀"
    (found,) = model.explain([text])
    served = model.predict(text)
    column = found.class_names.index(served.label)
    total = found.base_values[column] + found.values[:, column].sum()
    assert total == pytest.approx(served.probabilities[served.label], abs=1e-4)


def test_the_command_with_labelled_texts(tmp_path, capsys):
    rows = [f"{text.split()[0]},{label}\n" for text in TEXTS[:60] for label in ("neg", "pos") if text.split()]
    table = tmp_path / "texts.csv"
    table.write_text("text,label\n" + "".join(row for row in rows if '"' not in row and row.count(",") == 1))
    store = tmp_path / "store"
    arguments = [str(FOLDER / "bert"), "--model-dir", str(store), "--calibration", str(table)]
    assert run([*arguments, "--precision", "auto"]) == 0
    version = ModelStore(store).open(ModelStore(store).current_id())
    assert version.manifest.engine["precision"] == "int8"
    assert version.has("reference.npz")
    assert version.manifest.metrics["validation"]["n"] > 50
    printed = capsys.readouterr().out
    assert "quantises to int8 with" in printed
    assert "engine in int8" in printed
    assert "metrics of the imported model" in describe_version(version)


def test_a_data_set_calibrates_with_its_train_part(tmp_path, capsys):
    for part, text in (("train", "good"), ("test", "never read")):
        for label in ("neg", "pos"):
            folder = tmp_path / "data" / part / label
            folder.mkdir(parents=True)
            (folder / "1.txt").write_text(f"{text} {label}")
    arguments = [str(FOLDER / "bert"), "--model-dir", str(tmp_path / "store"), "--precision", "float32"]
    assert run([*arguments, "--calibration", str(tmp_path / "data")]) == 0
    assert "drift reference of 2 texts" in capsys.readouterr().out


def test_another_tokenizer_is_named(tmp_path):
    store = tmp_path / "store"
    arguments = ["--tokenizer", str(FOLDER / "distilbert"), "--precision", "float32", "--model-dir", str(store)]
    assert run([str(FOLDER / "bert"), *arguments]) == 0
    manifest = ModelStore(store).open(ModelStore(store).current_id()).manifest
    assert (manifest.source["tokenizer"], manifest.source["tokenizer_revision"]) == ("distilbert", "")
    assert manifest.encoder["model_to_handle"] == "distilbert"


def test_an_archive_with_shards_in_16_bits(copy, tmp_path, capsys, imported):
    folder = copy("distilbert")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, keys in parts.items():
        save_file({key: tensors[key].astype(np.float16) for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "model")
    assert run([str(archive), "--model-dir", str(tmp_path / "store"), "--precision", "float32"]) == 0
    version = ModelStore(tmp_path / "store").open(ModelStore(tmp_path / "store").current_id())
    assert version.manifest.source["license"] == "apache-2.0"
    found = predictor_of_version(version).predict_batch(TEXTS[:20]).outputs.logits
    np.testing.assert_allclose(found, np.array(ANSWERS["distilbert"]["logits"])[:20], atol=0.02)


def run(arguments) -> int:
    with pytest.raises(SystemExit) as end:
        main(["import", *arguments], prog_name="textclf")
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gpt2"}, "expected model_type bert, distilbert, roberta, xlm-roberta, found 'gpt2'"),
        ({"architectures": ["BertForMaskedLM"]}, "expected the architecture BertForSequenceClassification"),
        ({"problem_type": "regression"}, "one label, found problem_type 'regression'"),
        ({"problem_type": "multi_label_classification"}, "problem_type 'multi_label_classification'"),
        ({"id2label": {"0": "a", "1": "a"}}, "expected different labels"),
        ({"id2label": {"0": "a", "1": None}}, "expected text as each label of id2label, found None"),
        ({"id2label": {"0": "a", "2": "b"}}, "expected id2label with the ids 0 to K-1"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "expected a label for each of 2 outputs, found 3"),
        ({"hidden_act": "silu"}, "expected hidden_act"),
        ({"hidden_act": []}, "expected hidden_act"),
        ({"num_hidden_layers": 10_000_000}, "expected the tensor bert.encoder.layer.9999999."),
        ({"id2label": None, "num_labels": "x"}, "as num_labels, found 'x'"),
        ({"hidden_size": "16"}, "expected a whole number as hidden_size"),
        ({"num_attention_heads": 3}, "that 3 heads divide"),
        ({"position_embedding_type": "relative_key"}, "expected position_embedding_type"),
        ({"layer_norm_eps": None}, "as layer_norm_eps"),
        ({"num_hidden_layers": 3}, "expected the tensor bert.encoder.layer.2."),
        ({"intermediate_size": 0}, "expected a whole number as intermediate_size"),
    ],
)
def test_other_models_are_refused(copy, tmp_path, changes, says):
    with pytest.raises(SourceError) as caught:
        import_classifier(config_with(copy("bert"), **changes), ModelStore(tmp_path / "s"), ImportOptions("x"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s" / "current").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", None, "expected a tokenizer, found no such file"),
        ("tokenizer.json", b"\xff", "expected JSON"),
        ("tokenizer.json", b"{}", "not readable by the tokenizers library"),
        ("config.json", b"[]", "expected a JSON object, found list"),
        ("config.json", None, "expected a file of a Hugging Face model, found none"),
        ("model.safetensors", b"x" * 100, "not a readable safetensors file"),
        ("model.safetensors", None, "pickles can run code"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../b.safetensors"}}', "expected the file of each"),
    ],
)
def test_damaged_files_are_refused(copy, tmp_path, name, content, says):
    folder = copy("bert")
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        import_classifier(folder, ModelStore(tmp_path / "s"), ImportOptions("x"))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("module", "rows", "says"),
    [
        ("token_type_embeddings", 0, "type_embeddings/embeddings [0, 16]: empty"),
        ("position_embeddings", 3, "expected positions for 4 tokens or more, found 3"),
    ],
)
def test_tables_with_too_few_rows_are_refused(copy, tmp_path, module, rows, says):
    folder, name = copy("bert"), f"bert.embeddings.{module}.weight"
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: tensors[name][:rows]}, folder / "model.safetensors")
    with pytest.raises(SourceError) as caught:
        import_classifier(folder, ModelStore(tmp_path / "s"), ImportOptions("x"))
    assert says in str(caught.value)


def test_an_archive_without_a_model_is_named(tmp_path, capsys):
    with tarfile.open(tmp_path / "deep.tar.gz", "w:gz") as archive:
        archive.add(FOLDER / "bert", "models/english/bert")
    assert run([str(tmp_path / "deep.tar.gz"), "--model-dir", str(tmp_path / "s")]) == 1
    assert "deep.tar.gz: expected config.json at the top of the archive" in capsys.readouterr().err


@pytest.mark.parametrize("padding", [None, -3, 48])
def test_positions_start_behind_the_padding_token(copy, tmp_path, padding):
    with pytest.raises(SourceError, match="expected the id of a token as pad_token_id"):
        import_classifier(
            config_with(copy("roberta"), pad_token_id=padding), ModelStore(tmp_path / "s"), ImportOptions("x")
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content["model"]["vocab"].pop("[UNK]"), "can't encode a text|special token"),
        (
            lambda content: content["model"]["vocab"].update({"zz": 3_000_000}),
            "without large gaps, found the id 3000000",
        ),
    ],
)
def test_odd_tokenizers_are_refused(copy, tmp_path, change, says):
    folder = copy("bert")
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "[UNK]"]
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(SourceError, match=says):
        import_classifier(folder, ModelStore(tmp_path / "s"), ImportOptions("x"))


def test_some_labels_are_missing(tmp_path, capsys):
    table = tmp_path / "texts.csv"
    table.write_text("text,label\ngood,pos\nbad,\n")
    assert run([str(FOLDER / "bert"), "--model-dir", str(tmp_path / "s"), "--calibration", str(table)]) != 0
    assert "found 1 of 2 texts without one" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [10, 1e30, True, -1, 3, "many"])
def test_the_tokenizer_limits_the_length(copy, tmp_path, limit):
    folder = copy("bert")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"model_max_length": limit}))
    version = import_classifier(folder, ModelStore(tmp_path / "s"), ImportOptions("x"))
    assert version.manifest.max_length == (10 if limit == 10 else 48)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    with pytest.raises(SourceError, match="expected at most 400 tokens"):
        import_classifier(FOLDER / "bert", ModelStore(tmp_path), ImportOptions("x"), tokenizer=FOLDER / "roberta")


def test_int8_and_labels_need_texts_of_the_model(tmp_path):
    with pytest.raises(ConfigError, match="expected --calibration"):
        import_classifier(FOLDER / "bert", ModelStore(tmp_path), ImportOptions("x", precision="int8"))
    texts = CalibrationTexts(("a", "b"), ("pos", "good"))
    with pytest.raises(ConfigError, match="expected the labels neg, pos, got good"):
        import_classifier(FOLDER / "bert", ModelStore(tmp_path), ImportOptions("x"), calibration=texts)
    assert run(["nowhere", "--model-dir", str(tmp_path)]) != 0


def test_texts_that_no_tokenizer_reads(imported):
    tokenizer = predictor_of_version(imported["roberta"]).backend.tokenizer
    with pytest.raises(InputError, match="surrogate"):
        tokenizer(["a\ud800"])
    with pytest.raises(InputError, match="expected a list of texts"):
        tokenizer("a")
    with pytest.raises(TextTooLongError):
        tokenizer(["abc"], max_chars=2)


def test_a_damaged_tokenizer_of_a_version(imported, tmp_path):
    shutil.copytree(imported["roberta"].part("engine"), tmp_path / "engine")
    (tmp_path / "engine" / "library_tokenizer.json").write_text("{")
    with pytest.raises(ModelStoreError, match="expected a tokenizer"):
        LibraryTokenizer.load(tmp_path / "engine")


def test_an_import_loads_neither_tensorflow_nor_torch(tmp_path):
    code = (
        "import sys; from textclf.importing.importer import *; from pathlib import Path; "
        f"import_classifier(Path({str(FOLDER / 'bert')!r}), ModelStore(Path({str(tmp_path)!r})), ImportOptions('x')); "
        "print([name for name in ('tensorflow', 'torch', 'transformers', 'nncf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"


def test_a_check_without_a_reference_says_how_to_get_one(imported):
    with pytest.raises(ModelStoreError, match="import the model again with labelled texts"):
        open_version(imported["bert"].path)
