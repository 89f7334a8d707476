"""Every part of a data set is read, named as unread, or an error."""

from pathlib import Path

import pytest

from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.datasets import load_dataset
from textclf.data.readers import read_part
from textclf.errors import DatasetError


def table(path: Path, word: str = "", count: int = 4) -> Path:
    """`count` texts of each class, with `word` (by default the name of the file) in each."""
    word = word or path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{word} {label} {i},{label}" for label in ("neg", "pos") for i in range(count)]
    path.write_text("\n".join(["text,label", *rows, ""]), encoding="utf-8")
    return path


def folders(part: Path, inner: str = "", count: int = 4) -> Path:
    for label in ("neg", "pos"):
        folder = part / label / inner
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.txt").write_text(f"{part.name} {label} {i}", encoding="utf-8")
    return part


def names(root: Path) -> dict[str, list[str]]:
    """Part to the names of its files and folders, and the unread ones."""
    layout = find_parts(root)
    paths = {"train": layout.train, "validation": layout.validation, "test": layout.test}
    found = {part: [path.name for path in paths] for part, paths in paths.items() if paths}
    unread = [entry.path.relative_to(root).as_posix() for entry in layout.unread]
    return found | ({"unread": unread} if unread else {})


@pytest.mark.parametrize(
    "files",
    [
        {"train": "train.csv", "test": "Test.csv"},
        {"train": "Training.csv", "test": "testing.csv"},
        {"train": "trn.csv", "validation": "dev.csv", "test": "tst.csv"},
        {"train": "train.csv", "validation": "valid.csv", "test": "TEST.jsonl"},
        {"train": "train.csv", "test": "eval.csv"},
        {"train": "train.csv", "validation": "eval.csv", "test": "test.csv"},
        {"train": "train.csv", "validation": "val.csv", "test": "evaluation.csv"},
        {"train": "reviews_train.csv", "test": "reviews_test.csv"},
        {"train": "train_data.csv", "validation": "validation_data.csv", "test": "test_data.csv"},
        {"train": "imdb.train.csv", "test": "imdb.test.csv"},
        {"train": "train-00000-of-00001.csv", "test": "test-00000-of-00001.csv"},
    ],
)
def test_tables_of_every_name(tmp_path, files):
    for name in files.values():
        table(tmp_path / name)
    assert names(tmp_path) == {part: [name] for part, name in files.items()}
    # The train part itself leads to the others.
    layout = find_parts(tmp_path / files["train"])
    assert [path.name for path in layout.paths] == list(files.values())


@pytest.mark.parametrize(
    ("train", "validation", "test"), [("train", "val", "test"), ("Train", "Validation", "TEST"), ("trn", "dev", "tst")]
)
def test_folders_of_every_name(tmp_path, train, validation, test):
    for name in (train, validation, test):
        folders(tmp_path / name)
    assert names(tmp_path) == {"train": [train], "validation": [validation], "test": [test]}


def test_shards_are_one_part_in_order(tmp_path):
    for i in (2, 0, 1):
        table(tmp_path / f"train-{i:05}-of-00003.csv", f"shard {i}")
    table(tmp_path / "test-00000-of-00001-a09b74b3ef9c3b56.csv")
    layout = find_parts(tmp_path)
    assert [path.name[6:11] for path in layout.train] == ["00000", "00001", "00002"]
    assert read_part(layout.train, DataOptions()).texts[::8] == ["shard 0 neg 0", "shard 1 neg 0", "shard 2 neg 0"]
    assert load_dataset(tmp_path).counts.train_read == 24


def test_a_missing_shard_is_an_error(tmp_path):
    for i in (0, 2):
        table(tmp_path / f"train-{i:05}-of-00003.csv")
    with pytest.raises(DatasetError, match=r"expected 3 files of the train part, found .*, without number 1; add the"):
        find_parts(tmp_path)
    assert find_parts(tmp_path / "train-00002-of-00003.csv").train == (tmp_path / "train-00002-of-00003.csv",)


def test_numbered_files_are_one_part(tmp_path):
    for name in ("train_1.csv", "train_2.csv", "test_1.csv"):
        table(tmp_path / name)
    assert names(tmp_path) == {"train": ["train_1.csv", "train_2.csv"], "test": ["test_1.csv"]}
    (tmp_path / "train_1.csv").rename(tmp_path / "train_3.csv")
    with pytest.raises(DatasetError, match="without number 1"):
        find_parts(tmp_path)


def test_shards_without_the_name_of_a_part(tmp_path):
    for i in range(2):
        table(tmp_path / f"data-{i:05}-of-00002.csv")
    assert len(find_parts(tmp_path).train) == 2


