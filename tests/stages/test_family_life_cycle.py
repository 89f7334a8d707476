"""A tiny DistilBERT and a tiny XLM-RoBERTa from a data set to served versions, drift, exports and a retraining."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from monitored import log_texts
from multilingual import opinions, write_opinions
from serving_models import settings
from tokenizers import Tokenizer

from monitoring import Monitoring
from retraining import Promotion, Retrain
from serving.app import create_app, inference_of
from textclf.__main__ import main
from textclf.config import DriftOptions
from textclf.drift.state import DRIFT
from textclf.errors import ModelStoreError
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.importing.importer import ImportOptions, import_classifier
from textclf.runtime.loading import load_predictor, predictor_of_version
from textclf.stats.calibration import softmax
from textclf.store.model_store import ModelStore, open_model
from textclf.tokenization.library_tokenizer import LIBRARY_FILE
from textclf.tokenization.text_tokenizer import load_tokenizer, with_reading
from textclf.tokenization.tokenizer import HUGGING_FACE
from textclf.training.export import tokenizer_differences
from train_model import Training

CHECKPOINTS = Path(__file__).parents[1] / "importing" / "checkpoints"
FAMILIES = ("distilbert", "xlm-roberta")
TEXTS = [text for text, _ in opinions(40, seed=9)]
OPTIONS = {"distilbert": {"truncation": "head+tail"}, "xlm-roberta": {"windows": 2}}
SHORT = {"epochs": 4, "init_lr": 1e-2, "batch_size": 12, "max_length": 24, "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def _quick_export():
    """Quantising is the slow part of saving."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    write_opinions(folder / "opinions", train=240)
    return folder


