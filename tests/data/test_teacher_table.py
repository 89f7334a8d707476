"""Tables of a teacher's probabilities: what `score` writes can be read, and every fault is one clear error."""

import csv
import json

import numpy as np
import pytest

from textclf.data.teacher_table import read_teacher_table
from textclf.errors import DatasetError

NAMES = ("neg", "pos")


def table(path, rows, header=("text", "p:neg", "p:pos")):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_columns_may_be_in_any_order_and_spelling(tmp_path):
    path = table(tmp_path / "a.csv", [("good", 0.9, 0.1, "x"), ("", 5, 5, "")], ("review", "p:Pos", "p:NEG", "more"))
    found = read_teacher_table(path, NAMES, "text")
    assert found.texts == ["good"]
    np.testing.assert_allclose(found.probabilities, [[0.1, 0.9]])


def test_lines_of_json(tmp_path):
    rows = [{"body": "good", "text": "other", "probabilities": {"pos": 0.75, "neg": 0.25}}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    # The column of the training texts goes before the default one.
    assert read_teacher_table(tmp_path / "a.jsonl", NAMES, "body").texts == ["good"]
    found = read_teacher_table(tmp_path / "a.jsonl", NAMES, "elsewhere")
    assert found.texts == ["other"]
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.75]])


def test_rounded_probabilities_are_scaled(tmp_path):
    path = table(tmp_path / "a.csv", [("good", 0.33, 0.66)])
    np.testing.assert_allclose(read_teacher_table(path, NAMES, "text").probabilities, [[1 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (("text", "score"), ("good", 1), "found no probabilities; give one with these classes"),
        (("text", "p:neg"), ("good", 1), "classes of the data, 'neg', 'pos', found 'neg'"),
        (("text", "p:neg", "p:pos", "p:mixed"), ("good", 1, 0, 0), "found 'neg', 'pos', 'mixed'"),
        (("text", "p:0", "p:1"), ("good", 1, 0), "found '0', '1'"),
        (("text", "p:neg", "p:pos"), ("good", 0.9, 0.9), "row 1: expected probabilities from 0 to 1 that sum to 1"),
        (("text", "p:neg", "p:pos"), ("good", "nan", 0.9), "neg 'nan', pos '0.9'; correct the row"),
        (("text", "p:neg", "p:pos"), ("good", "", ""), "expected probabilities"),
        (("text", "p:neg", "p:pos"), ("good", "much", "none"), "expected probabilities"),
        (("text", "p:neg", "p:pos"), ("good", -1.5, 2.5), "expected probabilities"),
        (("text", "p:neg", "p:pos"), ("", 0.5, 0.5), "expected texts with probabilities, found none"),
        (("p:neg", "p:pos"), (0.5, 0.5), "expected a column 'text'"),
    ],
)
def test_faults(tmp_path, header, row, message):
    with pytest.raises(DatasetError, match=message):
        read_teacher_table(table(tmp_path / "a.csv", [row], header), NAMES, "text")


def test_a_number_too_large_for_a_float_is_a_fault(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "good", "p:neg": 1%s, "p:pos": 0}' % ("0" * 400))
    with pytest.raises(DatasetError, match="row 1: expected probabilities from 0 to 1"):
        read_teacher_table(tmp_path / "a.jsonl", NAMES, "text")
