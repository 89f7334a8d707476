"""The training stage: what a saved version says is true, resuming after a real kill, options, promotion, data forms."""

import csv
import json
import shutil
import time
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from command_lines import ROOT
from tiny_bert import write_checkpoint, write_reviews
from tiny_engine import write_version
from tiny_training import tiny_training

import inference
import train_model
from inference import Inference
from textclf.data.datasets import load_dataset
from textclf.drift.reference import REFERENCE_FILE, load_projection, load_reference, projection_of
from textclf.errors import ConfigError, DatasetError, EncoderError, ModelStoreError, TrainingError
from textclf.retraining.recipe import options_of_version
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import load_predictor
from textclf.stats.calibration import expected_calibration_error, softmax
from textclf.stats.metrics import classification_metrics
from textclf.store.evaluation import EVALUATION_FILE, Evaluation
from textclf.store.model_store import ModelStore, open_model
from textclf.tokenization.text_key import TextKeys
from textclf.training.classifier import ids_encoder
from textclf.training.encoders import hf_bert
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import tokenize_texts
from textclf.training.export import version_writer
from textclf.training.export.tokenizer_parity import preprocessing_of_version
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.training_loop import ids_to_logits, predict_logits
from train_model import Training

PNG = b"\x89PNG\r\n"


# --- before any work


def test_the_constructor_only_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = Training(2, 1e-4, "nowhere.tar.gz", "a", "b", "c", "http://127.0.0.1:9/", seed=7, val_split=0.3)
    assert list(tmp_path.iterdir()) == []
    assert (training.dataset_path, training.url) == ("nowhere.tar.gz", "http://127.0.0.1:9/")
    assert (training.training_options.epochs, training.training_options.init_lr) == (2, 1e-4)
    assert (training.training_options.seed, training.data_options.val_split) == (7, 0.3)
    options = training.model_options
    assert (options.model_name, options.name_to_handle, options.model_to_handle) == ("a", "b", "c")


def test_defaults_are_the_small_bert_of_tf_hub():
    training = Training()
    assert training.dataset_path == "aclImdb_v1.tar.gz"
    assert training.model_options.model_name == "small_bert/bert_en_uncased_L-4_H-512_A-8"
    assert training.model_options.name_to_handle.startswith("https://tfhub.dev/tensorflow/small_bert/")
    assert (training.training_options.epochs, training.training_options.init_lr) == (5, 3e-5)


