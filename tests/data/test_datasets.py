"""Data sets in every layout: the same texts, clean splits, one fingerprint, and errors that name the file."""

import csv
import gzip
import json
import os
import shutil
from collections import Counter
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_bert import vocabulary

from textclf.config import DataOptions
from textclf.data.class_folders import make_class_folder
from textclf.data.dataset_report import dataset_report
from textclf.data.dataset_summary import warnings_of
from textclf.data.datasets import load_dataset
from textclf.data.splits import hold_out, text_digest
from textclf.errors import DatasetError
from textclf.tokenization.text_key import TextKeys
from textclf.tokenization.tokenizer import Tokenizer


def rows(part, n=30, classes=("neg", "pos")):
    return [(f"{part} text {i} of {name}", name) for name in classes for i in range(n)]


def write_folders(folder, pairs):
    counts = Counter()
    for text, label in pairs:
        counts[label] += 1
        path = folder / label / f"{counts[label]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def write_table(path, pairs, columns=("text", "label")):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(dict(zip(columns, map(list, zip(*pairs, strict=True)), strict=True))), path)
        return path
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as file:
        if ".jsonl" in path.name:
            file.writelines(json.dumps(dict(zip(columns, pair, strict=True))) + "\n" for pair in pairs)
        else:
            csv.writer(file).writerows([columns, *pairs])
    return path


def write_root(root, train=None, test=None):
    write_folders(root / "train", rows("train") if train is None else train)
    write_folders(root / "test", rows("test", 10) if test is None else test)
    return root


def pairs_of(split, dataset):
    return sorted((text, dataset.class_names[label]) for text, label in zip(split.texts, split.labels, strict=True))


def sizes(dataset):
    return {name: len(split) for name, split in dataset.splits.items()}


FULL = {"train": 48, "validation_select": 6, "validation_calibrate": 6, "test": 20}


def test_folders(tmp_path):
    dataset = load_dataset(write_root(tmp_path))
    assert dataset.class_names == ("neg", "pos")
    assert sizes(dataset) == FULL
    assert pairs_of(dataset.test, dataset) == sorted(rows("test", 10))
    fitted = [pairs_of(split, dataset) for name, split in dataset.splits.items() if name != "test"]
    assert sorted(chain(*fitted)) == sorted(rows("train"))
    for split in dataset.splits.values():
        assert split.labels.dtype == np.int32
        assert np.bincount(split.labels).tolist() == [len(split) // 2] * 2
    assert dataset.source == tmp_path
    assert dataset.counts.train_read == 60
    assert dataset.counts.test_read == 20


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".ndjson", ".jsonl.gz", ".parquet"])
def test_tables_give_the_same_as_folders(tmp_path, suffix):
    folders = load_dataset(write_root(tmp_path / "folders"))
    if suffix == ".ndjson":
        write_table(tmp_path / "set" / "x.jsonl", rows("train")).rename(tmp_path / "set" / "train.ndjson")
    else:
        write_table(tmp_path / "set" / f"train{suffix}", rows("train"))
    write_table(tmp_path / "set" / "test.csv", rows("test", 10))
    tables = load_dataset(tmp_path / "set")
    assert tables.fingerprint == folders.fingerprint
    assert tables.train.texts == folders.train.texts


def test_every_way_to_name_the_same_set(tmp_path):
    root = write_root(tmp_path / "outer" / "inner")
    (tmp_path / "outer" / "README").write_text("read me")
    (tmp_path / "outer" / ".hidden").mkdir()
    (tmp_path / "outer" / "__MACOSX").mkdir()
    outer, train, test = tmp_path / "outer", root / "train", root / "test"
    ways = [(root, None), (outer, None), (train, None), (str(root), str(root)), (outer, outer), (train, test)]
    ways += [(train, root), (root, test)]
    assert {load_dataset(*way).fingerprint for way in ways} == {load_dataset(root).fingerprint}


def test_train_table_finds_the_test_table_beside_it(tmp_path):
    write_table(tmp_path / "train.csv", rows("train"))
    write_table(tmp_path / "test.jsonl", rows("test", 10))
    assert sizes(load_dataset(tmp_path / "train.csv")) == FULL


