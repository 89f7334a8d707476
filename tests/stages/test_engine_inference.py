"""Inference with a version that has nothing but an engine, where TensorFlow can't be imported, as on a server."""

import json
import re
import shutil

import numpy as np
import pytest
from command_lines import ROOT
from tiny_bert import write_reviews
from tiny_engine import write_version

from inference import Inference
from textclf.errors import ModelStoreError
from textclf.runtime.backend import Timings
from textclf.store.model_store import ModelStore, open_model

# Runs inference.py as a shell does, in a process that has none of what only requirements.txt installs.
SCRIPT = """
import runpy, sys
missing = "tensorflow tf_keras tensorflow_text tensorflow_hub official nncf matplotlib pyarrow safetensors"
sys.modules.update(dict.fromkeys(missing.split()))
sys.path[0] = {root!r}
runpy.run_path({root!r} + "/inference.py", run_name="__main__")
"""
TEXTS = ["a good film", "bad " * 100, "", "ünïcode ☃ 日本 <br /> it's", "The story was dull."]
# Batches of another shape, of logits between -10 and 10.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "model"
    write_version(path, seed=3, temperature=2.0, threshold=0.4)
    return path


@pytest.fixture
def start(shell, store):
    """Start a command of inference.py on `store` without TensorFlow."""
    probe = shell.folder / "probe.py"
    probe.write_text(SCRIPT.format(root=str(ROOT)), encoding="utf-8")
    return lambda *arguments: shell.start(probe, "--model-path", store, *arguments)


def test_what_predictions_say(store):
    model = Inference(store, threads=1)
    batch = model.predictor.predict_batch(TEXTS)
    predictions, logits = batch.predictions, batch.outputs.logits
    assert model.predict(TEXTS) == predictions
    version = open_model(store)
    assert model.predictor.full_name == f"tiny {version.id}"
    assert (model.predictor.name, model.predictor.version_id) == ("tiny", version.id)
    assert (model.predictor.max_wordpieces, model.predictor.class_names) == (32, ("neg", "pos"))
    assert [prediction.text for prediction in predictions] == TEXTS
    assert [prediction.tokens for prediction in predictions] == [5, 102, 2, 20, 7]
    assert [prediction.truncated for prediction in predictions] == [False, True, False, False, False]
    for prediction, (negative, positive) in zip(predictions, logits.tolist(), strict=True):
        # Temperature 2, threshold .4.
        score = 1 / (1 + np.exp((negative - positive) / 2))
        assert prediction.score == prediction.probabilities["pos"] == pytest.approx(score, abs=1e-6)
        assert prediction.label == ("pos" if score >= 0.4 else "neg")
    assert len({tuple(row) for row in logits.tolist()}) == len(TEXTS)


def test_the_path_may_be_the_store_or_the_version(store):
    version = open_model(store)
    assert Inference(version.path).predict("a good film") == Inference(store).predict("a good film")


def test_warming_up_changes_no_answer_and_may_come_first(store):
    model = Inference(store, threads=1, tokens_per_batch=256)
    model.warm_up()
    predictor = model.predictor
    timings = Timings()
    warm = predictor.predict_batch(TEXTS, timings)
    model.warm_up()
    assert model.predictor is predictor
    assert timings.tokenise > 0
    assert timings.infer > 0
    cold = Inference(store, threads=2).predictor.predict_batch(TEXTS)
    assert warm.predicted.tolist() == cold.predicted.tolist()
    np.testing.assert_allclose(warm.outputs.logits, cold.outputs.logits, atol=TOLERANCE)


def test_a_damaged_engine_is_refused_though_there_is_a_saved_model(trained_version, tmp_path):
    """What is damaged is not quietly gone round."""
    shutil.copytree(trained_version.parent.parent, tmp_path / "model")
    weights = ModelStore(tmp_path / "model").open().part("engine") / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelStoreError, match=r"model\.bin: damaged: expected SHA-256"):
        Inference(tmp_path / "model").predict("a good film")


def test_no_part_that_could_answer(store, tmp_path):
    shutil.copytree(store, tmp_path / "model")
    shutil.rmtree(ModelStore(tmp_path / "model").open().path / "engine")
    with pytest.raises(ModelStoreError, match="expected the part 'saved_model'"):
        Inference(tmp_path / "model").predict("a good film")


def test_the_command_lines_need_no_tensorflow(shell, start, store, tmp_path):
    """batch, score, live and inspect; all at a time, because each starts a Python."""
    root = write_reviews(tmp_path / "reviews", per_class=4)
    rows = [{"text": text, "label": "pos", "n": n} for n, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    commands = {
        "batch": start("batch", root, "--num-files", 2, "--seed", 1),
        "score": start("score", "--input", "in.jsonl", "--output", "out.jsonl"),
        "live": start("live"),
        "inspect": start("inspect"),
        "versions": start("versions"),
    }
    answers = {"live": "a good film\n1\nexit\n"}
    out = {name: shell.finish(process, answers.get(name, ""))[0] for name, process in commands.items()}

    assert re.search(r"^accuracy: \d of 4 right", out["batch"], re.MULTILINE)
    assert "rows scored: 5" in out["score"]
    expected = Inference(store, threads=1).predict(TEXTS)
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["n"] for row in scored] == [0, 1, 2, 3, 4]
    assert [row["input_label"] for row in scored] == ["pos"] * 5
    for row, prediction in zip(scored, expected, strict=True):
        assert (row["text"], row["label"], row["truncated"]) == (
            prediction.text,
            prediction.label,
            prediction.truncated,
        )
        assert row["probabilities"] == pytest.approx(prediction.probabilities, abs=TOLERANCE)
    assert out["live"].count("(score ") == 1
    assert [file.read_text() for file in tmp_path.glob("new_data/train/pos/*.txt")] == ["a good film"]
    version = open_model(store)
    assert version.id in out["inspect"]
    assert version.id in out["versions"]


def test_a_saved_model_is_not_looked_at_where_there_is_an_engine(shell, start, trained_version, tmp_path):
    """The version of a training, whole, in the same environment."""
    out, _ = shell.finish(start("--model-path", trained_version.parent.parent, "inspect"))
    assert trained_version.name in out
    (tmp_path / "in.csv").write_text("text\na great lovely film\n", encoding="utf-8")
    shell.finish(start("--model-path", trained_version, "score", "--input", "in.csv", "--output", "out.csv"))
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("a great lovely film,pos,")


def test_without_an_engine_the_error_says_what_to_install(start, saved_model_only):
    process = start("--model-path", saved_model_only, "live")
    with process:
        _, err = process.communicate("a good film\n", timeout=60)
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert "TensorFlow can't be imported" in err
    assert "pip install tensorflow tensorflow-text" in err