def test_every_table_in_the_folder_of_a_part(tmp_path):
    for name in ("train/0000.csv", "train/0001.csv", "test/0000.csv"):
        table(tmp_path / name)
    (tmp_path / "train" / "notes.md").write_text("notes")
    assert names(tmp_path) == {"train": ["0000.csv", "0001.csv"], "test": ["0000.csv"], "unread": ["train/notes.md"]}
    assert len(find_parts(tmp_path / "train").train) == 2
    (tmp_path / "train" / "0000.csv").rename(tmp_path / "train" / "part-00000-of-00003.csv")
    (tmp_path / "train" / "0001.csv").rename(tmp_path / "train" / "part-00001-of-00003.csv")
    with pytest.raises(DatasetError, match="without number 2"):
        find_parts(tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        ("test.csv", "Test/"),
        ("test.csv", "Test.csv"),
        ("test.csv", "test.jsonl"),
        ("test.csv", "testing.csv"),
        ("test.csv", "test_1.csv"),
        ("val.csv", "dev.csv"),
        ("eval.csv", "test.csv", "val.csv"),
        ("train_1.csv",),
        ("test-00000-of-00002.csv", "test-00001-of-00002.jsonl"),
    ],
)
def test_a_part_that_is_there_twice_is_an_error(tmp_path, entries):
    for name in ("train.csv", *entries):
        if name.endswith("/"):
            folders(tmp_path / name)
        else:
            table(tmp_path / name)
    with pytest.raises(DatasetError, match=r"expected one \w+ part, found .*; give the path of the one to use"):
        find_parts(tmp_path)


def test_two_data_sets_in_a_folder_are_an_error(tmp_path):
    for name in ("imdb_train.csv", "imdb_test.csv", "yelp_train.csv", "yelp_test.csv"):
        table(tmp_path / name)
    with pytest.raises(DatasetError, match=r"expected one data set, found the train parts imdb_train.csv, yelp_train"):
        find_parts(tmp_path)
    layout = find_parts(tmp_path / "yelp_train.csv")
    assert [path.name for path in layout.paths] == ["yelp_train.csv", "yelp_test.csv"]


def test_data_sets_in_folders_are_not_classes(tmp_path):
    for language in ("de", "en"):
        folders(tmp_path / language / "train")
        folders(tmp_path / language / "test")
    with pytest.raises(DatasetError, match=r"expected a folder of texts for each class, found the data set .*de with"):
        find_parts(tmp_path)
    assert find_parts(tmp_path / "de").test == (tmp_path / "de" / "test",)