def test_texts_are_equal_as_the_encoder_reads_them(tiny_checkpoint, tmp_path):
    """The vocabulary spells neither sign, so a model cannot tell these texts apart."""
    rows = [(f"a film {number}", "pos") for number in range(20)]
    rows += [(f"a dull plot {number}", "neg") for number in range(20)]
    rows += [("very dull \u2603", "neg"), ("very dull \u2602", "neg")]
    with open(tmp_path / "all.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    training = tiny_training(tiny_checkpoint, tmp_path / "all.csv", tmp_path)
    assert training.read_dataset().counts.duplicates == 1
    assert load_dataset(tmp_path / "all.csv").counts.duplicates == 0
    # The data is read before an encoder is loaded, and without one if the keys are given.
    lost = Training(dataset_path=str(tmp_path / "all.csv"), name_to_handle="no/such/encoder")
    assert lost.read_dataset(TextKeys()).counts.duplicates == 0
    with pytest.raises(EncoderError, match="no/such/encoder"):
        lost.read_dataset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "unknown option epoch"),
        ({"learning_rate": 1e-4, "droput": 0.1}, "unknown option droput, learning_rate"),
        ({"epochs": 0}, "epochs: expected a whole number"),
        ({"init_lr": 50.0}, "init_lr: expected a number above 0 and below 10"),
        ({"val_split": 1.5}, "val_split"),
        ({"metric": "f1"}, "metric: expected one of accuracy, macro_f1"),
        ({"truncation": "tail"}, "truncation"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Training(**options)


def test_an_unknown_optimiser_is_refused_before_any_work(tmp_path):
    (tmp_path / "data.csv").write_text("no table of texts")
    training = Training(dataset_path=str(tmp_path / "data.csv"))
    with pytest.raises(ConfigError, match="optimiser: expected one of adamw"):
        training.compile("adamww")


@pytest.mark.slow
def test_options_are_checked_against_the_encoder_before_texts_are_compared(tmp_path, tiny_checkpoint):
    (tmp_path / "data.csv").write_text("text,label\nsplendid,pos\ndull,neg\n")  # Too few texts to split.
    training = Training(
        dataset_path=str(tmp_path / "data.csv"), model_name="tiny", name_to_handle=str(tiny_checkpoint), max_length=65
    )
    with pytest.raises(EncoderError, match="max_length: expected at most 64"):
        training.compile()


def test_what_is_not_made_yet_says_which_verb_makes_it():
    training = Training()
    for part, verb in (("dataset", "compile"), ("classifier_model", "compile"), ("metrics", "predict_model")):
        with pytest.raises(TrainingError, match=rf"call {verb}\(\) first"):
            getattr(training, part)


def test_help_is_quick_and_shows_defaults_and_examples(shell, tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(
        f"import runpy, sys; sys.argv[1:], sys.path[0] = ['--help'], {str(ROOT)!r}\n"
        f"try: runpy.run_path({str(ROOT / 'train_model.py')!r}, run_name='__main__')\n"
        "except SystemExit: print('imported:', *{'tensorflow', 'tf_keras', 'matplotlib'} & set(sys.modules))\n"
    )
    started = time.monotonic()
    out = shell.run(probe)
    assert time.monotonic() - started < 30
    assert out.endswith("imported:\n")
    out = " ".join(out.split())
    for expected in (
        "[default: 5; at least 0]", "[default: adamw]", "[default: (by the encoder)]", "[default: model]",
        "[head|head+tail]", "Examples:",
        "train_model.py --dataset-path data/sample --encoder minilm-l6", "tensorboard --logdir runs",
    ):  # fmt: skip
        assert expected in out
    assert '[default: ""]' not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["probe.py"]


def test_a_missing_data_set_is_one_line_and_status_one(tmp_path):
    options = ["--data-dir", str(tmp_path), "--runs-dir", str(tmp_path), "--model-dir", str(tmp_path / "model")]
    result = CliRunner().invoke(train_model.main, ["--dataset-path", "nowhere.tar.gz", *options])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: nowhere.tar.gz: no such file or folder")
    assert result.stderr.count("\n") == 1


# --- what a saved version says


@pytest.fixture(scope="module")
def version(trained):
    _, path = trained
    return open_model(path)


def test_the_version_is_whole_and_current(trained, version):
    version.verify()
    assert ModelStore(version.path.parent.parent).current_id() == version.id
    parts = {"saved_model", "engine", "reference.npz", "evaluation.json", "plots"}
    assert {path.name for path in version.path.iterdir()} == {"manifest.json", *parts}
    assert {path.split("/")[0] for path in version.manifest.files} == parts


def test_the_reference_is_half_c_as_the_engine_sees_it(trained, version, engine_only):
    half = trained[0].dataset.validation_calibrate
    reference = load_reference(version.part(REFERENCE_FILE))
    assert reference.n_all == len(reference.labels) == len(half)
    np.testing.assert_array_equal(reference.labels, half.labels)
    predictor = load_predictor(engine_only)
    found = text_features(predictor, half.texts, reference.projection)
    np.testing.assert_array_equal(reference.features.lengths, found.lengths)
    np.testing.assert_array_equal(reference.features.words.ids, found.words.ids)
    np.testing.assert_allclose(reference.features.logits, found.logits, atol=1e-2)
    np.testing.assert_allclose(reference.features.embeddings, found.embeddings, atol=1e-2)
    predictions = [prediction.label for prediction in predictor.predict(half.texts)]
    names = np.array(version.manifest.class_names)
    assert reference.error_rate == np.mean(np.array(predictions) != names[half.labels])


def test_half_c_is_too_small_for_a_cascade_and_the_manifest_says_so(version, engine_only):
    cascade = version.manifest.cascade
    assert list(cascade) == ["settings", "why_off", "validation"]
    assert cascade["settings"] is None
    assert "the linear stage alone can predict too few of 24 held-out texts" in cascade["why_off"]
    assert "combining both stages needs at least 200 held-out texts" in cascade["why_off"]
    assert cascade["validation"]["texts"] == 24
    assert cascade["validation"]["accuracy"]["cascade"] == cascade["validation"]["accuracy"]["encoder"]
    assert "cascade" not in version.manifest.parity
    assert load_predictor(engine_only).cascade is None


def test_the_directions_of_the_embeddings_are_those_of_training_texts(trained, version, engine_only):
    """What else runs before decides how an engine rounds."""
    predictor, dataset = load_predictor(engine_only), trained[0].dataset
    found = load_projection(version.part(REFERENCE_FILE))
    fitted, compared = (
        projection_of(predictor.run(predictor.encode(list(split.texts))).embeddings)
        for split in (dataset.train, dataset.validation_calibrate)
    )
    np.testing.assert_allclose(found.mean, fitted.mean, atol=3e-5)
    assert found.components[1] @ fitted.components[1] > 0.99
    assert np.abs(found.mean - compared.mean).max() > 1e-4


def test_the_state_of_the_run_is_gone_and_its_logs_stay(trained, version):
    (folder,) = (version.path.parent.parent.parent / "runs").iterdir()
    assert folder.name.startswith("reviews-tiny-bert-")
    assert {path.name for path in folder.iterdir()} == {"lock", "tensorboard"}


@pytest.fixture(
    params=[
        # Batches of another shape: logits differ in the last places.
        ("saved_model_only", 1e-4),
        # In 8 bits; texts of nearly the same score change places, which the ROC AUC of 63 texts shows.
        ("engine_only", 0.05),
    ],
    ids=lambda param: param[0],
)
def answering(request):
    """A part of the version that answers, and how closely it gives what the trained model gave."""
    part, tolerance = request.param
    return request.getfixturevalue(part), tolerance


def test_metrics_are_those_that_inference_finds(version, reviews, answering):
    path, tolerance = answering
    manifest = version.manifest
    data = load_dataset(reviews)
    names = data.class_names
    assert set(manifest.metrics) == {"validation_select", "test"}
    for split in manifest.metrics:
        texts, labels = list(data.splits[split].texts), data.splits[split].labels
        predictions = Inference(path).predict(texts)
        probabilities = np.array([[p.probabilities[name] for name in names] for p in predictions])
        found = classification_metrics(probabilities, labels, names).to_dict()
        claimed = manifest.metrics[split]
        assert claimed["n"] == len(texts)
        assert claimed["accuracy"] == np.mean([p.label == names[y] for p, y in zip(predictions, labels, strict=True)])
        assert claimed["confusion_matrix"] == found["confusion_matrix"]
        assert claimed["per_class"] == found["per_class"]
        for figure in ("macro_f1", "roc_auc", "log_loss"):
            assert claimed[figure] == pytest.approx(found[figure], abs=tolerance)
    # Three texts are labelled neg and read like pos: the rows are what is true.
    (right, wrong), _ = manifest.metrics["test"]["confusion_matrix"]
    assert right + wrong == 33
    assert wrong >= 3
    assert manifest.metrics["test"]["accuracy"] <= 60 / 63


def test_the_temperature_comes_from_the_other_half_of_validation(version, reviews, saved_model_only):
    calibration = version.manifest.calibration
    split = load_dataset(reviews).validation_calibrate
    logits = Inference(saved_model_only).predictor.predict_batch(list(split.texts)).outputs.logits
    assert (calibration["split"], calibration["n"]) == ("validation_calibrate", len(split))
    for key, temperature in (("before", 1.0), ("after", version.manifest.temperature)):
        found = expected_calibration_error(softmax(logits, temperature), split.labels)
        # A text on the edge of a bin may fall on either side.
        assert calibration[f"expected_calibration_error_{key}"] == pytest.approx(found, abs=0.05)
    assert calibration["expected_calibration_error_after"] != calibration["expected_calibration_error_before"]


def test_the_manifest_tells_where_the_model_comes_from(trained, version, reviews, tiny_checkpoint):
    training, manifest = trained[0], version.manifest
    data = load_dataset(reviews)
    assert manifest.name == "reviews-tiny-bert"
    assert manifest.class_names == ("neg", "pos")
    # The checkpoint brings its own preprocessing.
    checkpoint = str(tiny_checkpoint)
    handles = {"model_name": "tiny-bert", "name_to_handle": checkpoint, "model_to_handle": checkpoint}
    assert manifest.encoder == handles
    assert (manifest.max_length, manifest.truncation, manifest.lower_case) == (32, "head", True)
    assert (manifest.threshold, manifest.parent) == (0.5, None)
    assert manifest.data["source"] == "reviews"
    assert manifest.data["fingerprint"] == data.fingerprints
    assert set(manifest.data["fingerprint"]) == {"all", "train", "validation_select", "validation_calibrate", "test"}
    assert manifest.data["counts"]["train_read"] == 240
    assert manifest.data["options"] == training.data_options.to_dict()
    told = manifest.training
    assert told["history"] == training.fit_model()
    options = {**training.training_options.to_dict(), "optimiser": "adamw", "precision": "float32"}
    assert told["options"] == json.loads(json.dumps(options))  # JSON has no tuples.
    assert told["steps"] >= 4 * len(data.train) / 8
    assert told["resumed_from_step"] == 0
    assert told["dropout"] == 0.1
    assert told["history"]["val_accuracy"][told["best_epoch"] - 1] == manifest.metrics["validation_select"]["accuracy"]
    assert 0 <= manifest.parity["saved_model_largest_logit_difference"] < 1e-4
    assert manifest.software["tensorflow"].startswith("2.")
    assert {"python", "tf-keras", "tf-models-official", "numpy", "openvino", "nncf"} < set(manifest.software)


def test_the_evaluation_is_of_the_engine_on_the_test_part(trained, version, engine_only):
    training, _ = trained
    found = Evaluation.load(version.part(EVALUATION_FILE), 2)
    test = training.dataset.test
    predictions = load_predictor(engine_only).predict(list(test.texts))
    assert (found.split, found.found) == ("test", len(test))
    assert found.labels.tolist() == test.labels.tolist()
    assert [("neg", "pos")[label] for label in found.predicted] == [each.label for each in predictions]
    assert found.lengths.tolist() == [each.tokens for each in predictions]
    assert found.confidences == pytest.approx([max(each.probabilities.values()) for each in predictions], abs=1e-4)
    assert {word.word for word in found.words[1]} & {"great", "lovely", "brilliant", "good"}
    content = version.part(EVALUATION_FILE).read_text(encoding="utf-8")
    assert not any(text in content for text in test.texts)


def test_plots_are_pictures(version):
    plots = {path.name: path.read_bytes() for path in (version.path / "plots").iterdir()}
    assert set(plots) == {"training_curves.png", "confusion_matrix.png", "reliability.png"}
    assert all(content.startswith(PNG) and len(content) > 5000 for content in plots.values())
    assert len(set(plots.values())) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_second_version_becomes_current_only_when_promoted(trained, tmp_path, capsys):
    training, first = trained
    store = ModelStore(tmp_path / "model")
    shutil.copytree(first.parent.parent, store.path)
    capsys.readouterr()

    second = training.save_model(store.path, name="second", parent=first.name)
    assert store.current_id() == first.name != second.name
    assert (store.open(second.name).manifest.name, store.open(second.name).manifest.parent) == ("second", first.name)
    said = capsys.readouterr()
    assert said.out.endswith(f"saved:         {second}\n")
    assert f"warning: {len(training.dataset.test)} test texts are few: the accuracy is known to ±" in said.err

    third = training.save_model(store.path, promote=True)
    assert store.current_id() == third.name
    assert capsys.readouterr().out.endswith(f"saved:         {third} (current)\n")
    assert store.version_ids() == [first.name, second.name, third.name]
    assert store.open(third.name).manifest.metrics == store.open(first.name).manifest.metrics


def test_the_command_says_which_version_goes_on_being_current(tmp_path, monkeypatch):
    store = ModelStore(tmp_path / "model")
    first, second = write_version(store.path, seed=0), write_version(store.path, seed=1, promote=False)
    monkeypatch.setattr(Training, "save_model", lambda *_: second)
    said = invoke("--dataset-path", "reviews", "--model-dir", store.path).stdout
    change = f"textclf versions promote {second.name} --model-dir {store.path}"
    assert said == f"current:       {first.name}; to make the new version current: {change}\n"
    store.promote(second.name, expected_current=first.name)
    assert invoke("--dataset-path", "reviews", "--model-dir", store.path).stdout == ""


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_promotion_that_was_overtaken_is_refused(trained, tmp_path, monkeypatch):
    training, first = trained
    store = ModelStore(tmp_path / "model")
    shutil.copytree(first.parent.parent, store.path)
    other = "20200101T000000000Z-abcdef"
    plot = version_writer._plot

    def plot_and_move_current(*arguments):
        plot(*arguments)
        (store.path / "current").write_text(f"{other}\n")

    monkeypatch.setattr(version_writer, "_plot", plot_and_move_current)
    with pytest.raises(ModelStoreError, match="another was promoted meanwhile"):
        training.save_model(store.path, promote=True)
    assert store.current_id() == other
    assert len(store.version_ids()) == 2


# --- forms of data


def options_of(checkpoint, folder, *more):
    return [
        "--encoder", checkpoint, "--epochs", "4", "--init-lr", "5e-3", "--batch-size", "8", "--max-length", "32",
        "--precision", "float32", "--data-dir", folder / "datasets", "--runs-dir", folder / "runs",
        "--model-dir", folder / "model", "--recipe", "none", *more,
    ]  # fmt: skip


def invoke(*arguments):
    result = CliRunner().invoke(train_model.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_recipe_for_few_labels(tiny_checkpoint, reviews, tmp_path):
    """Mean pooling that starts from a probe: the same logits in the model, the SavedModel and the engine."""
    recipe = {"pooling": "mean", "head_init": "probe", "select": "last", "max_length": 32}
    training = tiny_training(tiny_checkpoint, reviews, tmp_path, epochs=1, init_lr=1e-6, **recipe)
    path = training.save_model(tmp_path / "model")
    # At this rate nothing is learned after the probe. Chance gets 45 of 63 texts right less than once in 1,000 times.
    assert training.metrics["test"].accuracy >= 45 / 63
    manifest = open_model(path).manifest
    assert manifest.training["pooling"] == "mean"
    assert manifest.parity["saved_model_largest_logit_difference"] < 1e-4
    assert manifest.engine["graph"] == "built"
    assert manifest.parity["engine"]["agreement"] >= 0.9
    assert {name: options_of_version(manifest)[name] for name in recipe} == recipe
    encode, classify = ids_to_logits(ids_encoder(training.classifier_model)), load_predictor(path)
    texts = training.dataset.test.texts[:4]
    vectors = predict_logits(encode, tokenize_texts(preprocessing_of_version(open_model(path)), texts), 0, "test")
    embeddings = classify.run(classify.encode(list(texts))).embeddings
    np.testing.assert_allclose(embeddings, vectors, atol=0.05 * np.abs(vectors).max())
    again = tiny_training(tiny_checkpoint, reviews, tmp_path, **recipe).export_again(tmp_path / "model")
    assert open_model(again).manifest.engine["graph"] == "built"


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    """Rows (text, label) of three classes, one of them rare."""
    root = write_reviews(tmp_path_factory.mktemp("three") / "files", 80, 1, ("bad", "good", "so so"))
    rows = [(path.read_text("utf-8").strip(), path.parent.name) for path in sorted(root.glob("train/*/*.txt"))]
    rare = [row for row in rows if row[1] == "good"][40:]
    return [row for row in rows if row not in rare]


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_three_classes_from_one_csv_file_with_class_weights(three_classes, tiny_checkpoint, tmp_path):
    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("review", "stars"), *three_classes])
    columns = ["--text-column", "review", "--label-column", "stars", "--rename-label", "so so=fair"]
    options = options_of(
        tiny_checkpoint, tmp_path, *columns, "--class-weights", "--metric", "log_loss", "--name", "three"
    )
    result = invoke("--dataset-path", tmp_path / "table.csv", *options)
    assert "3 classes: bad, fair, good" in result.stdout

    version = open_model(tmp_path / "model")
    manifest = version.manifest
    assert (manifest.name, manifest.class_names) == ("three", ("bad", "fair", "good"))
    assert manifest.training["options"]["class_weights"] is True
    assert manifest.data["counts"]["train_read"] == 200
    test = manifest.metrics["test"]
    assert test["n"] == sum(map(sum, test["confusion_matrix"])) == 40
    assert [sum(row) for row in test["confusion_matrix"]] == [16, 16, 8]
    assert test["accuracy"] >= 0.7
    assert manifest.training["best_epoch"] == 1 + int(np.argmin(manifest.training["history"]["val_loss"]))
    prediction = Inference(tmp_path / "model").predict("the film was slow long short fast")
    assert prediction.label == "fair"
    assert prediction.score == max(prediction.probabilities.values())
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_jsonl_reads_the_same_data_and_no_test_leaves_the_test_part_unread(three_classes, tiny_checkpoint, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in three_classes]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "test.jsonl").write_bytes(b'\xff\xfe not JSON {"')

    result = invoke("--dataset-path", folder, *options_of(tiny_checkpoint, tmp_path, "--no-test", "--epochs", "1"))
    assert "\ntest:" not in result.stdout
    manifest = open_model(tmp_path / "model").manifest
    assert manifest.class_names == ("bad", "good", "so so")
    assert set(manifest.metrics) == {"validation_select"}
    assert set(manifest.data["fingerprint"]) == {"all", "train", "validation_select", "validation_calibrate"}
    assert manifest.data["counts"]["test_read"] is None
    assert {path.name for path in (open_model(tmp_path / "model").path / "plots").iterdir()} == {
        "training_curves.png", "confusion_matrix.png", "reliability.png",
    }  # fmt: skip
    # The garbage is really there.
    with pytest.raises(DatasetError):
        tiny_training(tiny_checkpoint, folder, tmp_path).compile()


