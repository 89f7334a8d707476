"""The benchmark of biases: slices by hand, and a run on a tiny version."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

from bench.biases import GROUPS, by_slice, group_table, length_titles, main, slice_table, stars_of


def test_slices():
    found = by_slice(np.array([10, 1, 10, 10]), np.array([1, 0, 1, 1]), np.array([1, 1, 0, 1]))
    assert list(found) == [1, 10]
    assert found[1] == {"texts": 1, "accuracy": 0.0, "second": 1.0}
    assert found[10] == {"texts": 3, "accuracy": pytest.approx(2 / 3), "second": pytest.approx(2 / 3)}
    cells = [cell.strip() for cell in slice_table({"10 stars": found[10]}).splitlines()[-1].strip("|").split("|")]
    assert cells == ["10 stars", "3", "66.67%", "66.7%"]


def test_stars_are_in_the_names_of_imdb_alone():
    assert stars_of(["0_10.txt", "12499_1.txt"]) == [10, 1]
    assert stars_of(["0_10.txt", "review.txt"]) is None


def test_every_length_has_a_title():
    titles = length_titles()
    assert titles[0] == "1 to 64 wordpieces"
    assert titles[-1] == "from 513 on"
    assert len(titles) == 5


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


def test_a_version_is_measured(reviews, tmp_path):
    version = write_version(tmp_path / "model", reference_texts=[])
    path = tmp_path / "biases.json"
    done = CliRunner().invoke(main, ["--model-path", tmp_path / "model", "--dataset-path", reviews, "--json", path])
    assert done.exit_code == 0, done.output
    found = json.loads(path.read_bytes())
    assert found["version"] == version.name
    assert set(found["slices"]) >= {"2 stars", "9 stars", "all"}
    assert found["slices"]["all"]["texts"] == 40
    assert found["slices"]["9 stars"]["accuracy"] == found["slices"]["9 stars"]["second"]
    for kind, groups in GROUPS.items():
        distances = found["groups"][kind]["distances"]
        assert list(distances) == list(groups)
        assert sum(distances.values()) == pytest.approx(0, abs=1e-6)


def test_what_it_can_not_measure_is_said(reviews, tmp_path):
    (tmp_path / "reviews" / "test" / "neg").rename(tmp_path / "reviews" / "test" / "bad")
    done = CliRunner().invoke(main, ["--model-path", "nowhere", "--dataset-path", reviews])
    assert done.exit_code == 1
    assert "expected a data set with test/neg/ and test/pos/, one file a review" in done.stderr
