"""Tables as spreadsheets, scripts and exports write them: encodings, delimiters, dialects, JSON, fastText."""

import datetime
import gzip
import json
import re
import subprocess
import sys
import tracemalloc
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textclf.bad_rows import BadRows, Reason
from textclf.data.tables import Wanted, column_names, find_columns, read_rows, table_format
from textclf.errors import DatasetError

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


def test_utf16_without_a_mark_in_cyrillic(tmp_path):
    path = write(tmp_path / "a.csv", "text;label\nхороший фильм;да\n", "utf-16-be")
    assert texts_and_labels(path) == [("хороший фильм", "да")]


def test_an_odd_byte_at_the_end_of_utf16(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,pos\n".encode("utf-16") + b"x")
    with pytest.raises(DatasetError, match="damaged or cut short"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Très bien, à côté de l’hôtel — « super »"),
        ("cp1251", "Привет, это очень хороший фильм и мне понравилось"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
    ],
)
def test_the_error_names_an_encoding_that_reads_the_file(tmp_path, encoding, text):
    path = write(tmp_path / "a.csv", f'text,label\nplain,neg\n"{text}",pos\n', encoding)
    with pytest.raises(DatasetError, match=r"row 2 .*not UTF-8; the file looks like") as refused:
        list(read_rows(path))
    named = re.search(r"--encoding (\S+?),", str(refused.value))[1]
    assert named == encoding
    assert texts_and_labels(path, encoding=named) == [("plain", "neg"), (text, "pos")]


def test_a_file_with_one_bad_row_is_no_file_in_another_encoding(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\nschön,pos\n".encode() + b"caf\xe9,neg\n")
    with pytest.raises(DatasetError, match="not UTF-8; correct these texts"):
        list(read_rows(path))
    rows, counts = reasons(path)
    assert ([row["text"] for row in rows], counts) == (["schön"], {Reason.UNDECODABLE: 1})


@pytest.mark.parametrize("named", ["utf-16", "UTF16", "utf-32", "utf-16-be"])
def test_the_named_encoding_needs_no_mark(tmp_path, named):
    written = {"utf-16": "utf-16-le", "UTF16": "utf-16-be", "utf-32": "utf-32-le"}.get(named, named)
    path = write(tmp_path / "a.csv", "text,label\nschön,pos\n", written)
    assert texts_and_labels(path, encoding=named) == [("schön", "pos")]


def test_utf16_without_a_mark_or_ascii(tmp_path):
    path = write(tmp_path / "a.csv", "好电影真好看好电影真好看好电影真好看,标\n一,二\n", "utf-16-le")
    wanted = Wanted("好电影真好看好电影真好看好电影真好看", "标")
    assert texts_and_labels(path, wanted, encoding="utf-16") == [("一", "二")]


@pytest.mark.parametrize(
    ("content", "encoding", "remedy"),
    [
        (b"text,label\n\x81\xff\xff,p\n", "shift_jis", "not shift_jis; correct --encoding, or these texts"),
        ("text,label\na\ud800b,p\n".encode("utf-16-le", "surrogatepass"), "utf-16", "not utf-16-le; correct --enc"),
        (
            b"\xff\xfe" + "text,label\na\ud800b,p\n".encode("utf-16-le", "surrogatepass"),
            "",
            "not utf-16-le; correct these",
        ),
    ],
)
def test_the_remedy_for_text_in_another_encoding_than_the_named_one(tmp_path, content, encoding, remedy):
    with pytest.raises(DatasetError, match=rf"row 1 \(line 2\): {remedy}"):
        list(read_rows(write(tmp_path / "a.csv", content), encoding=encoding))


@pytest.mark.parametrize("name", ["hex", "no-such-encoding", "rot13", "punycode", "idna", "unicode_escape"])
def test_unknown_encodings_are_refused(tmp_path, name):
    with pytest.raises(DatasetError, match="--encoding: expected the name of a text encoding"):
        column_names(write(tmp_path / "a.csv", "text,label\n"), encoding=name)


# --- headers and rows as spreadsheets write them


@pytest.mark.parametrize(
    "header",
    ["Text , Label", "TEXT,LABEL", "\ufefftext,label", '" text","label "', "text\u200b,\u00a0label", "text, label"],
)
def test_header_names_without_case_and_blanks(tmp_path, header):
    assert texts_and_labels(write(tmp_path / "a.csv", f"{header}\na,pos\n")) == [("a", "pos")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,label,,\na,pos,,\nb,neg,,\n", [("a", "pos"), ("b", "neg")]),
        ("text,label\na,pos\n,\n\n,,\n", [("a", "pos")]),
        ("text,label\na,pos,\nb,neg,,\n", [("a", "pos"), ("b", "neg")]),
        (",text,label\n0,a,pos\n1,b,neg\n", [("a", "pos"), ("b", "neg")]),
        ('text, label\n"a, b", pos\n', [("a, b", "pos")]),
        ("text,label\r\na,pos\r\n", [("a", "pos")]),
        ("text,label\ra,pos\rb,neg\r", [("a", "pos"), ("b", "neg")]),
        ("\n,\ntext,label\na,pos\n", [("a", "pos")]),
    ],
)
def test_dialects_of_spreadsheets(tmp_path, content, expected):
    assert texts_and_labels(write(tmp_path / "a.csv", content)) == expected


def test_a_value_in_a_column_without_a_name_is_a_bad_row(tmp_path):
    """An unquoted comma would move the label into that column."""
    rows, counts = reasons(write(tmp_path / "a.csv", "text,label,,\none, two,pos,\nb,neg,,\n"))
    assert ([row["text"] for row in rows], counts) == (["b"], {Reason.FIELD_COUNT: 1})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('"Good morning" he said', '"Good morning" he said'),
        ('He said "no"', 'He said "no"'),
        ('"never closed', '"never closed'),
        ('"all of ""it"""', 'all of "it"'),
        ('"two\nlines"', "two\nlines"),
        ('"a\ttab"', "a\ttab"),
    ],
)
def test_quotes_in_tab_separated_files(tmp_path, text, read):
    path = write(tmp_path / "a.tsv", f"text\tlabel\n{text}\tpos\nnext\tneg\n")
    assert texts_and_labels(path) == [(read, "pos"), ("next", "neg")]


