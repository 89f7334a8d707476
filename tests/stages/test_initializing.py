"""The first stage: from a URL, an archive, a folder or a table to tf.data, and its command line."""

import csv
import hashlib
import http.server
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import initializing
from initializing import Initialize
from textclf.cli.options import dataset_options
from textclf.config import DataOptions
from textclf.errors import ConfigError, DatasetError

CLASSES = ("neg", "pos")


@pytest.fixture
def root(tmp_path):
    """train/ with 30 and test/ with 10 texts of each class."""
    root = tmp_path / "in" / "reviews"
    for part, n in (("train", 30), ("test", 10)):
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                (root / part / name / f"{i}.txt").write_text(f"{part} text {i} is {name}", encoding="utf-8")
    return root


@pytest.fixture
def archive(root):
    path = root.parent / "reviews.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(root, arcname="reviews")
    return path


@pytest.fixture
def url(archive):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=archive.parent)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/reviews.tar.gz"
        server.shutdown()
        thread.join()


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(initializing.main, [str(argument) for argument in arguments])


def batches(dataset):
    return [(texts.tolist(), labels) for texts, labels in dataset.as_numpy_iterator()]


def test_constructor_only_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage = Initialize("no such file", "nowhere", sha256="x", options=DataOptions(val_split=0.5))
    assert (stage.file_name, stage.data_dir, stage.sha256) == ("no such file", "nowhere", "x")
    assert stage.options.val_split == 0.5
    assert (stage.class_names, stage.dataset) == ((), None)
    assert Initialize().file_name == "aclImdb_v1.tar.gz"
    assert list(tmp_path.iterdir()) == []


def test_import_does_not_load_tensorflow():
    code = (
        "import initializing, sys; sys.exit(any(name in sys.modules for name in ('tensorflow', 'pyarrow', 'tf_keras')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(initializing.__file__).parent, timeout=300).returncode
        == 0
    )


def test_download_unpack_and_nothing_the_second_time(tmp_path, url, archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    stage = Initialize("reviews.tar.gz", tmp_path / "datasets", sha256=digest)
    path = stage.download_dataset(url)
    assert path == tmp_path / "datasets" / "reviews" / "reviews"
    assert (path / "train" / "pos" / "0.txt").read_text() == "train text 0 is pos"
    archive.unlink()
    assert stage.download_dataset(url) == path
    assert stage.download_dataset() == path


def test_archive_in_a_folder_that_is_read_only(tmp_path, archive):
    archive.parent.chmod(0o500)
    before = sorted(archive.parent.iterdir())
    try:
        path = Initialize(archive, tmp_path / "datasets").download_dataset()
    finally:
        archive.parent.chmod(0o700)
    assert path.parent.parent == tmp_path / "datasets"
    assert sorted(archive.parent.iterdir()) == before


def test_folders_and_tables_are_taken_as_they_are(tmp_path, root):
    (tmp_path / "a.csv").write_text("text,label\n")
    for path in (root, tmp_path / "a.csv"):
        assert Initialize(str(path), tmp_path / "datasets").download_dataset() == path
    assert not (tmp_path / "datasets").exists()


def test_name_in_the_data_folder(tmp_path, archive, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Initialize("reviews.tar.gz", archive.parent).download_dataset() != archive.parent / "reviews"
    assert Initialize("reviews", archive.parent).download_dataset() == archive.parent / "reviews"


def test_what_can_not_be_had(tmp_path, archive, root):
    with pytest.raises(DatasetError, match=r"none.tar.gz: no such file .*--url"):
        Initialize("none.tar.gz", tmp_path / "datasets").download_dataset()
    with pytest.raises(DatasetError, match="expected sha256"):
        Initialize(archive, tmp_path / "datasets", sha256="0" * 64).download_dataset()
    with pytest.raises(ConfigError, match="is a folder"):
        Initialize(root, tmp_path / "datasets", sha256="0" * 64).download_dataset()
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DatasetError, match=r"notes\.txt: expected an archive"):
        Initialize(tmp_path / "notes.txt", tmp_path / "datasets").download_dataset()
    assert not (tmp_path / "datasets").exists()


def test_the_parts_of_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "reviews.zip", "w") as archive:
        for name, count in (("Train.csv", 20), ("Test.csv", 5), ("dev-0-of-2.csv", 3), ("dev-1-of-2.csv", 2)):
            rows = [f"{name} {i} is {label},{label}" for label in CLASSES for i in range(count)]
            archive.writestr(f"reviews/v1/{name}", "\n".join(["text,label", *rows]))
        archive.writestr("reviews/v1/README", "")
    data = Initialize(tmp_path / "reviews.zip", tmp_path / "datasets").read_dataset()
    assert [len(split) for split in data.splits.values()] == [40, 5, 5, 10]
    assert [entry.path.name for entry in data.layout.unread] == ["README"]


