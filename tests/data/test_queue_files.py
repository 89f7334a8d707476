"""Files of the labelling queue: CSV and Label Studio, there and back, and what can be wrong with them."""

import csv
import json

import pytest

from textclf.data.labelling.queue_files import QueueRow, labelling_config, read_labelled, write_queue
from textclf.errors import DatasetError

TEXTS = [
    "plain",
    'with, comma and "quotes"',
    "two\nlines",
    "=1+1",
    "'quoted",
    "ümlaut 🙂",
    " spaces ",
    '{"choices": 1}',
]
ROWS = [QueueRow(text, "pos", "neg", {"draw": f"d{at}", "model": "m 1"}) for at, text in enumerate(TEXTS)]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    write_queue(path, ROWS)
    found = list(read_labelled(path))
    assert all(row.text in item.texts for row, item in zip(ROWS, found, strict=True))
    assert [(item.label, item.draw, item.problem) for item in found] == [
        ("pos", f"d{at}", "") for at in range(len(TEXTS))
    ]


def test_a_task_has_the_form_of_label_studio(tmp_path):
    path = tmp_path / "tasks.json"
    write_queue(path, [QueueRow("good", None, "pos", {"draw": "d", "model": "m 1"}), QueueRow("bad", "neg")])
    choice = {"from_name": "label", "to_name": "text", "type": "choices"}
    assert json.loads(path.read_text(encoding="utf-8")) == [
        {
            "data": {"text": "good", "draw": "d", "model": "m 1"},
            "predictions": [{"model_version": "m 1", "result": [{**choice, "value": {"choices": ["pos"]}}]}],
        },
        {"data": {"text": "bad"}, "annotations": [{"result": [{**choice, "value": {"choices": ["neg"]}}]}]},
    ]


def test_the_labelling_configuration_quotes_class_names():
    config = labelling_config(['a "b" & <c>', "d"])
    assert "<Choice value='a \"b\" &amp; &lt;c&gt;'/>" in config
    assert '<Choice value="(other)"/>' in config


def test_an_export_of_label_studio_as_json(tmp_path):
    def task(*annotations):
        return {"id": 7, "data": {"text": "good", "draw": "d"}, "annotations": list(annotations), "predictions": []}

    def annotation(*names, **more):
        result = {
            "from_name": "label",
            "to_name": "text",
            "type": "choices",
            "id": "x",
            "value": {"choices": list(names)},
        }
        other = {"from_name": "remark", "to_name": "text", "type": "textarea", "value": {"text": ["hm"]}}
        return {"id": 1, "completed_by": 1, "was_cancelled": False, "result": [other, result], **more}

    path = tmp_path / "export.json"
    path.write_text(
        json.dumps(
            [
                task(annotation("pos")),
                task(annotation("pos"), annotation("pos"), annotation("neg", was_cancelled=True)),
                task(annotation("pos"), annotation("neg")),
                task(annotation("pos", "neg")),
                task(),
                task({"result": [], "was_cancelled": False}),
            ]
        )
    )
    found = list(read_labelled(path))
    assert [item.label for item in found[:2]] == ["pos", "pos"]
    assert [item.problem for item in found] == ["", "", "it has several labels", "it has several labels", "", ""]
    assert [item.label for item in found[4:]] == [None, None]
    assert {item.draw for item in found} == {"d"}


def test_an_export_as_json_min_or_csv(tmp_path):
    rows = [
        {"text": "good", "draw": "d1", "id": 1, "label": "pos", "annotator": 1, "annotation_id": 2},
        {
            "text": "bad",
            "draw": "d2",
            "id": 2,
            "label": {"choices": ["neg", "pos"]},
            "annotator": 1,
            "annotation_id": 3,
        },
    ]
    (tmp_path / "min.json").write_text(json.dumps(rows))
    with open(tmp_path / "export.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([rows[0], {**rows[1], "label": json.dumps(rows[1]["label"])}])
    for name in ("min.json", "export.csv"):
        one, two = read_labelled(tmp_path / name)
        assert (one.texts[0], one.label, one.draw, one.problem) == ("good", "pos", "d1", "")
        assert two.problem == "it has several labels"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("text;label;draw\r\ngood;pos;d\r\n;;\r\n", "utf-8-sig"),
        ("draw\ttext\tlabel\nd\tgood\tpos\n", "utf-16"),
        ('"label","text","draw","note"\n"pos","good","d",""\n', "utf-8"),
    ],
)
def test_csv_as_spreadsheets_save_it(tmp_path, content, encoding):
    path = tmp_path / "saved.csv"
    path.write_text(content, encoding=encoding, newline="")
    first = next(read_labelled(path))
    assert (first.texts, first.label, first.draw) == (("good",), "pos", "d")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "review,label\ngood,pos\n", "--text-column"),
        ("a.csv", "text,stars\ngood,pos\n", "--label-column"),
        ("a.json", "{}", "expected a list of tasks"),
        ("a.json", "[1]", "expected a list of tasks"),
        ("a.json", "[", "expected JSON"),
        ("a.json", '[{"data": {"image": "x"}}]', "--text-column"),
        ("a.json", '[{"text": 1, "label": "pos"}]', "expected a text"),
        ("a.txt", "good", r"ends with \.csv or \.json"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        list(read_labelled(tmp_path / name))


def test_a_file_with_labels_is_not_replaced(tmp_path):
    write_queue(tmp_path / "a.csv", ROWS)
    with pytest.raises(DatasetError, match="expected no file"):
        write_queue(tmp_path / "a.csv", ROWS)