# --- a real kill


@pytest.fixture(scope="module")
def still_encoder(tiny_checkpoint, tmp_path_factory):
    """An encoder without dropout, so that nothing is drawn at random inside a step, and its preprocessing."""
    folder = tmp_path_factory.mktemp("still")
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    checkpoint = write_checkpoint(folder / "checkpoint", **no_dropout)
    ready = encoders.resolve("tiny-bert", str(tiny_checkpoint), "").preprocessing
    with pytest.MonkeyPatch.context() as patch:
        # The same vocabulary: exporting its preprocessing again would take longer than a training.
        patch.setattr(
            "official.nlp.tools.export_tfhub_lib.export_preprocessing",
            lambda target, **_: shutil.copytree(ready, target),
        )
        hf_bert.export_checkpoint(
            checkpoint, folder / "still-bert" / "encoder", folder / "still-bert" / "preprocessing"
        )
    return folder / "still-bert"


def read_progress(folder):
    """The progress that the only run in `folder` has written, {} before it has."""
    paths = list(folder.glob("runs/*/progress.json"))
    return json.loads(paths[0].read_text())["progress"] if paths else {}


def is_inside_second_epoch(progress):
    return len(progress.get("history", {}).get("loss", [])) == 1 and progress["epoch_texts"] > 0