def test_parts_from_two_places(tmp_path):
    root = write_root(tmp_path / "root")
    other = write_table(tmp_path / "other.csv", rows("other", 5))
    assert pairs_of((dataset := load_dataset(root, other)).test, dataset) == sorted(rows("other", 5))
    folders = write_folders(tmp_path / "folders", rows("third", 4))
    assert sizes(load_dataset(root, folders))["test"] == 8
    assert sizes(load_dataset(root / "test", root / "train")) == {
        "train": 16,
        "validation_select": 2,
        "validation_calibrate": 2,
        "test": 60,
    }


@pytest.mark.parametrize("kind", ["table", "folder with a table", "class folders", "train only", "both the same"])
def test_without_a_test_part_one_is_held_out(tmp_path, kind):
    pairs = rows("all", 50)
    match kind:
        case "table":
            source = write_table(tmp_path / "all.csv", pairs)
        case "folder with a table":
            source = write_table(tmp_path / "set" / "all.csv", pairs).parent
        case "train only":
            source = write_folders(tmp_path / "train", pairs)
        case _:
            source = write_folders(tmp_path / "set", pairs)
    dataset = load_dataset(source, source if kind == "both the same" else None)
    assert sizes(dataset) == {"train": 64, "validation_select": 8, "validation_calibrate": 8, "test": 20}
    assert sorted(chain(*(pairs_of(split, dataset) for split in dataset.splits.values()))) == sorted(pairs)
    assert dataset.counts.in_test is None
    assert dataset.counts.test_read is None


def test_held_out_test_is_dropped_where_it_is_not_to_be_read(tmp_path):
    source = write_table(tmp_path / "all.csv", rows("all", 50))
    unread = load_dataset(source, options=DataOptions(read_test=False))
    assert sizes(unread) == {"train": 64, "validation_select": 8, "validation_calibrate": 8}
    assert unread.test is None
    assert unread.train.texts == load_dataset(source).train.texts


def test_unread_test_part_is_not_even_opened(tmp_path):
    root = write_root(tmp_path, train=[*rows("train"), ("test text 0 of neg", "neg")])
    for path in (root / "test" / "neg").iterdir():
        path.write_bytes(b"\xff")
    dataset = load_dataset(root, options=DataOptions(read_test=False))
    assert dataset.test is None
    assert (dataset.counts.test_read, dataset.counts.in_test, dataset.counts.test_duplicates) == (None, None, None)
    assert sum(sizes(dataset).values()) == 61


def test_duplicates_conflicts_and_leaks(tmp_path):
    train = [*rows("train"), ("twice", "neg"), ("twice", "neg"), ("twice\n", "neg"), ("torn", "neg"), ("torn", "pos")]
    train += [("known", "neg"), (" known ", "pos")]
    test = [*rows("test", 10), ("known", "pos"), ("known", "pos")]
    dataset = load_dataset(write_root(tmp_path, train, test))
    counts = dataset.counts
    assert (counts.train_read, counts.test_read) == (67, 22)
    assert (counts.duplicates, counts.conflicts, counts.in_test, counts.test_duplicates) == (2, 2, 2, 1)
    fitted = [text.strip() for name, split in dataset.splits.items() if name != "test" for text in split.texts]
    assert len(fitted) == len(set(fitted)) == 61
    assert fitted.count("twice") == 1
    assert not {"torn", "known"} & set(fitted)
    assert list(dataset.test.texts).count("known") == 2


# Each is another text to a computer, and the same text to an uncased model.
DISGUISES = [str.upper, str.title, lambda text: text.replace(" ", "  "), lambda text: text.replace(" ", "\u00a0")]
DISGUISES += [
    lambda text: text.replace("e", "e\u200b"),
    lambda text: text.replace("e", "e\u0301"),
    "\u00ad{}\x00".format,
]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_training_part_is_no_test_part(tmp_path, disguise):
    """The model would be tested on the texts that it was trained on."""
    disguised = [(disguise(text), label) for text, label in rows("train")]
    with pytest.raises(DatasetError, match=r"'neg' has 0, 'pos' has 0 \(left out: 60 that are in the test part\)"):
        load_dataset(write_root(tmp_path / "all", rows("train"), disguised))
    # Many copies are worth a warning.
    dataset = load_dataset(write_root(tmp_path / "some", rows("train"), [*disguised[:9], *rows("test", 10)]))
    assert dataset.counts.in_test == 9
    assert any("9 of 60 training texts are also in the test part (29 texts)" in said for said in warnings_of(dataset))
    few = load_dataset(write_root(tmp_path / "few", rows("train"), [disguised[0], *rows("test", 10)]))
    assert (few.counts.in_test, [said for said in warnings_of(few) if "also in" in said]) == (1, [])