@pytest.mark.parametrize(
    ("records", "texts"),
    [
        (['"line one\nline two"', "b"], ["line one\nline two", "b"]),
        (['"one\n\n""two""\tand\nthree"', '"b"'], ['one\n\n"two"\tand\nthree', "b"]),
        (['"never closed', "b", 'a 5" disk', "c"], ['"never closed', "b", 'a 5" disk', "c"]),
        (['"open', '"open too', "b"], ['"open', '"open too', "b"]),
        (['"open', 'of 5"', "b"], ['"open', 'of 5"', "b"]),
        (['""', '"'], ["", '"']),
    ],
)
def test_line_breaks_in_quotes_in_the_last_column_of_tab_separated_files(tmp_path, records, texts):
    path = write(tmp_path / "a.tsv", "label\ttext\n" + "".join(f"pos\t{record}\n" for record in records))
    assert [text for text, _ in texts_and_labels(path)] == texts


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_columns_without_a_name_keep_their_values(tmp_path, name):
    late = [["", "so", "", "x"]] * 200 + [["", "so", "late", "x"]]
    for header, rows, names, last in (
        (["", "text", "label"], [["7", "so", "x"]], ["column 1", "text", "label"], {"column 1": "7"}),
        (["", "text", "", "label"], [["", "so", "", "x"]], ["text", "label"], {}),
        (["column 2", "", "text"], [["1", "7", "so"]], ["column 2", "column 2'", "text"], {"column 2'": "7"}),
        (["", "text", "", "label"], late, ["text", "label"], {"column 3": "late"}),
    ):
        path = tmp_path / name
        if name == "a.csv":
            write(path, "".join(",".join(row) + "\n" for row in [header, *rows]))
        else:
            workbook(path, a=[[cell or None for cell in row] for row in [header, *rows]])
        assert column_names(path) == names
        *_, (_, row) = read_rows(path)
        assert {name: cell for name, cell in row.items() if "column" in name and cell != "1"} == last


