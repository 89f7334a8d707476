"""Scored rows: fields, formats, bad rows, and memory that does not grow with the file."""

import csv
import dataclasses
import datetime
import functools
import gzip
import io
import json
import re
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from word_backend import WordBackend

from textclf.bad_rows import BadRowError, Reason
from textclf.errors import InputError
from textclf.runtime.apart import CHUNK_TEXTS
from textclf.runtime.file_scoring import check_ending, row_writer, score_rows
from textclf.runtime.predictor import Predictor
from textclf.runtime.scoring_report import MAX_SKIPPED_LISTED

CLASSES = ("neg", "pos")
UNREADABLE = BadRowError("in.jsonl", "row 4", Reason.INVALID_JSON, "unreadable")


def predictor(max_length=4):
    return Predictor(WordBackend(CLASSES), CLASSES, max_wordpieces=max_length)


def score(path, rows, columns=None, **arguments):
    """Score dicts, numbered from 1, into `path`."""
    columns = list(rows[0]) if columns is None else columns
    with row_writer(path, CLASSES, columns) as write:
        return score_rows(reader_of(rows), predictor(), write, **arguments)


def reader_of(rows):
    """Rows numbered from 1; an exception among them is one that can't be read."""

    def read(on_bad):
        for number, row in enumerate(rows, 1):
            if isinstance(row, Exception):
                on_bad(number, row)
            else:
                yield number, row

    return read


def read_csv(path):
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