@pytest.mark.parametrize("disguise", DISGUISES)
def test_disguised_duplicates_and_contradictions(tmp_path, disguise):
    twice, torn = rows("train")[0], rows("train")[-1]
    train = [*rows("train"), (disguise(twice[0]), twice[1]), (disguise(torn[0]), "neg")]
    test = [*rows("test", 10), *((disguise(text), label) for text, label in rows("test", 10)[:3])]
    counts = load_dataset(write_root(tmp_path, train, test)).counts
    assert (counts.duplicates, counts.conflicts, counts.in_test, counts.test_duplicates) == (1, 2, 0, 3)


def test_many_contradictions_are_worth_a_warning(tmp_path):
    torn = [(text.upper(), "pos") for text, _ in rows("train")[:9]]
    dataset = load_dataset(write_table(tmp_path / "all.csv", [*rows("train"), *torn]))
    assert any("18 of 69 training texts occur with more than one label" in said for said in warnings_of(dataset))


def test_texts_are_equal_as_the_encoder_reads_them(tmp_path):
    """A cased encoder tells cases apart; a vocabulary cannot spell some words."""
    train = [*rows("train"), (rows("train")[0][0].upper(), "neg"), ("good \u2603", "neg"), ("good \u2602", "neg")]
    root = write_root(tmp_path, train)
    cased = load_dataset(root, text_keys=TextKeys(Tokenizer(vocabulary(), lower_case=False, max_length=8)))
    uncased = load_dataset(root, text_keys=TextKeys(Tokenizer(vocabulary(), lower_case=True, max_length=8)))
    assert (cased.counts.duplicates, uncased.counts.duplicates, load_dataset(root).counts.duplicates) == (1, 2, 1)


def test_an_encoder_of_another_language_is_named_as_the_reason(tmp_path):
    """With this vocabulary every sign is [UNK], so that signs of both classes are one text."""
    signs = [(chr(0x2600 + i), "neg" if i % 2 else "pos") for i in range(20)]
    keys = TextKeys(Tokenizer(vocabulary(), lower_case=True, max_length=8))
    dataset = load_dataset(write_root(tmp_path / "some", [*rows("train"), *signs]), text_keys=keys)
    assert dataset.counts.conflicts == 20
    assert any("19 training texts differ from another one only in words" in note for note in dataset.notes)
    with pytest.raises(DatasetError, match="19 that differ from another one only in words that the vocabulary"):
        load_dataset(write_table(tmp_path / "signs.csv", signs), text_keys=keys)
    assert load_dataset(tmp_path / "some").notes == ()


def test_an_earlier_version_compared_characters(tmp_path):
    root = write_root(tmp_path, [*rows("train"), *((text.upper(), label) for text, label in rows("train")[:4])])
    recorded = {name: value for name, value in DataOptions().to_dict().items() if name != "equal_texts"}
    earlier = load_dataset(root, options=DataOptions.from_record(recorded))
    now = load_dataset(root, options=DataOptions.from_record(DataOptions().to_dict()))
    assert (earlier.counts.duplicates, now.counts.duplicates) == (0, 4)


def test_blank_texts_and_other_files(tmp_path):
    root = write_root(
        tmp_path, [*rows("train"), ("", "neg"), (" \n\t", "pos")], [*rows("test", 10), ("\u3000\u200b\x00", "neg")]
    )
    write_folders(root / "train", [("no label", "unsup")] * 3)
    (root / "train" / "neg" / ".hidden.txt").write_text("hidden")
    (root / "train" / "neg" / "notes.md").write_text("notes")
    (root / "train" / "neg" / "folder.txt").mkdir()
    (root / "train" / "labeledBow.feat").write_text("0:1")
    (root / "train" / ".git").mkdir()
    dataset = load_dataset(root)
    assert dataset.class_names == ("neg", "pos")
    assert (dataset.counts.empty, dataset.counts.unlabelled, dataset.counts.ignored) == (3, 3, 2)
    assert sizes(dataset) == FULL


