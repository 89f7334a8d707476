"""The command `explain` on a tiny engine."""

import json

import pytest
from click.testing import CliRunner
from tiny_engine import write_version

import inference

ROWS = 'text,label\n"the film was dull, boring",neg\ngood,pos\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "model"
    write_version(path, cascade=True)
    return path


@pytest.fixture
def run(store, tmp_path):
    """Run `explain` on texts.csv in the current folder, which is empty otherwise."""
    runner = CliRunner()

    def run(*arguments, rows=ROWS):
        (tmp_path / "texts.csv").write_text(rows, encoding="utf-8")
        words = [
            str(tmp_path / word) if str(word).endswith((".csv", ".jsonl", ".html")) else word for word in arguments
        ]
        return runner.invoke(inference.main, ["--model-path", str(store), "explain", *words])

    return run


def test_a_text_is_shown_without_colours_if_there_is_no_terminal(run):
    result = run("--text", "the film was dull")
    assert result.exit_code == 0
    assert "the film was dull\n" in result.output
    assert "\x1b" not in result.output


def test_a_table_becomes_jsonl_a_page_and_a_summary(run, tmp_path):
    result = run("--input", "texts.csv", "--output", "out.jsonl", "--html", "out.html", "--summary")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["row"], line["text"]) for line in lines] == [(1, "the film was dull, boring"), (2, "good")]
    for line in lines:
        sums = {name: line["base_values"][name] + sum(values) for name, values in line["values"].items()}
        assert sums == pytest.approx(line["probabilities"])
    assert (tmp_path / "out.html").read_text(encoding="utf-8").count("<section") == 2
    assert "texts: 2;" in result.output
    assert "for pos: " in result.output


def test_only_the_first_rows(run, tmp_path):
    assert run("--input", "texts.csv", "--output", "out.jsonl", "--limit", "1").exit_code == 0
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_rows_without_a_text(run, tmp_path):
    rows = '[{"text": "good"}, {"text": 7}, {"text": "dull"}]'
    (tmp_path / "texts.json").write_text(rows, encoding="utf-8")
    source = str(tmp_path / "texts.json")
    result = run("--input", source, "--output", "out.jsonl")
    assert result.exit_code == 1
    assert "row 2" in result.output
    assert not (tmp_path / "out.jsonl").exists()
    result = run("--input", source, "--output", "out.jsonl", "--skip-bad")
    assert result.exit_code == 0
    assert "rows skipped: 1, the first is row 2" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --text or --input"),
        (["--text", "a", "--input", "texts.csv"], "expected either --text or --input"),
        (["--input", "texts.csv"], "--input needs --output, --html or --summary"),
        (["--input", "texts.csv", "--output", "texts.csv"], "the output would replace the input"),
        (["--text", "a", "--class", "great"], "classes: expected some of neg, pos, got 'great'; correct the name"),
        (["--text", "a", "--class", "pos", "--class", "pos"], "expected each class once, got 'pos' twice"),
    ],
)
def test_wrong_arguments(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.output
