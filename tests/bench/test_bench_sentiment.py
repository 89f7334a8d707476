"""The benchmark of the shipped model's data: the mixture, and a report on a tiny version."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

from bench.accuracy.sentiment import EVERYDAY, SOURCES, WEIGHTS, everyday_sentences, main


@pytest.fixture
def data_dir(tmp_path):
    """The three sets in their own forms: class folders, and tables with the labels 0 and 1."""
    for part, count in (("train", 12), ("test", 8)):
        reviews = tiny_reviews(count)
        for at, (text, label) in enumerate(reviews):
            folder = tmp_path / "data" / "aclImdb" / part / ("neg", "pos")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{at}.txt").write_text(text, encoding="utf-8")
        for name in ("sst2_sentences", "amazon_multidomain"):
            path = tmp_path / "data" / name / f"{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *reviews])
    return tmp_path / "data"


def test_mixture_contains_each_set_with_its_name(data_dir, tmp_path):
    arguments = ["data", "--data-dir", data_dir, "--output", tmp_path / "mixture"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    for part, count in (("train", 12), ("test", 8)):
        with (tmp_path / "mixture" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["source"] for row in rows] == [name for name in SOURCES for _ in range(count)]
        assert {row["label"] for row in rows} == {"neg", "pos"}
        assert all(row["weight"] == str(WEIGHTS[row["source"]]) for row in rows)


def test_teacher_table_has_probabilities_for_the_reviews_of_films(data_dir, tmp_path):
    write_version(tmp_path / "model", reference_texts=[])
    mixture, table = tmp_path / "mixture", tmp_path / "teacher.csv"
    CliRunner().invoke(main, ["data", "--data-dir", data_dir, "--output", mixture], catch_exceptions=False)
    arguments = ["teach", "--model-path", tmp_path / "model", "--mixture", mixture, "--output", table]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert all(float(row["p:neg"]) + float(row["p:pos"]) == pytest.approx(1, abs=1e-6) for row in rows)


def test_missing_set_is_named(tmp_path):
    done = CliRunner().invoke(main, ["data", "--data-dir", tmp_path, "--output", tmp_path / "mixture"])
    assert done.exit_code == 1
    assert "expected aclImdb or aclImdb_v1.tar.gz, found nothing" in done.output


def test_report_measures_each_set_and_the_everyday_sentences(data_dir, tmp_path):
    write_version(tmp_path / "model", reference_texts=[])
    path = tmp_path / "found.json"
    arguments = ["report", "--model-path", tmp_path / "model", "--data-dir", data_dir, "--json", path]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    results = json.loads(path.read_bytes())["results"]
    assert list(results) == [*SOURCES, EVERYDAY]
    assert results["imdb"]["served"]["texts"] == 8
    row = results[EVERYDAY]["served"]
    assert row["right"] + len(row["wrong"]) == row["texts"] == 40
    assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert f"{row['right']} of 40" in done.output


def test_everyday_sentences_have_both_classes():
    texts, labels = everyday_sentences()
    assert len(set(texts)) == 40
    assert np.bincount(labels).tolist() == [21, 19]