def read_jsonl(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_texts_that_spreadsheets_would_run(tmp_path, start):
    formula = f'{start}HYPERLINK("http://x","pos")'
    rows = [{"text": formula, f"{start}id": "-5", "label": start, "count": -5, "note": f"a{formula}", "none": None}]
    with row_writer(tmp_path / "out.csv", CLASSES, list(rows[0]), for_spreadsheets=True) as write:
        score_rows(reader_of(rows), predictor(), write)
    header, cells = read_csv(tmp_path / "out.csv")
    assert header[:6] == ["text", f"'{start}id", "input_label", "count", "note", "none"]
    assert cells[:6] == [f"'{formula}", "'-5", f"'{start}", "-5", f"a{formula}", ""]
    score(tmp_path / "plain.csv", rows)
    assert read_csv(tmp_path / "plain.csv")[1][0] == formula


def test_labels_that_spreadsheets_would_run(tmp_path):
    classes = ("=neg", "@pos")
    with row_writer(tmp_path / "out.csv", classes, ["text"], for_spreadsheets=True) as write:
        score_rows(reader_of([{"text": "pos"}]), Predictor(WordBackend(classes), classes, max_wordpieces=4), write)
    header, cells = read_csv(tmp_path / "out.csv")
    assert header == ["text", "label", "score", "p:=neg", "p:@pos", "truncated"]
    assert cells[1] in ("'=neg", "'@pos")


def test_only_csv_is_for_spreadsheets(tmp_path):
    with (
        pytest.raises(InputError, match="expected an output for spreadsheets"),
        row_writer(tmp_path / "out.jsonl", CLASSES, ["text"], for_spreadsheets=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_jsonl_keeps_the_fields_and_adds_the_results(tmp_path):
    rows = [{"id": 7, "text": "pos é日本,", "tags": ["a"], "ok": None}, {"text": "a neg b c", "other": 1.5}]
    score(tmp_path / "out.jsonl", rows)
    first, second = read_jsonl(tmp_path / "out.jsonl")
    assert list(first) == ["id", "text", "tags", "ok", "label", "score", "probabilities", "truncated"]
    assert {key: first[key] for key in rows[0]} == rows[0]
    assert (first["label"], first["truncated"]) == ("pos", False)
    assert first["score"] == first["probabilities"]["pos"] == 1 / (1 + np.exp(-1))
    assert list(first["probabilities"]) == ["neg", "pos"]
    assert (second["label"], second["truncated"], second["other"]) == ("neg", True, 1.5)
    assert "日本" in (tmp_path / "out.jsonl").read_text("utf-8")


def test_csv_has_a_column_for_each_probability_and_floats_that_read_back(tmp_path):
    score(tmp_path / "out.csv", [{"id": "007", "text": "pos pos pos"}, {"id": "8", "text": "x"}])
    header, first, second = read_csv(tmp_path / "out.csv")
    assert header == ["id", "text", "label", "score", "p:neg", "p:pos", "truncated"]
    assert first[:3] == ["007", "pos pos pos", "pos"]
    (expected,) = predictor().predict(["pos pos pos"])
    assert float(first[3]) == float(first[5]) == expected.score
    assert float(first[4]) == expected.probabilities["neg"]
    assert (first[6], second[6]) == ("true", "false")


def test_csv_reads_back_whatever_the_cells_hold(tmp_path):
    cells = ['a "quoted" one', "a,b", "two\nlines", "carriage\rreturn", "both\r\n", "", " blanks ", "é😀", "\t"]
    score(tmp_path / "out.csv", [{"text": cell, "copy": cell} for cell in cells])
    rows = read_csv(tmp_path / "out.csv")[1:]
    assert [row[0] for row in rows] == [row[1] for row in rows] == cells
    content = (tmp_path / "out.csv").read_bytes()
    assert content.startswith(b"text,copy,label,score,p:neg,p:pos,truncated\n")
    assert content.count(b"\r\n") == 2  # The two cells that hold one, and no line end.


def test_csv_says_other_json_values_as_json(tmp_path):
    row = {"text": "x", "flag": True, "none": None, "number": 1e-7, "list": [1, "ä"], "object": {"a": None}}
    score(tmp_path / "out.csv", [row])
    assert read_csv(tmp_path / "out.csv")[1][1:6] == ["true", "", "1e-07", '[1, "ä"]', '{"a": null}']


def test_truncated_is_empty_or_null_where_it_is_not_known(tmp_path):
    for name in ("out.csv", "out.jsonl"):
        with row_writer(tmp_path / name, CLASSES, ["text"]) as write:
            score_rows(reader_of([{"text": "x"}]), predictor(max_length=None), write)
    assert read_csv(tmp_path / "out.csv")[1][-1] == ""
    assert read_jsonl(tmp_path / "out.jsonl")[0]["truncated"] is None


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_gz_holds_the_same_bytes_and_the_same_twice(tmp_path, ending):
    rows = [{"text": "pos"}, {"text": "neg"}]
    for name in (f"out.{ending}", f"a.{ending}.gz", f"b.{ending}.gz"):
        score(tmp_path / name, rows)
    plain = (tmp_path / f"out.{ending}").read_bytes()
    packed = (tmp_path / f"a.{ending}.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert packed == (tmp_path / f"b.{ending}.gz").read_bytes()


def test_the_inputs_label_is_kept_in_place_and_gives_the_accuracy(tmp_path):
    rows = [
        {"label": label, "text": text}
        for label, text in [
            ("pos", "pos"),
            ("neg", "pos"),
            (1, "pos"),
            ("", "x"),
            (None, "x"),
            ("other", "x"),
            ("(other)", "x"),
        ]
    ]
    report = score(tmp_path / "out.jsonl", rows)
    # Next to names of classes, 1 is no position.
    assert (report.labelled, report.correct, report.unknown_labels) == (3, 1, 2)
    assert list(report.warnings()) == [
        "2 rows have a label that is not a class of the model; if each means one, give its class: "
        "--rename-label 1=CLASS --rename-label other=CLASS"
    ]
    assert report.accuracy == pytest.approx(1 / 3)
    first = read_jsonl(tmp_path / "out.jsonl")[1]
    assert list(first)[:3] == ["input_label", "text", "label"]
    assert (first["input_label"], first["label"]) == ("neg", "pos")
    score(tmp_path / "out.csv", rows)
    assert read_csv(tmp_path / "out.csv")[0][:3] == ["input_label", "text", "label"]


def test_a_column_of_one_star_is_no_column_of_positions(tmp_path):
    rows = [{"text": "neg", "label": 1}] * 3
    report = score(tmp_path / "out.jsonl", rows)
    assert (report.accuracy, report.unknown_labels) == (None, 3)
    assert "--rename-label 1=" in next(report.warnings())
    report = score(tmp_path / "out.jsonl", rows, rename_labels={"1": "neg", "2": "neg"})
    assert report.accuracy == 1
    assert list(report.warnings()) == ['Not renamed, because no label has the name: "2".']


def test_no_labels_no_accuracy(tmp_path):
    assert score(tmp_path / "out.csv", [{"text": "pos"}]).accuracy is None


def test_rows_stay_in_order_over_many_chunks(tmp_path):
    rows = [{"text": "word " * (index * 37 % 50), "id": index} for index in range(2 * CHUNK_TEXTS + 5)]
    report = score(tmp_path / "out.jsonl", rows)
    assert report.scored == report.rows == len(rows)
    assert [row["id"] for row in read_jsonl(tmp_path / "out.jsonl")] == list(range(len(rows)))


BAD_ROWS = [
    ({"other": "x"}, "expected a column 'text', found 'other'"),
    ({"text": 3}, "column 'text': expected a str, got int"),
    ({"text": "\ud800"}, "lone surrogate"),
    ({"text": "x", "more": "\ud800"}, "well-formed Unicode in every field"),
    ({"text": "x", "more": float("nan")}, "NaN"),
    ({"text": "x", "score": 1}, "already has a field score"),
    (BadRowError("in.jsonl", "row 2", Reason.INVALID_JSON, "expected JSON"), "expected JSON"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_ROWS)
def test_a_bad_row_stops_with_its_number_and_leaves_no_file(tmp_path, bad, message):
    rows = [{"text": "pos", "more": 1}, bad, {"text": "neg", "more": 2}]
    with pytest.raises(InputError, match=rf"row 2: .*{message}.*--skip-bad"):
        score(tmp_path / "out.jsonl", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("bad", "message"), BAD_ROWS)
@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_skip_bad_leaves_it_out_and_lists_it(tmp_path, name, bad, message):
    if name == "out.csv" and message == "NaN":
        bad = {"text": "x", "more": [float("nan")]}
    rows = [{"text": "pos", "more": 1}, bad, {"text": "neg", "more": 2}]
    report = score(tmp_path / name, rows, skip_bad=True)
    assert (report.rows, report.scored, report.skipped) == (3, 2, 1)
    ((number, reason),) = report.skipped_rows
    assert number == 2
    assert message in reason
    written = read_csv(tmp_path / name)[1:] if name == "out.csv" else read_jsonl(tmp_path / name)
    assert len(written) == 2


def test_an_error_lists_the_first_five_rows_and_counts_all(tmp_path):
    unreadable = BadRowError("in.jsonl", "row 2", Reason.INVALID_JSON, "unreadable")
    rows = [{"text": "x"}, unreadable, *[{"text": 3}] * 3, {"other": 1}, {"text": 5}, {"text": "x"}, {"text": 7}]
    with pytest.raises(InputError, match="found 7 bad rows: ") as refused:
        score(tmp_path / "out.csv", rows, columns=["text"], source="in.jsonl")
    message = str(refused.value)
    assert "a text that is not a string (5), invalid JSON (1), no such column (1); the first 5 are " in message
    assert re.findall(r"row (\d)", message) == ["2", "3", "4", "5", "6"]
    assert message.endswith("--skip-bad")
    report = score(tmp_path / "out.csv", rows, columns=["text"], skip_bad=True)
    assert next(report.warnings()).startswith("skipped 7 of 9 rows: a text that is not a string (5), ")


@pytest.mark.parametrize("blank", [None, "", " \u00a0", "\u0301"])
def test_blank_texts_are_scored_marked_and_counted(tmp_path, blank):
    rows = [{"text": "pos", "label": "pos"}, *[{"text": blank, "id": 2, "label": "neg"}] * 6]
    for name in ("out.csv", "out.jsonl"):
        report = score(tmp_path / name, rows, columns=["text", "id", "label"])
        assert (report.scored, report.empty, report.empty_rows) == (7, 6, [2, 3, 4, 5, 6])
        assert (report.labelled, report.accuracy) == (1, 1), "a prediction for a blank text is neither right nor wrong"
        assert "blank texts: 6 (rows 2, 3, 4, 5, 6, …)" in next(report.warnings())
    marked = read_jsonl(tmp_path / "out.jsonl")
    assert [row.get("empty") for row in marked] == [None, *[True] * 6]
    assert marked[1]["text"] == blank


def marked(predict, texts):
    """Predictions in which the texts `odd` are unusual."""
    return [
        dataclasses.replace(found, unusual_reason="unknown_words" if found.text == "odd" else None)
        for found in predict(texts)
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_unusual_texts_are_marked_and_counted(tmp_path, name):
    rows = [{"text": "pos"}, *[{"text": "odd"}] * 6]
    marking = predictor()
    marking.predict = functools.partial(marked, marking.predict)
    with row_writer(tmp_path / name, CLASSES, ["text"], marks_unusual=True) as write:
        report = score_rows(reader_of(rows), marking, write)
    assert list(report.warnings()) == [
        "unusual texts: 6 (rows 2, 3, 4, 5, 6, …): the words are not those of the training texts (6)"
    ]
    if name == "out.csv":
        header, *cells = read_csv(tmp_path / name)
        assert header[-2:] == ["truncated", "unusual"]
        assert [row[-1] for row in cells] == ["", *["unknown_words"] * 6]
    else:
        found = [(row.get("unusual"), row.get("unusual_reason")) for row in read_jsonl(tmp_path / name)]
        assert found == [(None, None), *[(True, "unknown_words")] * 6]


@pytest.mark.parametrize(("name", "field"), [("out.csv", "unusual"), ("out.jsonl", "unusual_reason")])
def test_an_input_with_the_name_of_the_mark_is_refused_only_if_texts_are_marked(tmp_path, name, field):
    writer = row_writer(tmp_path / name, CLASSES, ["text", field], marks_unusual=True)
    with pytest.raises(InputError, match=f"already has a field {field}"), writer:
        pass
    score(tmp_path / name, [{"text": "pos", field: "mine"}])
    assert b"mine" in (tmp_path / name).read_bytes()


def test_a_field_named_empty_is_free_in_csv(tmp_path):
    score(tmp_path / "out.csv", [{"text": "pos", "empty": "mine"}, {"text": "", "empty": "mine"}])
    assert [row[1] for row in read_csv(tmp_path / "out.csv")] == ["empty", "mine", "mine"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC), "2024-05-01T12:00:00+00:00"),
        (datetime.time(12, 30), "12:30:00"),
        (datetime.timedelta(hours=1), "1:00:00"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\xff\x00", "/wA="),
    ],
)
def test_values_of_types_that_json_lacks(tmp_path, value, text):
    rows = [{"text": "pos", "value": value, "list": [value]}]
    score(tmp_path / "out.jsonl", rows)
    score(tmp_path / "out.csv", rows)
    (row,) = read_jsonl(tmp_path / "out.jsonl")
    assert (row["value"], row["list"]) == (text, [text])
    assert read_csv(tmp_path / "out.csv")[1][1:3] == [text, json.dumps([text])]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_value_of_any_other_type_is_a_bad_row(tmp_path, name):
    rows = [{"text": "pos", "value": object()}, {"text": "pos", "value": 1}]
    with pytest.raises(InputError, match="row 1: expected a text, a number, a date"):
        score(tmp_path / name, rows)
    assert score(tmp_path / name, rows, skip_bad=True).scored == 1


def test_skipped_rows_are_listed_by_number(tmp_path):
    rows = [{"text": "x"}, {"text": "x", "late": "\ud800"}, {"text": 3}, UNREADABLE]
    report = score(tmp_path / "out.jsonl", rows, skip_bad=True)
    assert [number for number, _ in report.skipped_rows] == [2, 3, 4]


def test_more_skipped_rows_than_are_listed_are_counted(tmp_path):
    rows = [{"text": "x"}] + [{"text": 3}] * (MAX_SKIPPED_LISTED + 5)
    report = score(tmp_path / "out.jsonl", rows, skip_bad=True)
    assert (report.skipped, len(report.skipped_rows)) == (MAX_SKIPPED_LISTED + 5, MAX_SKIPPED_LISTED)


def test_skipping_every_row_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"none of the 2 rows can be scored; row 1: .*found 'body', 'id'"):
        score(tmp_path / "out.csv", [{"body": "x", "id": 1}] * 2, skip_bad=True)
    assert list(tmp_path.iterdir()) == []


def test_csv_out_refuses_a_field_the_first_row_lacks(tmp_path):
    rows = [{"text": "pos", "a": 1}, {"text": "pos"}, {"text": "pos", "b": 2}]
    with pytest.raises(InputError, match=r"row 3: the field b is not a column.*text, a.*JSONL"):
        score(tmp_path / "out.csv", rows)
    score(tmp_path / "out.csv", rows, skip_bad=True)
    assert [row[1] for row in read_csv(tmp_path / "out.csv")] == ["a", "1", ""]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("out.jsonl", "empty"),
        *((name, column) for name in ("out.csv", "out.jsonl")
          for column in ("score", "probabilities", "truncated", "input_label", "p:neg")),
    ],
)  # fmt: skip
def test_names_of_the_results_are_refused_before_a_row_is_read(tmp_path, name, column):
    def read(on_bad):
        raise AssertionError("read")

    with (
        pytest.raises(InputError, match=f"already has a field {column}"),
        row_writer(tmp_path / name, CLASSES, ["text", column]) as write,
    ):
        score_rows(read, predictor(), write)
    assert list(tmp_path.iterdir()) == []


def test_another_text_column(tmp_path):
    score(tmp_path / "out.jsonl", [{"body": "pos", "text": 3}], text_column="body")
    assert read_jsonl(tmp_path / "out.jsonl")[0]["label"] == "pos"


def test_a_text_column_named_label_is_no_label(tmp_path):
    report = score(tmp_path / "out.jsonl", [{"label": "pos"}], text_column="label")
    assert (report.accuracy, report.unknown_labels) == (None, 0)


def test_no_rows_give_a_header_only(tmp_path):
    assert score(tmp_path / "out.csv", [], columns=["id", "text"]).rows == 0
    assert (tmp_path / "out.csv").read_text() == "id,text,label,score,p:neg,p:pos,truncated\n"


def test_an_old_result_stays_when_scoring_fails(tmp_path):
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError):
        score(tmp_path / "out.csv", [{"text": "x"}, {"text": 3}])
    assert (tmp_path / "out.csv").read_text() == "old"


