"""Ten label columns as they occur in practice, through the whole life of a model.

Each is reported, trained, scored, sent as feedback, checked for drift and retrained, with its labels in other
spellings at each step. `pytest -m bench tests/e2e/test_label_columns.py -s` prints a table.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from serving_models import settings
from tiny_training import tiny_training

import initializing
from inference import Inference
from monitoring import Monitoring
from retraining import Retrain
from serving.app import create_app
from textclf.config import DataOptions, DriftOptions
from textclf.data.class_folders import class_folder
from textclf.data.datasets import load_dataset
from textclf.data.feedback_store import FeedbackStore, stored_label
from textclf.data.labelled_reviews import read_labelled_reviews, with_class_names
from textclf.data.latest_texts import read_latest
from textclf.monitoring.audit_labels import class_ids
from textclf.runtime.label_accuracy import LabelComparison

COMMON = ["the", "film", "was", "story", "it", "and", "music", "scene", "actor", "is", "a", "plot"]
TELL = ["bad awful dull boring", "good great lovely brilliant", "long slow short fast", "best worst", "love hate"]


@dataclass(frozen=True)
class Column:
    """A label column.

    Attributes:
        name: its name in the table.
        train: format of the training part, and the raw labels of each class.
        test: the same of the test part.
        new: spellings in new data, one per class; feedback sends them, and a scored file contains them.
        classes: the class names of the model.
    """

    name: str
    train: tuple[str, Sequence[Sequence[Any]]]
    test: tuple[str, Sequence[Sequence[Any]]]
    new: Sequence[str]
    classes: Sequence[str]


NAN = float("nan")
COLUMNS = [
    Column("0/1", ("csv", [["0"], ["1"]]), ("parquet", [[0.0], [1.0]]), ["0.0", "1"], ["0", "1"]),
    Column("1/2", ("jsonl", [[1], [2]]), ("csv", [["1.0"], ["2"]]), ["1", "2.0"], ["1", "2"]),
    Column("1 to 5", ("parquet", [[k] for k in range(1, 6)]), ("csv", [[f"{k}.0"] for k in range(1, 6)]),
           ["1", "2", "3.0", "4", "5.0"], ["1", "2", "3", "4", "5"]),
    Column("True/False", ("csv", [["False", "FALSE"], ["True"]]), ("jsonl", [[False], [True]]),
           ["false", "TRUE"], ["false", "true"]),
    Column("yes/no", ("csv", [["no", "No "], ["yes"]]), ("jsonl", [["NO"], ["Yes"]]), ["No", "YES"], ["no", "yes"]),
    Column("pos/neg, mixed case", ("csv", [["neg", "Neg", "neg"], ["Pos", "pos", "pos"]]), ("csv", [["NEG"], ["POS"]]),
           ["Neg", " pos"], ["neg", "pos"]),
    Column("NaN", ("parquet", [[0.0], [1.0]]), ("parquet", [[0.0], [1.0]]), ["0", "1.0"], ["0", "1"]),
    Column("intents with slashes",
           ("csv", [["billing/refund"], ["billing: invoice?"], ["C/C++ & 50%"]]),
           ("jsonl", [["Billing/Refund"], ["billing: invoice?"], ["C/C++ & 50%"]]),
           ["billing/refund", "Billing: invoice?", "c/c++ & 50%"],
           ["C/C++ & 50%", "billing/refund", "billing: invoice?"]),
    Column("Cyrillic and Chinese", ("csv", [["плохо"], ["好评 😀"]]), ("jsonl", [["Плохо"], ["好评 😀"]]),
           ["ПЛОХО", "好评 😀"], ["плохо", "好评 😀"]),
    Column("__label__", ("csv", [["__label__neg"], ["__label__pos"]]), ("csv", [["neg"], ["pos"]]),
           ["__label__neg", "Pos"], ["neg", "pos"]),
]  # fmt: skip


def texts_of(class_index: int, count: int, seed: int) -> list[str]:
    random = np.random.default_rng([seed, class_index])
    words = TELL[class_index].split()
    return [
        " ".join(random.permutation([*random.choice(COMMON, random.integers(4, 12)), *random.choice(words, 3)]))
        + f" {number}"
        for number in range(count)
    ]


def rows_of(raw: Sequence[Sequence[Any]], count: int, seed: int) -> list[tuple[str, Any]]:
    """`count` texts of each class; the spellings of a class take turns."""
    return [
        (text, spellings[at % len(spellings)])
        for index, spellings in enumerate(raw)
        for at, text in enumerate(texts_of(index, count, seed))
    ]


def write_table(path: Path, rows: Sequence[tuple[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return path


def write_data(folder: Path, column: Column, train_count: int, test_count: int) -> Path:
    folder.mkdir()
    for part, (kind, raw), count, seed in (
        ("train", column.train, train_count, 1),
        ("test", column.test, test_count, 2),
    ):
        rows = rows_of(raw, count, seed)
        if column.name == "NaN":
            rows.append(("a text without a label", NAN))
        write_table(folder / f"{part}.{kind}", rows)
    return folder


@pytest.mark.parametrize("column", COLUMNS, ids=[column.name for column in COLUMNS])
def test_every_reader_of_labels_gives_the_same_classes(column, tmp_path):
    data = write_data(tmp_path / "data", column, 8, 4)
    dataset = load_dataset(data, options=DataOptions(skip_bad=column.name == "NaN"))
    assert sorted(dataset.class_names) == sorted(column.classes)
    assert np.bincount(dataset.test.labels).tolist() == [4] * len(column.classes)

    store = FeedbackStore(tmp_path / "new_data", 10**9)
    comparison = LabelComparison(dataset.class_names, {}, {})
    for spelling in column.new:
        name = stored_label(spelling, dataset.class_names)
        comparison.add(spelling, name)
        store.save(f"a film {spelling}", name, dataset.class_names, "m")
    results = comparison.results()
    assert (results.labelled, results.correct) == (len(column.new), len(column.new))

    latest = read_latest(tmp_path / "new_data")
    ids, changes = class_ids(latest.labels, dataset.class_names, {})
    assert (sorted(ids.tolist()), changes) == (list(range(len(column.classes))), ())
    table = write_table(tmp_path / "new.csv", [(f"a film {number}", label) for number, label in enumerate(column.new)])
    reviews = with_class_names(read_labelled_reviews(table), dataset.class_names, {}, {}).reviews
    assert sorted(review.label for review in reviews) == sorted(column.classes)


@pytest.mark.bench
@pytest.mark.parametrize("column", COLUMNS, ids=[column.name for column in COLUMNS])
def test_a_label_column_through_the_life_of_a_model(column, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
    monkeypatch.chdir(tmp_path)
    data, skip_bad = write_data(tmp_path / "data", column, 60, 15), column.name == "NaN"

    flags = ["--skip-bad"] if skip_bad else []
    report = CliRunner().invoke(
        initializing.main, ["report", str(data), "--encoder", str(tiny_checkpoint), "--json", *flags]
    )
    assert report.exit_code == 0, report.stderr
    described = json.loads(report.stdout)
    assert sorted(described["splits"][0]["classes"]) == sorted(column.classes)
    assert {change["name"] for change in described["normalised_labels"]} <= set(column.classes)

    training = tiny_training(tiny_checkpoint, data, tmp_path, epochs=2, skip_bad=skip_bad)
    training.save_model(tmp_path / "model")
    inference = Inference(tmp_path / "model")
    assert sorted(inference.predictor.class_names) == sorted(column.classes)

    fresh = rows_of([[spelling] for spelling in column.new], 20, 3)
    scored = inference.score_file(write_table(tmp_path / "new.csv", fresh), tmp_path / "scored.csv")
    assert (scored.labelled, scored.unknown_labels) == (len(fresh), 0)
    with (tmp_path / "scored.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert {f"p:{name}" for name in column.classes} <= set(header)

    client = create_app(settings(tmp_path), inference).test_client()
    enum = client.get("/openapi.json").json["components"]["schemas"]["Prediction"]["properties"]["label"]["enum"]
    assert sorted(enum) == sorted(column.classes)
    answers = [client.post("/feedback", json={"text": text, "label": label, "audit": True}) for text, label in fresh]
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json["label"] for answer in answers} == set(column.classes)
    reviews = settings(tmp_path).new_data_dir
    assert all(class_folder(reviews / "train", name).is_dir() for name in column.classes)
    assert client.post("/feedback", json={"text": "a film", "label": "no such class"}).status_code == 422

    latest = read_latest(reviews)
    checked = Monitoring(tmp_path / "model", options=DriftOptions(min_texts=20)).check(
        latest.texts, latest.labels, latest.audit, times=latest.times
    )
    labels = checked.figures.labels
    assert (labels.audit_texts, labels.audit_unknown) == (len(fresh), 0)

    retrain = Retrain(
        data, reviews, tmp_path / "combined", epochs=1, init_lr=None, model_dir=tmp_path / "model",
        data_dir=str(tmp_path / "datasets"), runs_dir=str(tmp_path / "runs"),
        margin=0.3, min_holdout=1, calibration_margin=0.3,
    )  # fmt: skip
    combined = retrain.combine_datasets()
    outcomes = combined.counts["outcomes"]
    assert "unknown_label" not in outcomes
    retrain.retrain_model()
    outcome = retrain.save_retrained_model()
    with capsys.disabled():
        accuracy = f"{scored.correct} of {scored.labelled}"
        changes = len(described["normalised_labels"])
        print(
            f"\n| {column.name} | {', '.join(column.classes)} | {changes} | {accuracy} | {len(answers)} "
            f"| {checked.verdict} | {outcomes.get('added', 0)} + {outcomes.get('held', 0)} "
            f"| {type(outcome).__name__} |"
        )