@pytest.mark.parametrize(
    ("content", "reason", "cause", "good"),
    [
        ('text,label\n"he said \\"so\\"",pos\nb,neg\n', Reason.BACKSLASH_QUOTES, r'written as \\"', ["b"]),
        ("text,label\nwarm and\rlovely,pos\nb,neg\n", Reason.CARRIAGE_RETURN, "carriage return", ["b"]),
        ('text,label\n"a,pos\nb,neg\nc,pos\n', Reason.QUOTES, "lines 2 to 4 do not match", ["b", "c"]),
        ('text,label\n"a,pos\nb,neg\nc,"pos"\n', Reason.QUOTES, "lines 2 to 4 do not match", ["b", "c"]),
        ("text,label\na,pos\nb\nc,neg\n", Reason.FIELD_COUNT, "expected 2 fields", ["a", "c"]),
        ("text,label\na,b,pos\nc,neg\n", Reason.FIELD_COUNT, "expected 2 fields", ["c"]),
    ],
)
def test_a_bad_row_names_its_cause_and_spoils_no_other(tmp_path, content, reason, cause, good):
    path = write(tmp_path / "a.csv", content)
    rows, counts = reasons(path)
    assert ([row["text"] for row in rows], counts) == (good, {reason: 1})
    with pytest.raises(DatasetError, match=cause):
        list(read_rows(path))


def test_many_open_quotes_take_linear_time(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n" + '"open,pos\n' * 20_000)
    assert reasons(path) == ([], {Reason.QUOTES: 20_000})


# --- columns


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("review,sentiment", ("review", "sentiment")),
        ("id,Review_Text,Category", ("Review_Text", "Category")),
        ("sentence,target,text,label", ("text", "label")),
        ("utterance,intent", ("utterance", "intent")),
        ("Content;Class", ("Content", "Class")),
        ("text,stars", ("text", "stars")),
    ],
)
def test_synonyms(tmp_path, header, found):
    path = write(tmp_path / "a.csv", f"{header}\n")
    columns = find_columns(path, WANTED)
    assert columns[:2] == found
    note = columns.note(WANTED)
    assert all((f"'{name}'" in note) == (name not in ("text", "label")) for name in found)


def test_another_case_is_not_worth_a_note(tmp_path):
    path = write(tmp_path / "a.csv", "Text , LABEL\n")
    assert find_columns(path, WANTED).note(WANTED) == ""


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ('text,label\n"he said \\"so\\"",pos\n', r"sed .*?' (?=FILE)"),
        ("text,label\nwarm and\rlovely,pos\n", r"tr .*?' < (?=FILE)"),
    ],
)
def test_the_command_of_the_remedy_makes_the_file_readable(tmp_path, content, command):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DatasetError) as refused:
        list(read_rows(path))
    shell = re.search(command, str(refused.value))[0] + str(path)
    mended = subprocess.run(["sh", "-c", shell], capture_output=True, check=True).stdout
    assert texts_and_labels(write(tmp_path / "b.csv", mended))[0][0] in ('he said "so"', "warm and lovely")


