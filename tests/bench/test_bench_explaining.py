"""The comparison of explanations on a tiny engine, without shap."""

import csv
import json

import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

from bench.explaining.compare import METHODS, main
from bench.explaining.problem import read_problem
from bench.explaining.speed import main as measure_speed
from bench.explaining.speed import report
from inference import Inference


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "model"
    write_version(path)
    return path


def test_a_text_is_cut_to_words_that_fit(store):
    predictor = Inference(store).predictor
    problem = read_problem("the film was good " * 20, predictor, 12)
    assert problem is not None
    assert len(problem) == 10
    assert problem.text == "the film was good the film was good the film"
    assert "".join(problem.word_texts) == problem.text
    assert read_problem("good", predictor, 12) is None


def test_a_repeated_run_skips_what_is_there(store, tmp_path):
    with open(tmp_path / "texts.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text, _ in tiny_reviews(5))])
    results = tmp_path / "results.jsonl"
    methods = [name for name in METHODS if not name.startswith("shap")]
    command = ["--input", str(tmp_path / "texts.csv"), "--results", str(results), "--model-path", str(store)]
    command += ["--methods", ",".join(methods), "--texts", "3", "--evaluations", "20", "--ranked", "1", "--times", "2"]
    for _ in range(2):
        found = CliRunner().invoke(main, command, catch_exceptions=False)
        assert found.exit_code == 0
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 3 * len(methods) + 1
    assert all(line["evaluations"] <= 20 for line in lines if line["method"].startswith("owen"))
    assert "| leave-one-out | 3 |" in found.output
    assert "rank correlation with 2 times the evaluations, deletion: median" in found.output


def test_shap_needs_its_interpreter(store, tmp_path):
    (tmp_path / "texts.csv").write_text("text\nthe film was good\n", encoding="utf-8")
    command = ["--input", str(tmp_path / "texts.csv"), "--results", str(tmp_path / "results.jsonl")]
    found = CliRunner().invoke(main, [*command, "--model-path", str(store), "--methods", "shap-mask"])
    assert found.exit_code == 1
    assert "expected --shap-python, got none" in found.output


def test_the_time_of_explanations_is_measured(store, tmp_path):
    with open(tmp_path / "texts.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text, _ in tiny_reviews(6))])
    command = [
        "--input",
        str(tmp_path / "texts.csv"),
        "--model-path",
        str(store),
        "--texts",
        "5",
        "--evaluations",
        "20",
    ]
    found = CliRunner().invoke(
        measure_speed, [*command, "--json", str(tmp_path / "speed.json")], catch_exceptions=False
    )
    assert found.exit_code == 0
    lines = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["lines"]
    assert len(lines["project"]) == 5, "the first explanations are not counted"
    assert all(0 < line["evaluations"] <= 20 and line["seconds"] > 0 for line in lines["project"])
    assert all(line["stage"] == "linear" and line["evaluations"] == 0 for line in lines["linear stage"])
    assert lines["pipeline"] == []


def test_the_ratio_is_taken_text_by_text():
    lines = {
        "project": [{"seconds": 0.1, "evaluations": 4}, {"seconds": 0.2, "evaluations": 6}],
        "linear stage": [],
        "pipeline": [{"seconds": 1.0, "evaluations": 9}, {"seconds": 4.0, "evaluations": 9}],
    }
    assert "pipeline / project, by text: median 15.0, lowest 10.0" in report(lines)


def test_the_pipeline_needs_its_interpreter(store, tmp_path):
    (tmp_path / "texts.csv").write_text("text\nthe film was good\n", encoding="utf-8")
    command = ["--input", str(tmp_path / "texts.csv"), "--model-path", str(store), "--hugging-face", str(tmp_path)]
    found = CliRunner().invoke(measure_speed, command)
    assert found.exit_code == 1
    assert "expected --hugging-face and --shap-python together, got one of them" in found.output