def test_a_path_is_not_looked_for_elsewhere(tmp_path, archive, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "train.csv").write_text("text,label\n")
    assert Initialize("train.csv").download_dataset() == Path("datasets/train.csv")
    for name in ("other/train.csv", "./train.csv", tmp_path / "other" / "train.csv"):
        with pytest.raises(DatasetError, match=r"train\.csv: no such file or folder") as caught:
            Initialize(name).download_dataset()
        assert f"({tmp_path.joinpath(name)})" in str(caught.value)
    with pytest.raises(DatasetError) as caught:
        Initialize("none.csv").download_dataset()
    assert f"({tmp_path / 'none.csv'} and {tmp_path / 'datasets' / 'none.csv'})" in str(caught.value)
    # A download of a path is stored at that path.
    assert Initialize("other/reviews.tar.gz").download_dataset(url) == Path("datasets/reviews/reviews")
    assert (tmp_path / "other" / "reviews.tar.gz").is_file()


def test_make_dataset(root):
    stage = Initialize(root)
    train_ds, val_ds, test_ds = stage.make_dataset(root, root, val_split=0.2, batch_size=16)
    assert stage.class_names == CLASSES
    for dataset, sizes in ((train_ds, [16, 16, 16]), (val_ds, [12]), (test_ds, [16, 4])):
        assert [len(texts) for texts, _ in batches(dataset)] == sizes
        for texts, labels in batches(dataset):
            assert labels.dtype == np.int32
            assert [text.decode().rsplit(maxsplit=1)[1] for text in texts] == [CLASSES[label] for label in labels]
    seen = {text for dataset in (train_ds, val_ds) for texts, _ in batches(dataset) for text in texts}
    assert len(seen) == 60
    assert all(text.startswith(b"train") for text in seen)
    assert len(stage.dataset.validation_select) == len(stage.dataset.validation_calibrate) == 6


def test_only_training_is_shuffled_and_by_the_seed(root):
    first, _, test_ds = Initialize(root).make_dataset(root, root, batch_size=100)
    again, _, _ = Initialize(root).make_dataset(root, root, batch_size=100)
    one_epoch = batches(first)[0][0]
    assert one_epoch == batches(again)[0][0]
    assert one_epoch != batches(first)[0][0]
    assert batches(test_ds)[0][0] == batches(test_ds)[0][0]


def test_make_dataset_with_options(root):
    stage = Initialize(root, options=DataOptions(read_test=False, val_split=0.2))
    _, val_ds, test_ds = stage.make_dataset(root / "train", root / "test", val_split=0.5)
    assert test_ds is None
    assert sum(len(texts) for texts, _ in batches(val_ds)) == 30


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "8"])
def test_batch_size_is_checked(root, batch_size):
    with pytest.raises(ConfigError, match="batch_size: expected"):
        Initialize(root).make_dataset(root, root, batch_size=batch_size)


def test_preview(root, capsys):
    stage = Initialize(root)
    train_ds, _, _ = stage.make_dataset(root, root)
    stage.preview(train_ds, n=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"[{line[-3:]}] train text ")