def test_classes_may_have_the_names_of_parts(tmp_path):
    for name in ("training", "testing", "dev", "consulting"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
    assert names(tmp_path) == {"train": [tmp_path.name]}
    assert load_dataset(tmp_path).class_names == ("consulting", "dev", "testing", "training")


def test_everything_else_is_named(tmp_path):
    table(tmp_path / "train.csv")
    table(tmp_path / "test_predictions.csv")
    table(tmp_path / "more.csv")
    folders(tmp_path / "holdout")
    for name in ("README.md", "test.xls", ".hidden"):
        (tmp_path / name).write_text("")
    unread = {entry.path.name: entry.reason for entry in find_parts(tmp_path).unread}
    assert unread == {
        "README.md": "not a table",
        "holdout": "no part has this name",
        "more.csv": "no part has this name",
        "test.xls": "not a test part of this data set, although its name has the word",
        "test_predictions.csv": "not a test part of this data set, although its name has the word",
    }


def test_files_next_to_class_folders_are_named(tmp_path):
    folders(tmp_path / "train")
    (tmp_path / "train" / "unsup").mkdir()
    (tmp_path / "train" / "urls.csv").write_text("url")
    (tmp_path / "train" / "neg" / "a.html").write_text("")
    (tmp_path / "train" / "neg" / "b.html").write_text("")
    unread = load_dataset(tmp_path).layout.unread
    assert [(entry.path.relative_to(tmp_path).as_posix(), entry.reason) for entry in unread] == [
        ("train/urls.csv", "not in a class folder"),
        ("train/neg", "2 files other than .txt, such as a.html"),
    ]


def test_a_folder_of_pictures_next_to_a_table_is_no_class(tmp_path):
    table(tmp_path / "reviews.csv")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_text("")
    assert names(tmp_path) == {"train": ["reviews.csv"], "unread": ["pictures"]}


def test_texts_in_subfolders_of_class_folders(tmp_path):
    flat = load_dataset(folders(tmp_path / "a" / "texts"))
    nested = load_dataset(folders(tmp_path / "b" / "texts", inner="2024/may"))
    assert nested.fingerprint == flat.fingerprint
    assert (nested.nested, flat.nested) == ({"neg": 4, "pos": 4}, {})


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    folders(tmp_path)
    (tmp_path / "neg" / "loop").symlink_to(tmp_path)
    assert load_dataset(tmp_path).counts.train_read == 8


def test_text_files_in_capitals(tmp_path):
    folders(tmp_path)
    (tmp_path / "neg" / "9.TXT").write_text("capitals")
    assert load_dataset(tmp_path).counts.train_read == 9


def test_a_data_set_in_several_folders_of_one(tmp_path):
    root = tmp_path / "a" / "b" / "c"
    table(root / "train.csv")
    table(root / "test.csv")
    assert find_parts(tmp_path) == find_parts(root)


def siblings(path: Path) -> tuple[list[str], list[str]]:
    """The names of the parts, and of the unread files, of a data set that is given by the path of its train part."""
    layout = find_parts(path)
    return [part.name for part in layout.paths], [entry.path.name for entry in layout.unread]


def test_a_folder_next_to_a_table_is_its_part(tmp_path):
    train = table(tmp_path / "train.csv")
    folders(tmp_path / "Test")
    assert siblings(train) == (["train.csv", "Test"], [])
    assert find_parts(train).test == find_parts(tmp_path).test


def test_a_folder_without_texts_next_to_a_table_is_named(tmp_path):
    train = table(tmp_path / "train.csv")
    (tmp_path / "test" / "unit").mkdir(parents=True)
    assert siblings(train) == (["train.csv"], ["test"])


def test_other_parts_next_to_a_named_file_are_named(tmp_path):
    for name in ("reviews.csv", "reviews_test.csv", "train.csv", "more.csv"):
        table(tmp_path / name)
    assert siblings(tmp_path / "reviews.csv") == (["reviews.csv"], ["reviews_test.csv", "train.csv"])
    assert siblings(tmp_path / "train.csv") == (["train.csv"], ["reviews_test.csv"])
    assert siblings(tmp_path / "more.csv") == (["more.csv"], ["reviews_test.csv", "train.csv"])


def test_other_parts_next_to_a_named_folder_are_named(tmp_path):
    train = folders(tmp_path / "train")
    table(tmp_path / "test" / "0.csv")
    (tmp_path / "test" / "notes.md").write_text("")
    table(tmp_path / "reviews_test.csv")
    assert siblings(train) == (["train", "0.csv"], ["reviews_test.csv", "notes.md"])


def test_unclear_parts_next_to_a_named_file_are_named(tmp_path):
    train = table(tmp_path / "train.csv")
    for name in ("test.csv", "testing.csv", "dev.csv"):
        table(tmp_path / name)
    assert siblings(train) == (["train.csv", "dev.csv"], ["test.csv", "testing.csv"])


def test_a_number_may_be_a_size(tmp_path):
    train = table(tmp_path / "train_100.csv")
    table(tmp_path / "test_100.csv")
    assert names(tmp_path) == {"train": ["train_100.csv"], "test": ["test_100.csv"]}
    assert siblings(train) == (["train_100.csv", "test_100.csv"], [])


@pytest.mark.parametrize("name", ["dataset_infos.json", "dataset_info.json", "state.json", "dataset-metadata.json"])
def test_files_about_the_data_set_are_no_tables(tmp_path, name):
    for part in ("train", "test"):
        table(tmp_path / "data" / f"{part}-00000-of-00001.csv")
    (tmp_path / name).write_text("{}")
    assert len(find_parts(tmp_path).paths) == 2
    (tmp_path / "data" / name).write_text("{}")
    unread = find_parts(tmp_path / "data").unread
    assert [(entry.path.name, entry.reason) for entry in unread] == [(name, "not a table")]


def test_links_to_folders_that_are_read_are_no_classes(tmp_path):
    root = folders(tmp_path / "texts")
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "pos")
    for label in ("other", "outside"):
        folders(tmp_path / label)
    (root / "linked").symlink_to(tmp_path / "outside" / "pos")
    dataset = load_dataset(root)
    assert dataset.class_names == ("linked", "neg", "pos")
    assert [entry.path.name for entry in dataset.layout.unread] == ["again", "loop"]


def test_texts_without_labels_in_any_case(tmp_path):
    folders(tmp_path)
    (tmp_path / "Unsup").mkdir()
    (tmp_path / "Unsup" / "1.txt").write_text("unlabelled")
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("neg", "pos")
    assert dataset.counts.unlabelled == 1


def test_a_blank_folder_name_is_an_error(tmp_path):
    folders(tmp_path)
    (tmp_path / " ").mkdir()
    (tmp_path / " " / "1.txt").write_text("text")
    with pytest.raises(DatasetError, match=r"found ' ', which is blank; rename the folder$"):
        load_dataset(tmp_path)
