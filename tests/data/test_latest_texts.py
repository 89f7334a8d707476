"""The texts that a check looks at, from wherever they lie."""

import json

import pytest

from textclf.config import DataOptions
from textclf.data.latest_texts import read_latest
from textclf.errors import DatasetError

LEFT_OUT = ("Blank texts, left out: 1.",)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_folder_of_texts_has_no_labels(tmp_path):
    for name, text in {
        "b.txt": "two",
        "a.txt": "\ufeffone",
        "c.txt": " \n",
        ".d.txt": "hidden",
        "e.md": "other",
    }.items():
        write(tmp_path / name, text)
    latest = read_latest(tmp_path)
    assert (latest.texts, latest.labels, latest.audit, latest.times) == (("one", "two"), None, None, None)
    assert latest.notes == (*LEFT_OUT, "Not read: e.md.")


def test_class_folders_have_labels(tmp_path):
    write(tmp_path / "pos" / "a.txt", "good")
    write(tmp_path / "neg" / "a.txt", "bad")
    latest = read_latest(tmp_path)
    assert (latest.texts, latest.labels) == (("bad", "good"), ("neg", "pos"))


def test_a_column_of_labels_that_was_named_must_exist(tmp_path):
    write(tmp_path / "a.csv", "text,label\ngood,pos\n")
    write(tmp_path / "a.jsonl", '{"text": "good"}\n' * 60 + '{"text": "bad", "label": "neg"}\n')
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(DatasetError, match=r"expected a column 'lable', found 'text', 'label'; .* --label-column"):
            read_latest(tmp_path / name, DataOptions(label_column="lable"))
    late = tmp_path / "late.jsonl"
    write(late, '{"text": "good"}\n' * 60 + '{"text": "bad", "verdict": "neg"}\n')
    assert read_latest(late, DataOptions(label_column="verdict")).labels == (*[None] * 60, "neg")


def test_several_columns_of_labels_are_told(tmp_path):
    write(tmp_path / "a.csv", "text,sentiment,category\ngood,pos,film\n")
    latest = read_latest(tmp_path / "a.csv")
    assert latest.labels is None
    assert "pass --label-column sentiment or --label-column category." in latest.notes[0]


def test_of_a_data_set_the_test_part_is_taken(tmp_path):
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            write(tmp_path / part / label / "a.txt", f"{part} {label}")
    latest = read_latest(tmp_path)
    assert (latest.texts, latest.part) == (("test neg", "test pos"), (tmp_path / "test",))
    latest = read_latest(tmp_path / "train")
    assert (latest.texts, latest.part) == (("train neg", "train pos"), ())


def test_the_test_part_under_other_names(tmp_path):
    write(tmp_path / "train.csv", "text,label\ntrain,pos\n")
    write(tmp_path / "Test-00000-of-00002.csv", "text,label\none,pos\n")
    write(tmp_path / "Test-00001-of-00002.csv", "text,label\ntwo,neg\n")
    write(tmp_path / "more.csv", "text,label\nmore,neg\n")
    latest = read_latest(tmp_path)
    assert (latest.texts, latest.labels) == (("one", "two"), ("pos", "neg"))
    assert [path.name[:10] for path in latest.part] == ["Test-00000", "Test-00001"]
    assert latest.notes == ("Not read: more.csv.",)
    assert read_latest(tmp_path / "train.csv").texts == ("train",)


def test_a_table_may_have_labels_or_none(tmp_path):
    write(tmp_path / "labelled.csv", "text,label\ngood,pos\nbad,neg\n,neg\n")
    latest = read_latest(tmp_path / "labelled.csv")
    assert (latest.texts, latest.labels, latest.notes) == (("good", "bad"), ("pos", "neg"), LEFT_OUT)
    write(tmp_path / "plain.csv", "id,text\n1,good\n2,\n3,bad\n")
    latest = read_latest(tmp_path / "plain.csv")
    assert (latest.texts, latest.labels, latest.notes) == (("good", "bad"), None, LEFT_OUT)
    write(tmp_path / "plain.jsonl", '{"review": "good"}\n{"review": null}\n')
    latest = read_latest(tmp_path / "plain.jsonl", DataOptions(text_column="review"))
    assert (latest.texts, latest.labels) == (("good",), None)