@pytest.mark.parametrize(
    ("header", "wanted", "message"),
    [
        ("review,comment,label", Wanted(), "pass --text-column review or --text-column comment$"),
        ("text,class,topic name,target", Wanted(), "pass --label-column class or --label-column target$"),
        ("Text,TEXT,label", Wanted(), "pass --text-column Text or --text-column TEXT$"),
        ("review,label", Wanted("body"), "expected a column 'body', found 'review', 'label'; name .* --text-column$"),
        ("text,sentiment", Wanted(label="stars"), "expected a column 'stars', found 'text', 'sentiment'"),
        ("a,b", Wanted(), "expected a column 'text', found 'a', 'b'"),
        ("text,label", Wanted(label="lable", needs_label=False), "expected a column 'lable', found 'text', 'label'"),
        ("text,label", Wanted(label="text", needs_label=False), "expected a column 'text', found 'text', 'label'"),
        ("text,A,a", Wanted(label="a ", needs_label=False), "pass --label-column A or --label-column a$"),
    ],
)
def test_columns_that_are_missing_or_ambiguous(tmp_path, header, wanted, message):
    path = write(tmp_path / "a.csv", f"{header}\n")
    with pytest.raises(DatasetError, match=message):
        find_columns(path, wanted)
    # The remedy of the message works.
    if named := re.search(r"(--\w+)-column (\w+)", message):
        which = {"--text": "text", "--label": "label"}[named[1]]
        assert getattr(find_columns(path, Wanted(**{which: named[2]})), which) == named[2]


def test_several_columns_of_optional_labels_are_told(tmp_path):
    for name, content in {
        "a.csv": "text,sentiment,category\ngood,pos,film\n",
        "a.jsonl": '{"text": "good", "sentiment": "pos", "category": "film"}\n',
    }.items():
        wanted = Wanted(needs_label=False)
        note = find_columns(write(tmp_path / name, content), wanted).note(wanted)
        assert note.startswith("labels from no column, because several could be meant ('sentiment', 'category'); ")
        assert note.endswith("pass --label-column sentiment or --label-column category")