@pytest.mark.parametrize("name", ["out.txt", "out", "out.parquet", "out.csv.zip", "out.gz"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"\.csv, \.csv\.gz, \.jsonl, \.jsonl\.gz"):
        check_ending(tmp_path / name)


def test_rows_are_read_no_further_ahead_than_a_chunk(tmp_path):
    read, seen = 0, []

    def rows(on_bad):
        nonlocal read
        for read in range(1, 5 * CHUNK_TEXTS):
            yield read, {"text": "pos"}

    def write(fields, prediction):
        seen.append(read)

    score_rows(rows, predictor(), write)
    assert all(ahead - written <= CHUNK_TEXTS for written, ahead in enumerate(seen))


def test_memory_does_not_grow_with_the_rows(tmp_path):
    script = """
import resource, sys
import numpy as np
from pathlib import Path
from textclf.runtime.file_scoring import row_writer, score_rows
from textclf.runtime.backend import EncodedBatch, ModelOutputs
from textclf.runtime.predictor import Predictor

class Backend:
    def encode(self, texts, max_chars): return EncodedBatch(texts, np.full(len(texts), 9), np.full(len(texts), 9))
    def run(self, inputs, timings): return ModelOutputs(np.zeros((len(inputs), 2), np.float32))

def megabytes(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def run(count):
    with row_writer(Path(sys.argv[1]) / "out.csv", ("neg", "pos"), ["text", "id"]) as write:
        def read(on_bad):
            return ((number, {"text": f"a short text {number}", "id": number}) for number in range(count))
        score_rows(read, Predictor(Backend(), ("neg", "pos")), write)

run(5_000)
before = megabytes()
run(100_000)
print(megabytes() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    # All rows and predictions in memory would be some 100 MB.
    assert float(done.stdout) < 10
    assert (tmp_path / "out.csv").read_text().count("\n") == 100_001