def test_texts_of_no_class_are_never_trained_on(tmp_path):
    other = [(f"neither {at}", "(other)") for at in range(5)]
    folders = write_root(tmp_path / "folders", [*rows("train"), *other])
    (folders / "test" / "(other)").mkdir()
    for dataset in (load_dataset(folders), load_dataset(write_table(tmp_path / "all.csv", [*rows("all"), *other]))):
        assert dataset.class_names == ("neg", "pos")
        assert dataset.counts.unlabelled == 5
        assert not any(text.startswith("neither") for split in dataset.splits.values() for text in split.texts)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_null_text_counts_as_blank(tmp_path, suffix):
    dataset = load_dataset(write_table(tmp_path / f"all{suffix}", [*rows("all"), (None, "pos")]))
    assert dataset.counts.empty == 1


def test_byte_order_mark_is_no_part_of_a_text(tmp_path):
    write_folders(tmp_path, [*rows("all"), (b"\xef\xbb\xbfmarked", "neg")])
    texts = {text for split in load_dataset(tmp_path).splits.values() for text in split.texts}
    assert "marked" in texts


@pytest.mark.parametrize("kind", ["folder", "csv", "jsonl"])
def test_texts_that_are_not_utf8(tmp_path, kind):
    if kind == "folder":
        write_folders(tmp_path, [*rows("all"), (b"caf\xe9", "neg")])
        named = "31.txt: not UTF-8"
    else:
        path = write_table(tmp_path / f"all.{kind}", [*rows("all"), ("caf@", "neg")])
        path.write_bytes(path.read_bytes().replace(b"caf@", b"caf\xe9"))
        named = r"row 61 \(line 6\d\): not UTF-8"
    with pytest.raises(DatasetError, match=f"{named}.*--encoding cp1252.*--skip-bad"):
        load_dataset(tmp_path)
    dataset = load_dataset(tmp_path, options=DataOptions(skip_undecodable=True))
    assert dataset.counts.undecodable == 1
    assert sum(sizes(dataset).values()) == 60


BAD_LINES = ["one field", '"open,pos', "a,b,neg", "no label,", "warm and\rlovely,pos", "\u00a0,pos", "\u200b\u00ad,neg"]


def test_bad_rows_are_left_out_and_counted_by_reason(tmp_path):
    path = write_table(tmp_path / "all.csv", rows("all"))
    with open(path, "a", newline="") as file:
        file.write("\n".join([*BAD_LINES, ""]))
    with pytest.raises(DatasetError, match=r"found 5 bad rows: wrong number of fields \(2\), .*--skip-bad$") as refused:
        load_dataset(path)
    assert all(f"row {number}" in str(refused.value) for number in range(61, 66))
    dataset = load_dataset(path, options=DataOptions(skip_bad=True))
    reasons = {"field_count": 2, "quotes": 1, "missing_label": 1, "carriage_return": 1}
    assert (dataset.counts.bad_rows, dataset.counts.undecodable, dataset.counts.empty) == (reasons, 0, 2)
    assert sum(sizes(dataset).values()) == 60
    assert dataset.counts.bad_places[0] == f"{path}, row 61 (line 62): wrong number of fields"
    assert len(dataset.counts.bad_places) == 5
    (note,) = dataset.notes
    assert note.startswith("Bad rows, left out: wrong number of fields (2), ")


def test_bad_rows_of_several_files_are_listed_with_their_files(tmp_path):
    for name, number in (("a.csv", 5), ("b.csv", 3)):
        path = write_table(tmp_path / "train" / name, rows(name))
        with open(path, "a") as file:
            file.write("no label,\n" * number)
    with pytest.raises(DatasetError, match=r"^found 8 bad rows: no label") as refused:
        load_dataset(tmp_path)
    assert str(refused.value).count("a.csv, row") == 5
    (tmp_path / "train" / "b.csv").unlink()
    with pytest.raises(DatasetError, match=r"^\S*a\.csv: found 5 bad rows") as refused:
        load_dataset(tmp_path)
    assert str(refused.value).count("a.csv") == 1