# --- JSON


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
@pytest.mark.parametrize("wrapper", ["{}", "\n {} \n", '{{"version": "1.0", "n": 2, "data": {}}}', '{{"rows":{}}}'])
def test_arrays_of_objects(tmp_path, name, indent, wrapper):
    if wrapper.startswith("{{") and name == "a.jsonl":
        wrapper = "{}"  # Such a file is not called .jsonl.
    rows = [{"text": text, "label": label, "more": {"a": ["]", "}", '"']}} for text, label in ROWS]
    path = write(tmp_path / name, wrapper.format(json.dumps(rows, indent=indent)))
    assert [row for _, row in read_rows(path)] == rows
    assert column_names(path) == ["text", "label", "more"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_objects_one_after_the_other(tmp_path, name, indent):
    objects = [json.dumps({"text": text, "label": label}, indent=indent) for text, label in ROWS]
    assert texts_and_labels(write(tmp_path / name, "\n".join(objects) + "\n")) == ROWS


def test_bad_values_in_an_array(tmp_path):
    content = '[{"text": "a", "label": 1}, 7, {"text": "b", "label": nope}, ["x"], null, {"text": "c", "label": 2}]'
    rows, counts = reasons(write(tmp_path / "a.json", content))
    assert [row["text"] for row in rows] == ["a", "c"]
    assert counts == {Reason.NOT_AN_OBJECT: 3, Reason.INVALID_JSON: 1}


@pytest.mark.parametrize("content", ['[{"text": "a"}', '[{"text": "a"}, {"text": "b', '[{"text": "a"}, {"text": {'])
def test_an_array_that_is_cut_short(tmp_path, content):
    with pytest.raises(DatasetError, match="after row 1: damaged or cut short"):
        list(read_rows(write(tmp_path / "a.json", content)))


PAIR = ('{\n"text": "a", "label": "x"\n}', '{\n"text": "b", "label": "y"\n}')


@pytest.mark.parametrize(
    ("content", "bad"),
    [
        ("{}\n}}\n{}", 1),
        ("{}\n]\n{}\n}}", 2),
        ("[{}],\n{}]", 1),
        ("[{}}},\n{}]", 1),
        ("[{}]\n[{}]", 0),
        ("[{}],\n[{}]\n", 0),
        ('{{"data": [{0}], "n": 1, "tags": ["t"]}}\n{1}', 0),
        ('{{"data": [{}, {}]}}}}', 1),
    ],
)
def test_nothing_after_a_bracket_is_dropped(tmp_path, content, bad):
    rows, counts = reasons(write(tmp_path / "a.json", content.format(*PAIR)))
    assert ([row["text"] for row in rows], counts.get(Reason.INVALID_JSON, 0)) == (["a", "b"], bad)


def test_a_stray_bracket_is_named_with_its_line(tmp_path):
    with pytest.raises(DatasetError, match=r"row 2 \(line 4\): .* got '}' without its opening bracket"):
        list(read_rows(write(tmp_path / "a.json", f"{PAIR[0]}\n}}\n{PAIR[1]}")))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (', "n": 2, "rows": [{}]}', "line 3: expected one list of rows, found a second one .*rows"),
        (', "n": 2', "after row 1: damaged or cut short"),
    ],
)
def test_an_object_around_an_array_ends_in_full(tmp_path, end, message):
    with pytest.raises(DatasetError, match=message):
        list(read_rows(write(tmp_path / "a.json", f'{{"data": [{PAIR[0]}]{end}')))


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_memory_does_not_grow_with_an_array(tmp_path, name):
    row = json.dumps({"text": "x" * 500, "label": "pos"}, indent=1)
    path = write(tmp_path / name, f"[{','.join([row] * 5_000)}]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == 5_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_value_longer_than_a_chunk(tmp_path):
    text = "ein Wort " * 100_000
    path = write(tmp_path / "a.json", json.dumps([{"text": text, "label": "a"}, {"text": "b", "label": "b"}], indent=1))
    assert texts_and_labels(path) == [(text, "a"), ("b", "b")]


# --- fastText


def test_fasttext_lines(tmp_path):
    path = write(tmp_path / "a.txt", "__label__pos good film\n\n__label__neg\n__label__a __label__b two\n")
    rows, counts = reasons(path)
    assert rows == [{"text": "good film", "label": "pos"}, {"text": "", "label": "neg"}]
    assert counts == {Reason.SEVERAL_LABELS: 1}


def test_other_text_files_are_no_tables(tmp_path):
    assert table_format(write(tmp_path / "a.txt", "a review about __label__x\n")) is None


# --- Parquet


def test_dates_that_python_can_not_hold_spoil_no_row(tmp_path):
    far, stamps = 10**18, pa.timestamp("us")
    columns = {"when": pa.array([far, 0], stamps), "nested": pa.array([[far], [0]], pa.list_(stamps))}
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"], **columns}), tmp_path / "a.parquet")
    assert texts_and_labels(tmp_path / "a.parquet") == [("a", "x"), ("b", "y")]
    (_, first), (_, second) = read_rows(tmp_path / "a.parquet")
    assert str(far) in first["when"]
    assert str(far) in first["nested"]
    assert second["when"] == datetime.datetime(1970, 1, 1)


# --- .xlsx


def workbook(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook(tmp_path):
    rows = [(), ("Review", "Stars", None), ("good", 5, None), (None, None, None), ("bad", 1.0), ("fair", None)]
    rows += [(12, 3), (1.5, 4), (True, 5), (datetime.date(2024, 5, 1), 1)]
    path = workbook(tmp_path / "a.xlsx", notes=[("made by",)], data=rows)
    assert [row for _, row in read_rows(path, wanted=WANTED)] == [
        {"Review": "good", "Stars": 5}, {"Review": "bad", "Stars": 1}, {"Review": "fair", "Stars": None},
        {"Review": "12", "Stars": 3}, {"Review": "1.5", "Stars": 4}, {"Review": "true", "Stars": 5},
        {"Review": "2024-05-01T00:00:00", "Stars": 1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sheets", "message"),
    [
        ({"a": [("text", "label")], "b": [("Text", "Label")]}, "expected one sheet with the columns, found 'a', 'b'"),
        ({"a": []}, "empty workbook"),
        ({"a": [("x", "y")]}, "expected a column 'text', found 'x', 'y'"),
        ({"a": [("text", "text")]}, "distinct column names"),
    ],
)
def test_workbooks_without_the_one_sheet(tmp_path, sheets, message):
    with pytest.raises(DatasetError, match=message):
        find_columns(workbook(tmp_path / "a.xlsx", **sheets), WANTED)


def changed(path, member, change):
    """Rewrite a part of a workbook."""
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    name = next(name for name in parts if name.endswith(member))
    before = parts[name]
    parts[name] = change(before)
    assert parts[name] != before
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            book.writestr(name, content)
    return path


@pytest.mark.parametrize("dimension", [b"A1", b"A1:B2", b"A1:XFD1048576"])
def test_all_rows_are_read_whatever_range_the_file_states(tmp_path, dimension):
    path = workbook(tmp_path / "a.xlsx", a=[("text", "label"), *[("so", "x")] * 40])
    changed(path, "sheet1.xml", lambda part: part.replace(b'ref="A1:B41"', b'ref="' + dimension + b'"'))
    assert sum(1 for _ in read_rows(path, wanted=WANTED)) == 40


def test_a_far_cell_takes_no_time(tmp_path):
    path = workbook(tmp_path / "a.xlsx", a=[("text", "label"), ("so", "x")])
    far = b'<row r="1048000"><c r="A1048000"><v>1</v></c><c r="XFD1048000" s="0"/></row></sheetData>'
    changed(path, "sheet1.xml", lambda part: part.replace(b"</sheetData>", far))
    assert [row["text"] for _, row in read_rows(path, wanted=WANTED)] == ["so", "1"]
    changed(path, "sheet1.xml", lambda part: part.replace(b"1048000", b"10480000000"))
    with pytest.raises(DatasetError, match="a row number above"):
        list(read_rows(path, wanted=WANTED))


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("sheet1.xml", lambda part: part[:-60]),
        ("sheet1.xml", lambda part: part.replace(b"<v>7", b"<v>zz7")),
        ("sheet1.xml", lambda part: part.replace(b't="inlineStr"><is><t>so</t></is>', b't="s"><v>99</v>')),
        ("workbook.xml", lambda part: part[:-60]),
        ("styles.xml", lambda part: part[:-60]),
        ("[Content_Types].xml", lambda part: b"<a/>"),
    ],
)
def test_damaged_workbooks(tmp_path, member, change):
    path = changed(workbook(tmp_path / "a.xlsx", a=[("text", "n"), ("so", 7)]), member, change)
    with pytest.raises(DatasetError, match=r"save (it|the workbook) again"):
        list(read_rows(path))


def test_a_workbook_that_is_damaged_in_the_middle_of_a_sheet(tmp_path):
    path = workbook(tmp_path / "a.xlsx", a=[("text", "label"), *[(f"{i * i}", "x") for i in range(3000)]])
    with zipfile.ZipFile(path) as book:
        member = book.getinfo("xl/worksheets/sheet1.xml")
    content = bytearray(path.read_bytes())
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 50] = b"\xff" * 50
    with pytest.raises(DatasetError, match=r"damaged or cut short|save it again"):
        list(read_rows(write(path, bytes(content))))


def test_a_small_workbook_with_a_large_content_is_refused(tmp_path):
    path = workbook(tmp_path / "a.xlsx", a=[("text", "label"), ("so", "x")])
    changed(path, "styles.xml", lambda part: part + b" " * 20_000_000)
    assert path.stat().st_size < 50_000
    with pytest.raises(DatasetError, match="at most 100 times its size, found a larger one; save the sheet as CSV"):
        column_names(path)


def test_a_file_that_is_no_workbook(tmp_path):
    with pytest.raises(DatasetError, match=r"expected an \.xlsx workbook"):
        column_names(write(tmp_path / "a.xlsx", "text,label\n"))


def test_a_workbook_without_openpyxl_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DatasetError, match="python -m pip install openpyxl, or save the sheet as CSV"):
        column_names(write(tmp_path / "a.xlsx", b"PK"))
