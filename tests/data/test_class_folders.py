"""Names of class folders: encoded where a file system needs it, and decoded without loss."""

import random

import pytest

from textclf.data.class_folders import NAME_FILE, class_folder, class_of_folder, make_class_folder
from textclf.labels import OTHER_LABEL


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("neg", "neg"),
        ("world news", "world news"),
        ("負面", "負面"),
        ("C/C++", "C%2FC++"),
        ("billing: refund", "billing%3A refund"),
        ("a\\b", "a%5Cb"),
        ("50%", "50%25"),
        (".NET", "%2ENET"),
        ("..", "%2E%2E"),
        ("etc.", "etc%2E"),
        ("why?", "why%3F"),
        ("unsup", "%75nsup"),
        ("Unsup", "%55nsup"),
        ("__MACOSX", "%5F_MACOSX"),
        (OTHER_LABEL, OTHER_LABEL),
    ],
)
def test_a_class_name_and_its_folder(tmp_path, name, folder):
    assert class_folder(tmp_path, name) == tmp_path / folder
    assert class_of_folder(make_class_folder(tmp_path, name)) == name
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize("folder", ["50%", "a%b", "C%2fC++", "%41", "100%zz", "%FF", "a%~0123456789abcdef"])
def test_a_folder_that_is_not_encoded_keeps_its_name(folder):
    assert class_of_folder(f"/data/train/{folder}") == folder


def test_random_names_are_decoded_without_loss_and_stay_in_the_folder(tmp_path):
    chars = random.Random(1)  # noqa: S311
    for _ in range(3000):
        name = "".join(chars.choices("a.% /\\:~5%2Fé😀unsp", k=chars.randint(1, 8)))
        folder = class_folder(tmp_path, name)
        assert class_of_folder(folder) == name
        assert folder.parent == tmp_path
        assert folder.name not in (".", "..", "unsup")
        assert not folder.name.startswith(".")


@pytest.mark.parametrize("name", ["負" * 200, "/" * 200, "ж" * 199 + "a", "a" * 199 + "é" * 60])
def test_a_long_name_is_cut_and_kept_in_a_file(tmp_path, name):
    folder = make_class_folder(tmp_path / "train", name)
    assert len(folder.name.encode()) <= 255
    assert class_of_folder(folder) == name
    assert (folder / NAME_FILE).read_text(encoding="utf-8") == name
    assert make_class_folder(tmp_path / "train", name) == folder
    other = make_class_folder(tmp_path / "train", f"{name[:-1]}x")
    assert other != folder
    assert class_of_folder(other) == f"{name[:-1]}x"


def test_the_file_of_a_name_is_not_trusted(tmp_path):
    folder = tmp_path / "x%~0123456789abcdef"
    folder.mkdir()
    for content in ("pos", "", "a" * 300):
        (folder / NAME_FILE).write_text(content)
        assert class_of_folder(folder) == folder.name
    long = make_class_folder(tmp_path, "a" * 300)
    with open(long / NAME_FILE, "ab") as file:
        file.truncate(2**40)  # Reading it whole would need a terabyte.
    assert class_of_folder(long) == long.name