def test_download_command(invoke, tmp_path, url):
    result = invoke("download", "reviews.tar.gz", "--url", url)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "datasets/reviews/reviews"
    assert (tmp_path / "datasets" / "reviews" / "reviews" / "train").is_dir()


def test_errors_are_one_line(invoke):
    result = invoke("download", "none.tar.gz")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: none.tar.gz: no such file or folder")
    assert result.stderr.count("\n") == 1


def test_preview_command(invoke, archive):
    result = invoke("preview", archive, "-n", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("] train text ") == 2


def count_words(monkeypatch):
    monkeypatch.setattr(
        "textclf.training.encoders.preprocessing.token_counts",
        lambda texts, _encoder: np.array([len(text.split()) for text in texts]),
    )


def test_report_command(invoke, root, tiny_checkpoint, monkeypatch):
    count_words(monkeypatch)
    result = invoke("report", root, "--encoder", tiny_checkpoint, "--json", "--max-length", 4)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [split["texts"] for split in report["splits"]] == [48, 6, 6, 20]
    assert report["splits"][0]["lengths"]["over_limit"] == 1
    assert f"fingerprint {report['fingerprint']}" in invoke("report", root, "--encoder", tiny_checkpoint).stdout


def test_report_command_leads_to_rename_label(invoke, tmp_path, tiny_checkpoint, monkeypatch):
    count_words(monkeypatch)
    with open(tmp_path / "all.csv", "w", newline="") as file:
        pairs = [(f"text {i}{name}", name) for i in range(9) for name in ("a", "b\a")]
        csv.writer(file).writerows([("review", "stars"), *pairs])
    columns = ("--text-column", "review", "--label-column", "stars")
    result = invoke("report", "all.csv", *columns)
    assert result.exit_code == 1
    assert "--rename-label" in result.stderr
    others = ("--rename-label", "b\a=b", "--no-test", "--encoder", tiny_checkpoint, "--json")
    result = invoke("report", "all.csv", *columns, *others)
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["splits"][0]["classes"]) == ["a", "b"]


def test_report_command_counts_the_tokens_of_the_encoder(invoke, root, tiny_checkpoint):
    result = invoke("report", root, "--encoder", tiny_checkpoint, "--json")
    assert result.exit_code == 0, result.output
    lengths = json.loads(result.stdout)["splits"][3]["lengths"]
    # [CLS] t ##e ##s ##t t ##e ##x ##t 7 is n ##e ##g [SEP]
    assert (lengths["minimum"], lengths["maximum"]) == (15, 15)


@pytest.mark.parametrize("value", ["nothing", "=new", "old="])
def test_rename_label_of_the_wrong_form(invoke, root, value):
    result = invoke("report", root, "--rename-label", value)
    assert result.exit_code == 2
    assert "expected OLD=NEW" in result.stderr


def test_one_label_renamed_twice(invoke, root):
    result = invoke("report", root, "--rename-label", "a=b", "--rename-label", "a=c")
    assert result.exit_code == 2
    assert "renamed twice" in result.stderr


def test_options_become_data_options():
    import click

    seen = []

    @click.command()
    @click.option("--own", default=1)
    @dataset_options
    def command(own, data_options):
        seen.append((own, data_options))

    assert CliRunner().invoke(command, []).exit_code == 0
    flags = [
        "--val-split",
        "0.3",
        "--test-split",
        "0.1",
        "--split-seed",
        "7",
        "--text-column",
        "t",
        "--label-column",
        "l",
    ]
    flags += ["--rename-label", "a=b=c", "--skip-undecodable", "--no-test", "--own", "2"]
    assert CliRunner().invoke(command, flags).exit_code == 0
    assert seen == [
        (1, DataOptions()),
        (2, DataOptions(0.3, 0.1, 7, "t", "l", {"a=b": "c"}, skip_undecodable=True, read_test=False)),
    ]


@pytest.mark.parametrize("command", ["download", "report", "preview"])
def test_help_shows_an_example(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"python initializing.py {command}" in result.stdout