def test_an_empty_label_is_no_error_where_labels_are_optional(tmp_path):
    write(tmp_path / "t.csv", "review;sentiment\ngood;pos\nbad;\n\u00a0;neg\n")
    latest = read_latest(tmp_path / "t.csv")
    assert (latest.texts, latest.labels) == (("good", "bad"), ("pos", None))
    assert latest.notes == (
        "t.csv: texts from the column 'review' and labels from the column 'sentiment'; delimiter ';'.",
        "Blank texts, left out: 1.",
        "Texts without a label: 1.",
    )
    write(tmp_path / "u.jsonl", '{"text": "good", "label": null}\n{"text": "bad"}\n')
    assert read_latest(tmp_path / "u.jsonl").labels is None
    late = [*[{"text": f"text {at}"} for at in range(100)], {"text": "last", "label": "pos"}]
    write(tmp_path / "late.jsonl", "\n".join(map(json.dumps, late)))
    assert read_latest(tmp_path / "late.jsonl").labels == (*[None] * 100, "pos")


def test_bad_rows_of_the_latest_texts(tmp_path):
    write(tmp_path / "t.jsonl", '{"text": "good"}\n{"text": 5}\n{"tex": "bad"}\nno json\n')
    with pytest.raises(DatasetError, match=r"found 3 bad rows: .*row 2: .*row 3: .*row 4 .*--skip-bad"):
        read_latest(tmp_path / "t.jsonl")
    latest = read_latest(tmp_path / "t.jsonl", DataOptions(skip_bad=True))
    assert latest.texts == ("good",)
    assert "a text that is not a string (1)" in latest.notes[0]


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["good", "bad"]}), tmp_path / "t.parquet")
    assert read_latest(tmp_path / "t.parquet").texts == ("good", "bad")


@pytest.mark.parametrize("name", ["", "train"])
def test_stored_feedback_says_which_labels_are_audits_and_when_they_were_given(tmp_path, name):
    lines = []
    for at, label in enumerate(("neg", "pos")):
        write(tmp_path / "train" / label / f"id{at}.txt", f"text {at}")
        entry = {"id": f"id{at}", "time": f"2026-01-0{at + 1}T00:00:00+00:00", "label": label, "source": "web"}
        lines.append(json.dumps({**entry, "model": "v1", "audit": at == 1}))
    write(tmp_path / "feedback.log", "\n".join(lines) + "\n")
    latest = read_latest(tmp_path / name)
    assert (latest.texts, latest.labels, latest.audit) == (("text 0", "text 1"), ("neg", "pos"), (False, True))
    assert latest.times == (1_767_225_600.0, 1_767_312_000.0)
    write(tmp_path / "train" / "pos" / "unknown.txt", "no line")
    assert read_latest(tmp_path / name).times == (1_767_225_600.0, 1_767_312_000.0, None)
    (tmp_path / "feedback.log").write_text("")
    assert read_latest(tmp_path / name).times is None


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing", None, "found nothing"),
        ("empty.csv", "text\n", "at least one non-blank text"),
        ("invisible.csv", "text\n\u200b\n\u00ad\n", "at least one non-blank text"),
        ("other.csv", "opinion\ngood\n", "--text-column"),
        ("other.jsonl", '{"opinion": "good"}\n', "--text-column"),
        ("number.jsonl", '{"text": 5}\n', "expected a string"),
        ("some.jsonl", '{"text": "a"}\n{"label": 5}\n', "row 2: expected the column"),
        ("text.md", "good", "expected a table"),
    ],
)
def test_what_has_no_texts_is_one_clear_error(tmp_path, name, content, reason):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_latest(tmp_path / name)
    assert name in str(caught.value)


def test_a_text_that_is_not_utf_8_is_named_or_left_out(tmp_path):
    write(tmp_path / "a.txt", "good")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DatasetError, match=r"b\.txt: not UTF-8"):
        read_latest(tmp_path)
    latest = read_latest(tmp_path, DataOptions(skip_undecodable=True))
    assert latest.texts == ("good",)
    (note,) = latest.notes
    assert note.startswith("Bad rows, left out: not UTF-8 (1). The first: ")
    assert note.endswith("b.txt: not UTF-8.")