def test_undecodable_files_are_listed(tmp_path):
    root = write_root(tmp_path)
    for name in ("a.txt", "b.txt"):
        (root / "train" / "pos" / name).write_bytes(b"\xff")
    with pytest.raises(DatasetError, match=r"^found 2 bad rows") as refused:
        load_dataset(root)
    assert all(str(refused.value).count(name) == 1 for name in ("a.txt", "b.txt"))


def test_a_table_without_a_good_row_is_an_error_with_the_reason(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("text,label\none\ntwo\n")
    with pytest.raises(DatasetError, match=r"found 2 bad rows: wrong number of fields \(2\)"):
        load_dataset(path, options=DataOptions(skip_bad=True))


def test_the_columns_that_are_read_are_told(tmp_path):
    path = write_table(tmp_path / "all.csv", rows("all"), columns=("Review", "sentiment"))
    dataset = load_dataset(path)
    assert dataset.notes == ("all.csv: texts from the column 'Review' and labels from the column 'sentiment'.",)
    assert dataset.class_names == ("neg", "pos")


def test_another_encoding_of_tables_and_text_files(tmp_path):
    texts = [(f"{text} très bien".encode("cp1252"), label) for text, label in rows("all")]
    write_folders(tmp_path / "folders", texts)
    (tmp_path / "all.csv").write_bytes(
        b"text,label\n" + b"".join(b"%s,%s\n" % (text, label.encode()) for text, label in texts)
    )
    for source in ("folders", "all.csv"):
        dataset = load_dataset(tmp_path / source, options=DataOptions(encoding="latin-1"))
        assert all("très" in text for split in dataset.splits.values() for text in split.texts)


def test_skip_undecodable_skips_nothing_else(tmp_path):
    path = write_table(tmp_path / "all.csv", rows("all"))
    path.write_text(path.read_text() + "one field\n")
    with pytest.raises(DatasetError, match=r"row 61 .*expected 2 fields"):
        load_dataset(path, options=DataOptions(skip_undecodable=True))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_whole_numbers_are_labels(tmp_path, suffix):
    pairs = [(text, int(label == "pos")) for text, label in rows("all")]
    assert load_dataset(write_table(tmp_path / f"all{suffix}", pairs)).class_names == ("0", "1")


@pytest.mark.parametrize("label", [None, ["pos"], "", float("nan")])
def test_other_labels_are_refused(tmp_path, label):
    path = write_table(tmp_path / "all.jsonl", [*rows("all", 4), ("text", label)])
    with pytest.raises(DatasetError, match=r"all.jsonl, row 9: expected a text, a number or a truth value in 'label'"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ([("train.csv", "0", "1"), ("test.csv", "0.0", "1.0")], ("0", "1")),
        ([("train.parquet", 0.0, 1.0), ("test.jsonl", 0, 1)], ("0", "1")),
        ([("train.jsonl", False, True), ("test.csv", "FALSE", "True")], ("false", "true")),
        ([("train.csv", "__label__neg", "__label__pos"), ("test.csv", "Neg", "POS ")], ("neg", "pos")),
    ],
)
def test_parts_in_other_formats_have_equal_labels(tmp_path, kinds, names):
    for path, *labels in kinds:
        part = path.partition(".")[0]
        pairs = [(text, labels[label == "pos"]) for text, label in rows(part)]
        write_table(tmp_path / path, pairs)
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == names
    assert np.bincount(dataset.test.labels).tolist() == [30, 30]
    changed = {change.name for change in dataset.counts.normalised_labels}
    assert changed == set(names)
    assert sum(change.texts for change in dataset.counts.normalised_labels) in (60, 120)