def training_of(folder, family, **options):
    return Training(
        dataset_path=str(folder / "opinions"), name_to_handle=str(CHECKPOINTS / family), model_name=family,
        data_dir=str(folder / "data"), runs_dir=str(folder / "runs"), **(SHORT | OPTIONS[family] | options),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(folder):
    """The version of each family."""
    return {family: open_model(training_of(folder, family).save_model(folder / family)) for family in FAMILIES}


def probabilities(version, texts=TEXTS):
    predictor = predictor_of_version(version, cascade=False)
    return softmax(predictor.run(predictor.encode(texts)).logits, version.manifest.temperature)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_version_records_its_family(trained, family):
    manifest = trained[family].manifest
    assert manifest.encoder["family"] == family
    assert manifest.encoder["layer_norm_epsilon"] == (1e-5 if family == "xlm-roberta" else 1e-12)
    assert manifest.engine["graph"] == "built"
    assert manifest.parity["saved_model_largest_logit_difference"] < 1e-4
    losses = manifest.training["history"]["loss"]
    assert losses[-1] < losses[0]
    assert tokenizer_differences(TEXTS, trained[family].path) == []
    shown = CliRunner().invoke(main, ["versions", "inspect", "--model-path", str(trained[family].path)])
    assert shown.exit_code == 0, shown.output
    assert str(CHECKPOINTS / family) in shown.output.replace("\n", "")


def test_wordpieces_are_served_without_the_library(trained):
    tokenizers = {family: predictor_of_version(trained[family]).backend.tokenizer for family in FAMILIES}
    assert tokenizers["distilbert"].settings.normalisation == HUGGING_FACE
    assert not (trained["distilbert"].part("engine") / LIBRARY_FILE).exists()
    assert (trained["xlm-roberta"].part("engine") / LIBRARY_FILE).exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_served_and_explained(trained, family, tmp_path):
    store = trained[family].path.parents[1]
    chosen = settings(tmp_path, model_path=store, model_poll_seconds=0)
    client = create_app(chosen, inference_of(chosen, store)).test_client()
    answer = client.post("/predict", json={"X": TEXTS}).get_json()
    expected = probabilities(trained[family])
    found = [[row[name] for name in ("neg", "pos")] for row in answer["probabilities"]]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    explained = client.post("/explain", json={"text": TEXTS[0]}).get_json()
    assert [TEXTS[0][start:end] for start, end in explained["spans"]] == explained["words"]


def test_drift_names_words_of_the_new_texts(trained, tmp_path):
    store = shutil.copytree(trained["xlm-roberta"].path.parents[1], tmp_path / "model")
    frames = ("textclf watches drift and the engine is {}",)
    now = time.time()
    texts = [text for text, _ in opinions(150, seed=4, frames=frames)]
    url = log_texts(store, tmp_path, texts, [now - 3600 + at for at in range(len(texts))])
    report = Monitoring(store, prediction_log_url=url, options=DriftOptions(min_texts=20)).check_log()
    assert report.verdict == DRIFT
    assert report.words
    assert not any("\u2581" in word for word in report.words if len(word) > 1)
    assert json.dumps(report.to_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_exports_answer_like_the_engine(trained, family, tmp_path):
    # The exported model reads one window.
    tokenizer = predictor_of_version(trained[family]).backend.tokenizer
    short = [text for text, _ in opinions(30, frames=("{}",))]
    assert max(text.length for text in tokenizer(short)) <= 24
    expected = probabilities(trained[family], short)
    store = str(trained[family].path.parents[1])
    for target in ("huggingface", "onnx"):
        arguments = ["export", "--to", target, "--output", str(tmp_path / target), "--model-dir", store]
        shown = CliRunner().invoke(main, arguments)
        assert shown.exit_code == 0, shown.output
        assert "rare letters" not in shown.output
    again = import_classifier(
        tmp_path / "huggingface", ModelStore(tmp_path / "again"), ImportOptions("again", precision="float32")
    )
    assert again.manifest.source["family"] == family
    np.testing.assert_allclose(probabilities(again, short), expected, atol=0.05)
    encoded = Tokenizer.from_file(str(tmp_path / "onnx" / "tokenizer.json")).encode_batch(short)
    feeds = {
        "input_ids": np.array([text.ids for text in encoded], np.int64),
        "attention_mask": np.array([text.attention_mask for text in encoded], np.int64),
    }
    odd = [*GOLDEN_TEXTS, "a [SEP] b [MASK]", "naïve café", "\u0000a\u200bb", "中文字"]
    own = load_tokenizer(trained[family].part("engine"))
    own = with_reading(own, 24, "head", 0.25, 1)
    written = Tokenizer.from_file(str(tmp_path / "huggingface" / "tokenizer.json"))
    written.no_padding()
    assert [text.ids for text in written.encode_batch(odd)] == [text.ids for text in own(odd)]
    (logits,) = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx").run(["logits"], feeds)
    np.testing.assert_allclose(softmax(logits, 1.0), probabilities(again, short), atol=1e-4)


@pytest.mark.slow
def test_other_windows_need_no_training(trained, folder, tmp_path):
    version = trained["xlm-roberta"]
    store = shutil.copytree(version.path.parents[1], tmp_path / "model")
    child = open_model(training_of(folder, "xlm-roberta").export_again(store, version.id, windows=1))
    assert (child.manifest.windows, child.manifest.parent) == (1, version.id)
    assert child.manifest.encoder == version.manifest.encoder
    assert child.manifest.parity["saved_model_largest_logit_difference"] < 1e-4


def test_the_saved_model_alone_takes_no_strings(trained, tmp_path):
    version = trained["distilbert"]
    copy = tmp_path / "model" / "versions" / version.id
    shutil.copytree(version.path, copy, ignore=shutil.ignore_patterns("engine"))
    for path in (copy, copy / "saved_model"):
        with pytest.raises(ModelStoreError, match=r"found one that takes token ids.*use the engine of the version"):
            load_predictor(path)


@pytest.mark.slow
def test_a_retraining_is_promoted(trained, folder, tmp_path):
    version = trained["xlm-roberta"]
    store = shutil.copytree(version.path.parents[1], tmp_path / "model")
    for number, (text, label) in enumerate(opinions(80, seed=5, frames=("{} !", "das ist {}, sagte sie"))):
        target = tmp_path / "new" / "train" / label
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number}.txt").write_text(text, encoding="utf-8")
    retrain = Retrain(
        folder / "opinions", tmp_path / "new", tmp_path / "combined", model_dir=store, epochs=2, init_lr=None,
        data_dir=str(tmp_path / "data"), runs_dir=str(tmp_path / "runs"), precision="float32",
        margin=0.9, min_holdout=5, calibration_margin=0.9,
    )  # fmt: skip
    retrain.combine_datasets()
    retrain.retrain_model()
    outcome = retrain.save_retrained_model()
    assert isinstance(outcome, Promotion)
    current = ModelStore(store).open(ModelStore(store).current_id())
    assert current.id != version.id
    assert current.manifest.encoder == version.manifest.encoder
    assert current.manifest.windows == 2
