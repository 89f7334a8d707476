"""The stages one after the other, as a user calls them: first the classes, then the command lines."""

import http.server
import io
import json
import re
import shutil
import tarfile
import threading

import numpy as np
import pytest
from command_lines import ROOT

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


@pytest.fixture
def url(archive):
    """Where a loopback server has the archive."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(archive.parent), **options)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/aclImdb_v1.tar.gz"
        server.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder: what the defaults name lies in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_the_classes_as_a_notebook_calls_them(folder, url, tiny_checkpoint, monkeypatch, capsys):
    handle = str(tiny_checkpoint)

    # Initialize
    initialize = Initialize("aclImdb_v1.tar.gz")
    root = initialize.download_dataset(url)
    assert (root / "train" / "pos").is_dir()
    assert Initialize("aclImdb_v1.tar.gz").download_dataset(url) == root
    train_ds, val_ds, test_ds = initialize.make_dataset(root / "train", root / "test", 0.25, 16)
    assert initialize.class_names == ("neg", "pos")
    texts, labels = next(iter(train_ds))
    assert (texts.shape, texts.dtype.name, labels.shape, labels.dtype.name) == ((16,), "string", (16,), "int32")
    counts = [sum(len(labels) for _, labels in part) for part in (train_ds, val_ds, test_ds)]
    assert counts == [76, 26, 24]
    again = initialize.make_dataset(root, root, val_split=0.25, batch_size=16)
    assert [sum(len(labels) for _, labels in part) for part in again] == counts
    capsys.readouterr()
    initialize.preview(train_ds, n=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(re.match(r"\[(neg|pos)\] \w", line) for line in lines)

    # MakeModel
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

    # Training
    training = Training(2, 5e-3, "aclImdb_v1.tar.gz", "tiny-bert", handle, handle, url, max_length=64)
    training.compile(optimiser="adamw")
    history = training.fit_model()
    assert [len(values) for values in history.values()] == [2] * 5
    metrics = training.predict_model()
    assert metrics["test"].n == 24
    path = training.save_model()
    assert path.parent.parent.samefile(folder / "model")
    assert ModelStore("model").current_id() == path.name

    # Inference
    inference = Inference(model_path="model")
    one = inference.predict("a good film")
    assert (one.text, one.label in ("neg", "pos"), one.truncated) == ("a good film", True, False)
    both = inference.predict(["a good film", "bad " * 80])
    # What int8 leaves is in bfloat16 on CPUs that have it: eight bits, and the batch's shape shows in the last.
    assert both[0].probabilities == pytest.approx(one.probabilities, abs=3e-3)
    assert both[1].truncated
    assert Inference(path).predict("a good film") == one
    assert inference.predict_live_result("a good film") == one
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

    results = inference.run_batch_inference(root / "test", num_files=3)
    assert [result.label for result in results] == ["neg"] * 3 + ["pos"] * 3
    right = sum(result.is_right for result in results)
    assert f"accuracy: {right} of 6 right" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_lines_as_a_shell_calls_them(shell, tmp_path, url, tiny_checkpoint, trained_version):
    # A first version; while it is trained, a look at its data set and at the model before any training.
    assert shell.run("initializing.py", "download", "--url", url) == "datasets/aclImdb_v1/aclImdb\n"
    root = "datasets/aclImdb_v1/aclImdb"
    encoder = ["--encoder", tiny_checkpoint, "--max-length", 64]
    options = ["--dataset-path", "aclImdb_v1.tar.gz", *encoder, "--epochs", 2, "--init-lr", "5e-3"]
    training = shell.start("train_model.py", *options)
    report = json.loads(shell.run("initializing.py", "report", root, *encoder, "--json"))
    assert [split["texts"] for split in report["splits"]] == [82, 10, 10, 24]
    shown = shell.run("initializing.py", "preview", root, "-n", 2)
    assert len(re.findall(r"^\[(?:neg|pos)\] ", shown, re.MULTILINE)) == 2
    shown = shell.run("make_model.py", "preview", *encoder, "--text", "a good film")
    assert "pooled output:" in shown
    assert "untrained scores:\nneg 0." in shown
    out, _ = shell.finish(training)
    assert re.search(r"^test: +accuracy [01]\.\d{4}, macro F1 .* \(24 texts\)$", out, re.MULTILINE)
    version = open_model(tmp_path / "model")
    assert out.endswith(f"saved:         model/versions/{version.id} (current)\n")
    assert version.manifest.metrics["test"]["n"] == 24
    assert re.search(
        rf"^engine: +{version.manifest.engine['precision']}, the label of the SavedModel on ", out, re.MULTILINE
    )
    # From here on TensorFlow is not needed, nor what it saved.
    shutil.rmtree(version.path / "saved_model")

    # Inference: a prompt, folders, a file.
    rows = [json.dumps({"text": text, "label": "pos", "n": n}) for n, text in enumerate(["a good film", "dull", ""])]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    live = shell.start("inference.py", "live")
    batch = shell.start("inference.py", "batch", root, "--num-files", 2, "--seed", 1)
    out = shell.run("inference.py", "score", "--input", "rows.jsonl", "--output", "scored.csv")
    assert "scored.csv: rows scored: 3\n" in out
    header, *scored = (tmp_path / "scored.csv").read_text().splitlines()
    assert header == "text,input_label,n,label,score,p:neg,p:pos,truncated"
    assert [line.split(",")[1:3] for line in scored] == [["pos", "0"], ["pos", "1"], ["pos", "2"]]
    out, _ = shell.finish(live, answers="a good film\n1\nexit\n")
    assert out.count("(score ") == 1
    assert [file.read_text() for file in tmp_path.glob("new_data/train/pos/*.txt")] == ["a good film"]
    out, _ = shell.finish(batch)
    assert re.search(r"^accuracy: \d of 4 right", out, re.MULTILINE)

    # And what there is to say of versions; the other one comes from another store.
    listed = shell.run("inference.py", "versions")
    assert re.search(rf"^\* +{version.id} .* tiny-bert ", listed, re.MULTILINE)
    shown = shell.run("inference.py", "inspect")
    assert "aclImdb-tiny-bert" in shown
    accuracy = version.manifest.metrics["test"]["accuracy"]
    assert re.search(rf"^  test +24 +{accuracy:.4f} ", shown, re.MULTILINE)
    other = trained_version
    compared = shell.run("inference.py", "compare", version.id, other)
    assert f"a  {version.id}  aclImdb-tiny-bert\nb  {other.name}  reviews-tiny-bert\n" in compared
    assert "metrics on test: NOT the same texts" in compared
    assert re.search(r"^  max_length +64 +32$", compared, re.MULTILINE)