def test_spellings_of_a_class_are_merged_and_reported(tmp_path):
    pairs = [(text, label if index % 3 else label.title()) for index, (text, label) in enumerate(rows("all", 30))]
    dataset = load_dataset(write_table(tmp_path / "all.csv", pairs))
    assert dataset.class_names == ("neg", "pos")
    changes = {(change.read, change.name): change.texts for change in dataset.counts.normalised_labels}
    assert changes == {("Neg", "neg"): 10, ("Pos", "pos"): 10}


def test_the_names_of_an_earlier_version_have_the_last_word(tmp_path):
    path = write_table(tmp_path / "all.csv", rows("all", 30, ("False", "True")))
    assert load_dataset(path).class_names == ("false", "true")
    before = load_dataset(path, spellings=("False", "True"))
    assert before.class_names == ("False", "True")
    assert before.counts.normalised_labels == ()


def test_class_folders_with_escaped_names(tmp_path):
    for name in ("C/C++", "unsup", "Java", "50%"):
        for index in range(6):
            path = make_class_folder(tmp_path, name) / f"{index}.txt"
            path.write_text(f"text {index} about {name}")
    assert load_dataset(tmp_path).class_names == ("50%", "C/C++", "Java", "unsup")


def test_text_that_is_a_number(tmp_path):
    path = write_table(tmp_path / "all.jsonl", [(7, "pos"), *rows("all")])
    with pytest.raises(DatasetError, match=r"row 1: expected a string in 'text', got 7"):
        load_dataset(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_columns(tmp_path, suffix):
    path = write_table(tmp_path / f"all{suffix}", rows("all"), columns=("opinion", "points"))
    with pytest.raises(DatasetError, match=r"expected a column 'text', found 'opinion', 'points'.*--text-column"):
        load_dataset(path)
    dataset = load_dataset(path, options=DataOptions(text_column="opinion", label_column="points"))
    assert dataset.class_names == ("neg", "pos")


def test_label_that_is_not_allowed_leads_to_its_remedy(tmp_path):
    long = "b" * 201
    path = write_table(tmp_path / "all.csv", rows("all", classes=("a", long)))
    with pytest.raises(DatasetError, match=rf"found 1 that is not allowed; .* --rename-label {long}=b{{200}}$"):
        load_dataset(path)
    assert load_dataset(path, options=DataOptions(rename_labels={long: "b"})).class_names == ("a", "b")


def test_renaming_merges_and_refuses_what_is_not_there(tmp_path):
    root = write_root(tmp_path, rows("train", 9, ("1", "2", "5")), rows("test", 3, ("1", "2", "5")))
    dataset = load_dataset(root, options=DataOptions(rename_labels={"1": "low", "2": "low"}))
    assert dataset.class_names == ("5", "low")
    assert np.bincount(dataset.test.labels).tolist() == [3, 6]
    with pytest.raises(DatasetError, match="--rename-label names '3', which is not a label"):
        load_dataset(root, options=DataOptions(rename_labels={"3": "low"}))


def test_unknown_test_label(tmp_path):
    root = write_root(tmp_path, test=[*rows("test"), ("odd", "neutral")])
    with pytest.raises(DatasetError, match=r"test: expected the labels .*'neg', 'pos', found 1 other; ") as refused:
        load_dataset(root)
    assert "--rename-label neutral=CLASS" in str(refused.value)
    assert load_dataset(root, options=DataOptions(rename_labels={"neutral": "pos"})).counts.test_read == 61


def test_a_class_is_suggested_only_for_words(tmp_path):
    for classes, unknown, suggested in (
        (("1", "2", "3"), "10", "CLASS"),
        (("n", "p"), "pos", "CLASS"),
        (("neg", "pos"), "Po", "CLASS"),
        (("neg", "pos"), "__label__NEGATIVE", "neg"),
        (("negative", "neutral"), "neg", "negative"),
    ):
        root = write_root(tmp_path / unknown, rows("train", 9, classes), [*rows("test", 9, classes), ("odd", unknown)])
        with pytest.raises(DatasetError, match=f"--rename-label {unknown}={suggested}$"):
            load_dataset(root)


def test_other_names_in_the_test_part_are_listed_with_their_classes(tmp_path):
    root = write_root(tmp_path, test=rows("test", 9, ("negative", "1")))
    with pytest.raises(DatasetError, match=r"--rename-label 1=CLASS --rename-label negative=neg$"):
        load_dataset(root)
    unread = DataOptions(rename_labels={"negative": "neg", "1": "pos"}, read_test=False)
    assert load_dataset(root, options=unread).test is None


def test_empty_class_folder(tmp_path):
    root = write_root(tmp_path)
    (root / "train" / "neutral").mkdir()
    with pytest.raises(DatasetError, match=r"neutral: expected \.txt files in the folder of the class 'neutral'"):
        load_dataset(root)


def test_class_of_blank_texts_does_not_vanish(tmp_path):
    root = write_root(tmp_path, [*rows("train"), ("", "neutral")])
    with pytest.raises(DatasetError, match="'neutral' has 0"):
        load_dataset(root)


@pytest.mark.parametrize("pairs", [[("a", "pos"), ("b", "pos")], []])
def test_one_class_or_none(tmp_path, pairs):
    write_folders(tmp_path / "test", rows("test"))
    (tmp_path / "train").mkdir()
    write_folders(tmp_path / "train", pairs)
    with pytest.raises(DatasetError, match="at least two classes"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(("with_test", "needed"), [(True, 3), (False, 4)])
def test_smallest_class_that_fits(tmp_path, with_test, needed):
    train = [*rows("train"), *rows("few", needed - 1, ("few",)), ("few text 0 of few", "few")]
    write_folders(tmp_path / "train", train)
    if with_test:
        write_folders(tmp_path / "test", rows("test"))
    with pytest.raises(DatasetError, match=f"at least {needed} distinct training texts .*'few' has {needed - 1}"):
        load_dataset(tmp_path)
    write_folders(tmp_path / "train", [*train, ("one more", "few")])
    dataset = load_dataset(tmp_path)
    counts = {name: int((split.labels == 0).sum()) for name, split in dataset.splits.items()}
    assert counts == {"train": 1, "validation_select": 1, "validation_calibrate": 1, "test": 0 if with_test else 1}


@pytest.mark.parametrize("val_split", [0.01, 0.99])
def test_extreme_shares_leave_something_everywhere(tmp_path, val_split):
    dataset = load_dataset(write_root(tmp_path), options=DataOptions(val_split=val_split))
    assert all(np.all(np.bincount(split.labels, minlength=2) >= 1) for split in dataset.splits.values())


@pytest.mark.parametrize("name", ["nothing", "empty", "several", "two trains", "only test", "notes.txt"])
def test_not_a_data_set(tmp_path, name):
    source = tmp_path / name
    match name:
        case "empty":
            source.mkdir()
        case "several":
            write_table(source / "a.csv", rows("a"))
            write_table(source / "b.csv", rows("b"))
        case "two trains":
            write_table(source / "train.csv", rows("a"))
            write_folders(source / "train", rows("a"))
        case "only test":
            write_folders(source / "test", rows("a"))
        case "notes.txt":
            source.write_text("notes")
    with pytest.raises(DatasetError, match=f"{name}: expected"):
        load_dataset(source)


def test_order_of_files_and_place_make_no_difference(tmp_path):
    train, test = [*rows("train"), ("twice", "neg"), ("twice ", "neg")], rows("test", 10)
    first = load_dataset(write_root(tmp_path / "first", train, test))
    train = [train[i] for i in np.random.default_rng(4).permutation(len(train))]
    second = load_dataset(write_root(tmp_path / "second", train, test[::-1]))
    assert first.fingerprint == second.fingerprint
    assert first.train.texts == second.train.texts
    assert first.validation_select.texts == second.validation_select.texts


def test_fingerprint_changes_with_text_label_split_and_names(tmp_path):
    base = load_dataset(write_root(tmp_path / "base")).fingerprint
    one = rows("train")
    text = load_dataset(write_root(tmp_path / "text", [("changed", "neg"), *one[1:]])).fingerprint
    label = load_dataset(write_root(tmp_path / "label", [(one[0][0], "pos"), *one[1:]])).fingerprint
    names = load_dataset(tmp_path / "base", options=DataOptions(rename_labels={"neg": "bad"})).fingerprint
    seed = load_dataset(tmp_path / "base", options=DataOptions(split_seed=1)).fingerprint
    unread = load_dataset(tmp_path / "base", options=DataOptions(read_test=False)).fingerprint
    assert len({base, text, label, names, seed, unread}) == 6
    assert base == load_dataset(shutil.copytree(tmp_path / "base", tmp_path / "copy")).fingerprint


def test_golden_split(tmp_path):
    """Splits must not change from release to release: versions are compared on them."""
    dataset = load_dataset(write_root(tmp_path))
    assert dataset.fingerprint == "aaf917f7710bb8c035d6d97bedebda769ff23fbe1bdadaf02b6c3576a5c55eed"


def test_hold_out_is_stratified_and_exact():
    labels = np.repeat([0, 1, 2], [101, 57, 13]).astype(np.int32)
    digests = [text_digest(str(i)) for i in range(len(labels))]
    held = hold_out(digests, labels, 0.2, seed=0)
    assert held.sum() == round(0.2 * 171)
    assert np.bincount(labels[held]).tolist() == [20, 11, 3]
    order = np.random.default_rng(0).permutation(len(labels))
    assert np.array_equal(hold_out([digests[i] for i in order], labels[order], 0.2, seed=0), held[order])
    assert not np.array_equal(hold_out(digests, labels, 0.2, seed=1), held)


def test_hold_out_keeps_most_sides_when_texts_are_added():
    digests = [text_digest(str(i)) for i in range(1100)]
    labels = np.zeros(1100, np.int32)
    before = hold_out(digests[:1000], labels[:1000], 0.2, seed=0)
    after = hold_out(digests, labels, 0.2, seed=0)[:1000]
    assert (before != after).mean() < 0.03


def test_hold_out_refuses_a_class_that_is_too_small():
    with pytest.raises(ValueError, match="at least 4 texts"):
        hold_out([b"a", b"b"], np.array([0, 0]), 0.5, seed=0, min_held=2, min_rest=2)


def test_report(tmp_path):
    train = [*rows("train", 29), ("a b c d e f g h", "neg"), ("a b c d e f g h", "neg"), ("x " * 50, "pos")]
    dataset = load_dataset(write_root(tmp_path, train))
    report = dataset_report(dataset, lambda texts: np.array([len(text.split()) for text in texts]), max_length=10)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [split["texts"] for split in values["splits"]] == [48, 6, 6, 20]
    assert values["fingerprint"] == dataset.fingerprint
    assert values["duplicates"] == {"train": 1, "validation": None, "test": 0}
    assert max(split["lengths"]["maximum"] for split in values["splits"]) == 50
    test = values["splits"][3]
    assert test["classes"] == {"neg": 10, "pos": 10}
    assert test["lengths"] == {"minimum": 5, "median": 5, "mean": 5, "p95": 5, "maximum": 5, "over_limit": 0}
    text = str(report)
    for part in (dataset.fingerprint, "1 duplicates", "over 10", "24 (50.0%)", "validation_calibrate"):
        assert part in text
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_report_says_what_was_not_looked_for(tmp_path):
    dataset = load_dataset(write_root(tmp_path), options=DataOptions(read_test=False))
    text = str(dataset_report(dataset, lambda texts: np.ones(len(texts), int), max_length=10))
    assert "the other texts were not compared with it" in text
    assert "are in the test part" not in text


def test_links_to_folders_are_followed(tmp_path):
    write_folders(tmp_path / "texts", rows("all"))
    (tmp_path / "set").mkdir()
    for name in ("neg", "pos"):
        os.symlink(tmp_path / "texts" / name, tmp_path / "set" / name)
    assert sum(sizes(load_dataset(tmp_path / "set")).values()) == 60


def test_a_table_takes_no_folder_beside_it_for_its_test_part(tmp_path):
    """train.csv in a project that keeps its own tests in test/."""
    table = write_table(tmp_path / "train.csv", rows("train"))
    (tmp_path / "test" / "unit").mkdir(parents=True)
    (tmp_path / "test" / "unit" / "test_it.py").touch()
    data = load_dataset(table)
    assert data.counts.test_read is None
    assert len(data.test) == 12
