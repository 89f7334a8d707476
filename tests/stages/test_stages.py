"""Each stage as a user calls it, on one small data set: first the classes, then the command lines."""

import http.server
import io
import json
import re
import shutil
import tarfile
import threading

import numpy as np
import pytest
from command_lines import ROOT, Shell

from inference import Inference
from initializing import Initialize
from make_model import MakeModel
from textclf.store.model_store import ModelStore, open_model
from train_model import Training

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """aclImdb_v1.tar.gz with half of the sample texts: aclImdb/train|test/neg|pos/*.txt, and texts without label."""
    folder = tmp_path_factory.mktemp("archive")
    for part in ("train", "test"):
        for name in ("neg", "pos"):
            (folder / "aclImdb" / part / name).mkdir(parents=True)
            for path in sorted((ROOT / "data" / "sample" / part / name).glob("*.txt"))[::2]:
                shutil.copy(path, folder / "aclImdb" / part / name)
    (folder / "aclImdb" / "train" / "unsup").mkdir()
    (folder / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("a film without a label", encoding="utf-8")
    (folder / "aclImdb" / "README").write_text("not a text", encoding="utf-8")
    with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as tar:
        tar.add(folder / "aclImdb", arcname="aclImdb")
    return folder / "aclImdb_v1.tar.gz"


@pytest.fixture(scope="module")
def url(archive):
    """The archive's URL on a loopback server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(archive.parent), **options)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/aclImdb_v1.tar.gz"
        server.shutdown()


# --- the classes


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The working folder of the classes, with the paths that are their defaults."""
    return tmp_path_factory.mktemp("classes")


@pytest.fixture
def folder(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture(scope="module")
def root(workspace, url):
    """The downloaded data set."""
    return Initialize("aclImdb_v1.tar.gz", workspace / "datasets").download_dataset(url)


@pytest.fixture(scope="module")
def trained_stage(workspace, url, tiny_checkpoint):
    """A Training after all its verbs, called with positional arguments, and the folder of its version."""
    handle = str(tiny_checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        training = Training(2, 5e-3, "aclImdb_v1.tar.gz", "tiny-bert", handle, handle, url, max_length=64)
        training.compile(optimiser="adamw")
        training.fit_model()
        training.predict_model()
        return training, training.save_model()


def test_initialize_downloads_once(folder, root, url):
    assert (root / "train" / "pos").is_dir()
    assert Initialize("aclImdb_v1.tar.gz").download_dataset(url).samefile(root)


def test_initialize_makes_batches_of_three_splits(folder, root):
    initialize = Initialize("aclImdb_v1.tar.gz")
    train_ds, val_ds, test_ds = initialize.make_dataset(root / "train", root / "test", 0.25, 16)
    assert initialize.class_names == ("neg", "pos")
    texts, labels = next(iter(train_ds))
    assert (texts.shape, texts.dtype.name, labels.shape, labels.dtype.name) == ((16,), "string", (16,), "int32")
    counts = [sum(len(labels) for _, labels in part) for part in (train_ds, val_ds, test_ds)]
    assert counts == [76, 26, 50]
    again = initialize.make_dataset(root, root, val_split=0.25, batch_size=16)
    assert [sum(len(labels) for _, labels in part) for part in again] == counts


def test_initialize_previews_texts(folder, root, capsys):
    initialize = Initialize("aclImdb_v1.tar.gz")
    train_ds, _, _ = initialize.make_dataset(root)
    initialize.preview(train_ds, n=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(re.match(r"\[(neg|pos)\] \S", line) for line in lines)


def test_make_model_previews_builds_and_draws(folder, tiny_checkpoint, capsys):
    handle = str(tiny_checkpoint)
    maker = MakeModel("tiny-bert", handle, handle, max_length=64)
    bert_model = maker.select_model()
    assert capsys.readouterr().out.startswith(f"encoder:       {handle} ({maker.folders.encoder})\n")
    maker.preview_untrained_model(bert_model, ["a good film"])
    shown = capsys.readouterr().out
    for expected in ("input_word_ids", "mask", "type ids", "pooled output:", "shape (1, 32)", "shape (1, 5, 32)"):
        assert expected in shown
    classifier = maker.build_model(dropout=0.1)
    assert classifier(np.array(["a good film", "a bad one"])).shape == (2, 2)
    scores = maker.test_model(classifier, ["a good film"])
    np.testing.assert_allclose(scores.sum(axis=1), [1.0])
    maker.see_model_structure(classifier, to_file="model_structure.png")
    assert (folder / "model_structure.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_training_saves_a_current_version(folder, trained_stage):
    training, path = trained_stage
    assert [len(values) for values in training.fit_model().values()] == [2] * 5
    assert training.predict_model()["test"].n == 50
    assert path.parent.parent.samefile(folder / "model")
    assert ModelStore("model").current_id() == path.name


@pytest.mark.slow
def test_inference_predicts(folder, trained_stage):
    inference = Inference(model_path="model")
    one = inference.predict("a good film")
    assert (one.text, one.label in ("neg", "pos"), one.truncated) == ("a good film", True, False)
    both = inference.predict(["a good film", "bad " * 80])
    # On CPUs with bfloat16 the rest of int8 is in bfloat16: eight bits, and the batch's shape changes the last one.
    assert both[0].probabilities == pytest.approx(one.probabilities, abs=3e-3)
    assert both[1].truncated
    assert Inference(trained_stage[1]).predict("a good film") == one


@pytest.mark.slow
def test_inference_stores_labelled_texts(folder, trained_stage, monkeypatch, capsys):
    inference = Inference(model_path="model")
    assert inference.predict_live_result("a good film") == inference.predict("a good film")
    assert not (folder / "new_data").exists()
    inference.predict_live_result("a good film", 1)
    inference.predict_live_result("a bad film", sentiment="neg")
    stored = inference.save_to_directory("a dull film", 0, "reviews")
    assert re.fullmatch(r"reviews/neg/[0-9a-f-]{36}\.txt", str(stored))
    assert stored.read_text() == "a dull film"

    monkeypatch.setattr("sys.stdin", io.StringIO("a lovely film\npos\na dull film\n\nexit\n"))
    capsys.readouterr()
    inference.run_live_inference()
    assert capsys.readouterr().out.count("(score ") == 2
    kept = [(file.parent.name, file.read_text()) for file in (folder / "new_data" / "train").glob("*/*.txt")]
    assert sorted(kept) == [("neg", "a bad film"), ("pos", "a good film"), ("pos", "a lovely film")]


@pytest.mark.slow
def test_inference_scores_files_of_every_class(folder, root, trained_stage, capsys):
    results = Inference(model_path="model").run_batch_inference(root / "test", num_files=3)
    assert [result.label for result in results] == ["neg"] * 3 + ["pos"] * 3
    right = sum(result.is_right for result in results)
    assert f"accuracy: {right} of 6 right" in capsys.readouterr().out


# --- the command lines


DATA = "datasets/aclImdb_v1/aclImdb"


@pytest.fixture(scope="module")
def cli(tmp_path_factory, url):
    """A shell in a folder with the downloaded data set."""
    with Shell(tmp_path_factory.mktemp("commands")) as shell:
        assert shell.run("initializing.py", "download", "--url", url) == f"{DATA}\n"
        yield shell


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return ["--encoder", tiny_checkpoint, "--max-length", 64]


@pytest.fixture(scope="module")
def started_training(cli, encoder):
    """A training that runs while other tests look at its data."""
    options = ["--dataset-path", "aclImdb_v1.tar.gz", *encoder, "--epochs", 2, "--init-lr", "5e-3", "--recipe", "none"]
    return cli.start("train_model.py", *options)


@pytest.fixture(scope="module")
def training_output(cli, started_training):
    """The output of the finished training; its version has no saved_model/, which inference does not need."""
    out, _ = cli.finish(started_training)
    shutil.rmtree(open_model(cli.folder / "model").path / "saved_model")
    return out


@pytest.mark.slow
@pytest.mark.usefixtures("started_training")
def test_initializing_reports_and_previews(cli, encoder):
    report = json.loads(cli.run("initializing.py", "report", DATA, *encoder, "--json"))
    assert [split["texts"] for split in report["splits"]] == [82, 10, 10, 50]
    shown = cli.run("initializing.py", "preview", DATA, "-n", 2)
    assert len(re.findall(r"^\[(?:neg|pos)\] ", shown, re.MULTILINE)) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("started_training")
def test_make_model_previews(cli, encoder):
    shown = cli.run("make_model.py", "preview", *encoder, "--text", "a good film")
    assert "pooled output:" in shown
    assert "untrained scores:\nneg 0." in shown


@pytest.mark.slow
def test_train_model_prints_results(cli, training_output):
    version = open_model(cli.folder / "model")
    assert re.search(
        r"^test: +trained encoder: accuracy [01]\.\d{4} \(.* to .*\), macro F1 .* \(50 texts\)$",
        training_output,
        re.MULTILINE,
    )
    engine = rf"^engine: +{version.manifest.engine['precision']}, the label of the SavedModel on "
    assert re.search(engine, training_output, re.MULTILINE)
    assert training_output.endswith(f"saved:         model/versions/{version.id} (current)\n")
    assert version.manifest.metrics["test"]["n"] == 50


@pytest.mark.slow
@pytest.mark.usefixtures("training_output")
def test_inference_scores_prompts_folders_and_files(cli):
    rows = [json.dumps({"text": text, "label": "pos", "n": n}) for n, text in enumerate(["a good film", "dull", ""])]
    (cli.folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    live = cli.start("inference.py", "live")
    batch = cli.start("inference.py", "batch", DATA, "--num-files", 2, "--seed", 1)
    out = cli.run("inference.py", "score", "--input", "rows.jsonl", "--output", "scored.csv")
    assert "scored.csv: rows scored: 3\n" in out
    header, *scored = (cli.folder / "scored.csv").read_text().splitlines()
    assert header == "text,input_label,n,label,score,p:neg,p:pos,truncated,unusual"
    assert [line.split(",")[1:3] for line in scored] == [["pos", "0"], ["pos", "1"], ["pos", "2"]]
    out, _ = cli.finish(live, answers="a good film\n1\nexit\n")
    assert out.count("(score ") == 1
    assert [file.read_text() for file in cli.folder.glob("new_data/train/pos/*.txt")] == ["a good film"]
    out, _ = cli.finish(batch)
    assert re.search(r"^accuracy: \d of 4 right", out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.usefixtures("training_output")
def test_inference_describes_and_compares_versions(cli, trained_version):
    version, other = open_model(cli.folder / "model"), trained_version
    assert re.search(rf"^\* +{version.id} .* tiny-bert ", cli.run("inference.py", "versions"), re.MULTILINE)
    shown = cli.run("inference.py", "inspect")
    assert "aclImdb-tiny-bert" in shown
    accuracy = version.manifest.metrics["test"]["accuracy"]
    assert re.search(rf"^  test +50 +{accuracy:.4f} ", shown, re.MULTILINE)
    compared = cli.run("inference.py", "compare", version.id, other)
    assert f"a  {version.id}  aclImdb-tiny-bert\nb  {other.name}  reviews-tiny-bert\n" in compared
    assert "metrics on test: NOT the same texts" in compared
    assert re.search(r"^  max_length +64 +32$", compared, re.MULTILINE)
