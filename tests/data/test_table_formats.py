"""Tables as spreadsheets, scripts and exports write them: encodings, delimiters, dialects, JSON, fastText."""

import gzip
import json

import pytest

from textclf.bad_rows import BadRows
from textclf.data.tables import Wanted, find_columns, read_rows

ROWS = [("good, or not; it | runs", "pos"), ('he said "no"', "neg"), ("schön – 很好", "pos")]
WANTED = Wanted()


def write(path, content, encoding="utf-8"):
    content = content.encode(encoding) if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def texts_and_labels(path, wanted=WANTED, **options):
    columns = find_columns(path, wanted, **options)
    rows = read_rows(path, wanted=wanted, **options)
    return [(row[columns.text], row[columns.label]) for _, row in rows]


def reasons(path, **options):
    bad = BadRows()
    rows = list(read_rows(path, wanted=WANTED, on_bad=lambda _, error: bad.add(error), **options))
    return [row for _, row in rows], dict(bad.counts)


def delimited(delimiter, header=("text", "label"), rows=ROWS):
    def line(fields):
        return delimiter.join('"' + field.replace('"', '""') + '"' for field in fields)

    return "".join(f"{line(fields)}\n" for fields in [header, *rows])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_that_yields_the_columns(tmp_path, name, delimiter):
    assert texts_and_labels(write(tmp_path / name, delimited(delimiter))) == ROWS


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_other_columns(tmp_path, delimiter):
    path = write(tmp_path / "a.csv", delimited(delimiter, ("review, long", "stars;sum")))
    assert texts_and_labels(path, Wanted("review, long", "stars;sum")) == ROWS


def test_without_labels_the_text_column_decides(tmp_path):
    path = write(tmp_path / "a.csv", "id;text\n1;so, so\n")
    assert find_columns(path, Wanted(needs_label=False)).label is None
    assert [row for _, row in read_rows(path, wanted=Wanted(needs_label=False))] == [{"id": "1", "text": "so, so"}]


def test_one_column_is_read_whole(tmp_path):
    path = write(tmp_path / "a.csv", "text\nso;so\n")
    assert [row for _, row in read_rows(path, wanted=Wanted(needs_label=False))] == [{"text": "so;so"}]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "sep=;\r"])
def test_separator_line(tmp_path, line):
    path = write(tmp_path / "a.csv", f"{line}\ntext;label\na,b;pos\n")
    assert texts_and_labels(path) == [("a,b", "pos")]


def test_separator_line_names_any_character(tmp_path):
    assert texts_and_labels(write(tmp_path / "a.csv", "sep=^\ntext^label\na,b^pos\n")) == [("a,b", "pos")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.json", "a.jsonl", "a.txt"])
def test_detected_encodings(tmp_path, name, encoding):
    content = delimited(",")
    if "json" in name:
        content = "\n".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in ROWS)
    if name == "a.txt":
        content = "".join(f"__label__{label} {text}\n" for text, label in ROWS)
    assert texts_and_labels(write(tmp_path / name, content, encoding)) == ROWS
