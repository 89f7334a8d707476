"""Rows of CSV, JSONL and Parquet: what is read, what is a bad row, and that reading goes on after one."""

import csv
import gzip
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textclf.data.tables import UndecodableError, column_names, read_rows, table_format
from textclf.errors import DatasetError


def write(path, content):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read_past_bad(path):
    bad = []
    rows = list(read_rows(path, on_bad=lambda number, error: bad.append((number, str(error)))))
    return rows, bad


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.b.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.parquet.gz", None),
        ("a.txt", None),
        ("a.tsv", "tsv"),
        ("a.tab.gz", "tsv"),
        ("a.json", "json"),
        ("A.JSON.gz", "json"),
        ("a.xlsx", "xlsx"),
        ("a.xlsx.gz", None),
        ("csv", None),
        ("a.gz", None),
    ],
)
def test_format_by_name(name, kind):
    assert table_format(name) == kind


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(tmp_path, name):
    path = write(tmp_path / name, 'text,label\n"one, ""two""\nthree",pos\n\nplain,neg\r\n"",x\n')
    expected = [('one, "two"\nthree', "pos"), ("plain", "neg"), ("", "x")]
    assert list(read_rows(path)) == [(i, {"text": t, "label": x}) for i, (t, x) in enumerate(expected, start=1)]
    assert column_names(path) == ["text", "label"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz"])
def test_jsonl(tmp_path, name):
    path = write(tmp_path / name, '{"text": "a\\nb", "label": 1}\r\n\n{"label": null, "x": [1]}')
    assert list(read_rows(path)) == [(1, {"text": "a\nb", "label": 1}), (2, {"label": None, "x": [1]})]
    assert column_names(path) == ["text", "label", "x"]


def test_parquet(tmp_path):
    table = pa.table({"text": ["a", None, "c"] * 1000, "label": list(range(3000)), "score": [0.5] * 3000})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = list(read_rows(tmp_path / "a.parquet"))
    assert [number for number, _ in rows] == list(range(1, 3001))
    assert [row for _, row in rows] == table.to_pylist()
    assert column_names(tmp_path / "a.parquet") == ["text", "label", "score"]


def test_parquet_categories(tmp_path):
    pq.write_table(pa.table({"label": pa.array(["x", "y", "x"]).dictionary_encode()}), tmp_path / "a.parquet")
    assert [row["label"] for _, row in read_rows(tmp_path / "a.parquet")] == ["x", "y", "x"]


@pytest.mark.parametrize(("name", "body"), [("a.csv", "text\nö\n"), ("a.jsonl", '{"text": "ö"}\n')])
def test_byte_order_mark(tmp_path, name, body):
    assert list(read_rows(write(tmp_path / name, b"\xef\xbb\xbf" + body.encode()))) == [(1, {"text": "ö"})]


def test_huge_field(tmp_path):
    text = "word " * 1_000_000
    assert next(read_rows(write(tmp_path / "a.csv", f"text,label\n{text},x\n")))[1]["text"] == text


def test_bad_csv_rows_are_named_and_passed_over(tmp_path):
    lines = [b"text,label", b"good,1", b"short", b"a,b,c", b'"x"y,1', b"caf\xe9,1", b'"two\nlines",1', b"last,2"]
    path = write(tmp_path / "a.csv", b"\n".join(lines) + b"\n")
    rows, bad = read_past_bad(path)
    assert [(number, row["text"]) for number, row in rows] == [(1, "good"), (6, "two\nlines"), (7, "last")]
    assert [number for number, _ in bad] == [2, 3, 4, 5]
    assert "row 2 (line 3): expected 2 fields (text, label), found 1" in bad[0][1]
    assert "row 3 (line 4): expected 2 fields (text, label), found 3" in bad[1][1]
    assert "row 4 (line 5): ',' expected after '\"'" in bad[2][1]
    assert "row 5 (line 6): not UTF-8" in bad[3][1]
    assert all(str(path) in message for _, message in bad)


def test_a_quote_that_is_never_closed_spoils_its_line_only(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\na,1\n"b,2\nc,3\n')
    rows, ((number, message),) = read_past_bad(path)
    assert [row["text"] for _, row in rows] == ["a", "c"]
    assert number == 2
    assert "row 2 (line 3): unexpected end of data: the quotes of lines 3 to 4 do not match" in message


def test_bad_json_lines_are_named_and_passed_over(tmp_path):
    lines = [
        b'{"text": "a"}',
        b"[1]",
        b'{"text": ',
        b"",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b"null",
        b"[" * 9999,
    ]
    rows, bad = read_past_bad(write(tmp_path / "a.jsonl", b"\n".join([*lines, b'{"text": "z"}'])))
    assert [(number, row["text"]) for number, row in rows] == [(1, "a"), (8, "z")]
    assert [number for number, _ in bad] == [2, 3, 4, 5, 6, 7]
    assert "row 2 (line 2): expected a JSON object, got list" in bad[0][1]
    assert "row 3 (line 3): expected a JSON object, got invalid JSON (Expecting value: line 1 column 9" in bad[1][1]
    assert "row 4 (line 5): not UTF-8" in bad[2][1]
    assert "row 5 (line 6): not UTF-8" in bad[3][1]
    assert "got NoneType" in bad[4][1]


def test_bad_utf8_in_parquet(tmp_path):
    binary = pa.array([b"a", b"\xff", b"c"])
    texts = pa.StringArray.from_buffers(3, binary.buffers()[1], binary.buffers()[2])
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    rows, bad = read_past_bad(tmp_path / "a.parquet")
    assert [(number, row["text"]) for number, row in rows] == [(1, "a"), (3, "c")]
    assert [number for number, _ in bad] == [2]


def test_without_on_bad_the_first_bad_row_ends_it(tmp_path):
    rows = read_rows(write(tmp_path / "a.csv", b"text,label\na,1\n\xff,1\n"))
    assert next(rows)[0] == 1
    with pytest.raises(UndecodableError, match="row 2"):
        next(rows)


@pytest.mark.parametrize("content", ["", "\n\n", "a,a\n1,2\n", b"caf\xe9,label\n", '"a"b,c\n'])
def test_bad_header(tmp_path, content):
    path = write(tmp_path / "a.csv", content)
    for read in (column_names, lambda path: list(read_rows(path))):
        with pytest.raises(DatasetError, match=r"a\.csv: .*(header|column names)"):
            read(path)


def test_an_empty_csv_file_is_named_so(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(DatasetError, match="found an empty file; add a header"):
        column_names(tmp_path / "a.csv")


def test_parquet_with_equal_names(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="distinct column names"):
        list(read_rows(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_cut_gzip_is_named_whatever_on_bad_says(tmp_path, name):
    noise = np.random.default_rng(1)
    lines = [json.dumps({"text": str(noise.random())}) for _ in range(5000)]
    path = write(tmp_path / name, "\n".join(["text", *lines] if "csv" in name else lines))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DatasetError, match=r"after row \d\d+: damaged or cut short"):
        read_past_bad(path)
    path.write_bytes(b"no gzip")
    for read in (column_names, read_past_bad):
        with pytest.raises(DatasetError, match="after row 0: damaged"):
            read(path)


def test_damaged_parquet(tmp_path):
    path = write(tmp_path / "a.parquet", b"PAR1 no parquet PAR1")
    with pytest.raises(DatasetError, match="expected a Parquet file"):
        read_past_bad(path)
    pq.write_table(pa.table({"text": [str(i) for i in range(5000)]}), path, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="after row 0: damaged"):
        read_past_bad(path)


@pytest.mark.parametrize("name", ["none.csv", "folder.csv", "a.txt"])
def test_no_table(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    write(tmp_path / "a.txt", "text\n")
    with pytest.raises(DatasetError, match=f"{name}: expected a"):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_progress_ends_at_the_size_of_the_file(tmp_path, name):
    texts = [f"text {i}" for i in range(5000)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        write(path, "\n".join(["text", *texts] if "csv" in name else [json.dumps({"text": text}) for text in texts]))
    seen = []
    assert len(list(read_rows(path, on_progress=seen.append))) == 5000
    if name != "a.parquet":  # Its footer, at the end, is read first.
        assert seen == sorted(seen)
        assert seen[-1] == path.stat().st_size
    assert 0 < max(seen) <= path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    row = '{"text": "' + "x" * 500 + '"}' if "jsonl" in name else "x" * 500
    path = write(tmp_path / name, "text\n" * ("csv" in name) + f"{row}\n" * 40_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_round_trip_of_what_the_csv_module_writes(tmp_path):
    noise = np.random.default_rng(5)
    texts = ["".join(noise.choice(list('ab,"\n\r ;\t\u2028ö😀'), size=noise.integers(12))) for _ in range(500)]
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label"], *([text, "x"] for text in texts)])
    assert [row["text"] for _, row in read_rows(tmp_path / "a.csv")] == texts


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv.gz", b"text,label\n"), ("b.csv.gz", b""), ("a.jsonl.gz", b'{"text": "a"}\n')]
)
def test_a_line_that_would_fill_the_memory(tmp_path, monkeypatch, name, start):
    monkeypatch.setattr("textclf.data.tables.source.MAX_LINE", 1000)
    with gzip.open(tmp_path / name, "wb") as file:
        file.write(start + b"," * 1000)
    with pytest.raises(DatasetError, match="expected a line shorter than 1,000"):
        list(read_rows(tmp_path / name))
    if not start:
        with pytest.raises(DatasetError, match="line 1: expected a line shorter than 1,000"):
            column_names(tmp_path / name)
