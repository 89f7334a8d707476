"""The benchmark of biases: slices by hand, and a run on a tiny version."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

from bench.accuracy.biases import GROUPS, SENTENCES, by_length, by_slice, group_table, main, slice_table, stars_of
from textclf.runtime.loading import load_predictor


def test_by_slice_returns_texts_accuracy_and_second_class():
    found = by_slice(np.array([10, 1, 10, 10]), np.array([1, 0, 1, 1]), np.array([1, 1, 0, 1]))
    assert list(found) == [1, 10]
    assert found[1] == {"texts": 1, "accuracy": 0.0, "second": 1.0}
    assert found[10] == {"texts": 3, "accuracy": pytest.approx(2 / 3), "second": pytest.approx(2 / 3)}
    cells = [cell.strip() for cell in slice_table({"10 stars": found[10]}).splitlines()[-1].strip("|").split("|")]
    assert cells == ["10 stars", "3", "66.67%", "66.7%"]


def test_stars_are_in_the_names_of_imdb_alone():
    assert stars_of(["0_10.txt", "12499_1.txt"]) == [10, 1]
    assert stars_of(["0_10.txt", "review.txt"]) is None


def test_lengths_are_sliced_up_to_and_including_the_maximum():
    labels = np.zeros(6, np.int64)
    found = by_length(np.array([2, 64, 65, 512, 513, 3000]), labels, labels)
    assert {title: row["texts"] for title, row in found.items()} == {
        "1 to 64 wordpieces": 2, "65 to 128 wordpieces": 1, "257 to 512 wordpieces": 1, "from 513 on": 2,
    }  # fmt: skip


def test_groups_come_from_the_lowest_score_to_the_highest():
    figures = {"religion": {"mean": 0.5, "distances": {"Jewish": 0.02, "Hindu": -0.02}}}
    assert "Hindu -0.02, Jewish +0.02" in group_table(figures)


@pytest.fixture
def reviews(tmp_path):
    for part, count in (("train", 20), ("test", 40)):
        for at, (text, label) in enumerate(tiny_reviews(count)):
            folder = tmp_path / "reviews" / part / ("neg", "pos")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{at}_{(2, 9)[label]}.txt").write_text(text, encoding="utf-8")
    return tmp_path / "reviews"


@pytest.mark.parametrize("cascade", [False, pytest.param(True, marks=pytest.mark.bench)])
def test_command_measures_slices_and_groups(reviews, tmp_path, cascade):
    version = write_version(tmp_path / "model", reference_texts=[], cascade=cascade)
    path = tmp_path / "biases.json"
    done = CliRunner().invoke(main, ["--model-path", tmp_path / "model", "--dataset-path", reviews, "--json", path])
    assert done.exit_code == 0, done.output
    found = json.loads(path.read_bytes())
    assert found["version"] == version.name
    slices = found["slices"]
    assert slices["all"]["texts"] == 40
    assert sum(row["texts"] for title, row in slices.items() if "star" in title) == 40
    assert sum(row["texts"] for title, row in slices.items() if "wordpieces" in title) == 40
    assert slices["9 stars"]["accuracy"] == slices["9 stars"]["second"]
    assert slices["2 stars"]["accuracy"] == pytest.approx(1 - slices["2 stars"]["second"])
    predictor = load_predictor(version)
    for kind, groups in GROUPS.items():
        for group in groups:
            answer = predictor.predict_batch([sentence.format(group) for sentence in SENTENCES])
            mean = np.mean([prediction.score for prediction in answer.predictions])
            got = found["groups"][kind]["mean"] + found["groups"][kind]["distances"][group]
            assert got == pytest.approx(mean, abs=1e-5)


@pytest.mark.bench
def test_command_with_unsuitable_version_or_set_fails(reviews, tmp_path):
    write_version(tmp_path / "model", class_names=("bad", "good"), reference_texts=[])
    arguments = ["--model-path", tmp_path / "model", "--dataset-path", reviews]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "expected a version with the classes ('neg', 'pos'), got ('bad', 'good')" in done.stderr
    (reviews / "test" / "neg").rename(reviews / "test" / "bad")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "expected the classes neg, pos, got bad, pos" in done.stderr
    shutil.rmtree(reviews / "test")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "expected a data set with a test part" in done.stderr