def wait_until(process, folder, is_time):
    while not is_time(read_progress(folder)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_unbroken_one(shell, still_encoder, reviews, tmp_path, capsys):
    more = ["--dropout", "0", "--checkpoint-steps", "10", "--epochs", "3", "--batch-size", "4"]
    command = ["train_model.py", "--dataset-path", reviews, *options_of(still_encoder, tmp_path, *more)]

    # Kill a training in its second epoch; before that, its run directory is locked.
    process = shell.start(*command)
    wait_until(process, tmp_path, is_inside_second_epoch)
    (run_path,) = (tmp_path / "runs").iterdir()
    with pytest.raises(TrainingError, match="another process"), RunDirectory(run_path).locked():
        pass
    shell.kill(process)
    killed = read_progress(tmp_path)
    assert is_inside_second_epoch(killed)

    # The same command continues it and saves a version.
    process = shell.start(*command)

    # Meanwhile, an unbroken training with the same options, which ends before it is saved.
    options = {"dropout": 0.0, "checkpoint_steps": 10, "epochs": 3, "batch_size": 4, "model_name": "still-bert"}
    unbroken = tiny_training(still_encoder, reviews, tmp_path / "b", **options)
    history = unbroken.fit_model()
    (unbroken_path,) = (tmp_path / "b" / "runs").iterdir()
    assert unbroken_path.name == run_path.name
    assert {path.name for path in unbroken_path.iterdir()} == {"lock", "tensorboard", "progress.json", "checkpoints"}
    # A new process measures and saves it without training again.
    capsys.readouterr()
    again = tiny_training(still_encoder, reviews, tmp_path / "b", **options)
    expected = open_model(again.save_model(tmp_path / "b" / "model"))
    said = capsys.readouterr().err
    steps = expected.manifest.training["steps"]
    assert f"continuing from step {steps} of {steps} ({unbroken_path})" in said
    assert "epoch 3/3" not in said
    assert {path.name for path in unbroken_path.iterdir()} == {"lock", "tensorboard"}
    assert expected.manifest.training["history"] == history

    out, err = shell.finish(process)
    version = open_model(tmp_path / "model")
    assert f"continuing from step {killed['step']} of {steps} ({run_path})" in err
    assert "epoch 1/3" not in err
    assert out.endswith(f"saved:         {version.path} (current)\n")
    version.verify()
    assert {path.name for path in run_path.iterdir()} == {"lock", "tensorboard"}

    for told in (version.manifest.training, expected.manifest.training):
        assert (told["steps"], told["history"]) == (steps, history)
    assert version.manifest.training["best_epoch"] == expected.manifest.training["best_epoch"]
    assert version.manifest.metrics == expected.manifest.metrics
    assert version.manifest.temperature == expected.manifest.temperature
    texts = list(load_dataset(reviews).test.texts)
    # First the engines, then, without them, the SavedModels.
    for _ in range(2):
        predictors = [Inference(path).predictor for path in (version.path, expected.path)]
        logits = [predictor.predict_batch(texts).outputs.logits for predictor in predictors]
        np.testing.assert_array_equal(*logits)
        for path in (version.path, expected.path):
            shutil.rmtree(path / "engine", ignore_errors=True)


@pytest.mark.slow
def test_a_version_prints_the_configuration_that_trains_it_again(trained_version, tmp_path, monkeypatch):
    first = open_model(trained_version).manifest
    store = trained_version.parent.parent
    shown = CliRunner().invoke(inference.main, ["--model-path", str(store), "inspect", "--config"]).stdout
    assert first.id in shown.splitlines()[0]
    assert first.data["fingerprint"]["all"] in " ".join(shown.replace("\n#", "").split())
    assert f"tensorflow {first.software['tensorflow']}" in shown
    (tmp_path / "run.toml").write_text(shown, encoding="utf-8")
    # Quantising is the slow part of saving.
    monkeypatch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
    folders = [part for name in ("model", "data", "runs") for part in (f"--{name}-dir", str(tmp_path / name))]
    result = CliRunner().invoke(train_model.main, ["--config", str(tmp_path / "run.toml"), *folders])
    assert result.exit_code == 0, result.output
    again = ModelStore(tmp_path / "model").open().manifest
    assert again.name == first.name
    assert again.encoder == first.encoder
    assert again.data == first.data
    assert again.training["options"] == first.training["options"]
    assert again.training["history"] == first.training["history"]
    assert again.metrics == first.metrics
    assert again.temperature == first.temperature
    # The next version prints the same options.
    store = str(tmp_path / "model")
    next_shown = CliRunner().invoke(inference.main, ["--model-path", store, "inspect", "--config"]).stdout
    assert tomllib.loads(next_shown) == tomllib.loads(shown)
