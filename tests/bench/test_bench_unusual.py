"""The benchmark of unusual texts: kinds and sets of a tiny version, and statistics that it fits."""

import csv
import json

import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

from bench.accuracy.sentiment import EVERYDAY, SOURCES
from bench.accuracy.unusual import LANGUAGES, main, unusual_texts


@pytest.fixture
def data_dir(tmp_path):
    for name in ("aclImdb", "sst2_sentences", "amazon_multidomain"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for part, count in (("train", 60), ("test", 30)):
            with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *tiny_reviews(count, seed=len(name))])
    return tmp_path / "data"


def test_every_kind_has_texts():
    kinds = unusual_texts()
    assert {name: len(texts) for name, texts in kinds.items()} == {
        "numbers": 12, "no words": 10, "nonsense": 18, "code": 3, LANGUAGES: 49,
    }  # fmt: skip


def test_marks_of_a_version_and_of_fitted_statistics(data_dir, tmp_path):
    write_version(tmp_path / "model", reference_texts=[], unusual=True)
    run = ["--model-path", tmp_path / "model", "--data-dir", data_dir, "--json", tmp_path / "found.json"]
    for more, titles in (([], 1), (["--fit", "20", "--fit", "0"], 2)):
        done = CliRunner().invoke(main, [*map(str, run), *more])
        assert done.exit_code == 0, done.output
        results = json.loads((tmp_path / "found.json").read_bytes())["results"]
        assert len(results) == titles
        for by_set in results.values():
            assert list(by_set) == [*unusual_texts(), *SOURCES, EVERYDAY]
            assert by_set["no words"]["flagged"] == 10
    # The last one is fitted to all 180 texts, the first one to too few.
    few, everything = results.values()
    assert "180 training texts" in done.output
    assert few[LANGUAGES]["flagged"] == 0
    assert everything[LANGUAGES]["flagged"] > 40
    assert everything["imdb"]["flagged"] < 6


def test_a_version_without_statistics_needs_texts_to_fit_to(data_dir, tmp_path):
    write_version(tmp_path / "model", reference_texts=[])
    done = CliRunner().invoke(main, ["--model-path", str(tmp_path / "model"), "--data-dir", str(data_dir)])
    assert done.exit_code == 1
    assert "expected statistics of usual texts, found none" in done.output
