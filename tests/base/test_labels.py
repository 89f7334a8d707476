"""Which class names are allowed, their order, and the options that rename the others."""

import shlex
import subprocess

import pytest

from textclf.errors import DatasetError
from textclf.labels import MAX_CLASS_NAME_CHARS, OTHER_LABEL, check_class_names, is_class_name, rename_options


class TestIsClassName:
    @pytest.mark.parametrize(
        "name",
        [
            "neg", "0", "C/C++", "C#", "N/A", "Q&A", "don't", "50%", "billing: refund", "a,b", "a=b", ".NET", "..",
            "unsup", "__MACOSX", "größe", "負面", "हिन्दी", "cafe\u0301", "\U0001f600", "\U0001f468\u200d\U0001f469",
            "$x$", "<b>", '"quoted"', "=1+1", "negative (very)",
            "a" * MAX_CLASS_NAME_CHARS, "負" * MAX_CLASS_NAME_CHARS,
        ],
    )  # fmt: skip
    def test_printable_names_are_allowed(self, name):
        assert is_class_name(name)

    @pytest.mark.parametrize(
        "name",
        ["", " ", " neg", "neg ", "a\tb", "a\nb", "a\0b", "a\u2028b", "a\udcffb", "\x7f", "a" * 201, OTHER_LABEL],
    )
    def test_other_names_are_refused(self, name):
        assert not is_class_name(name)


class TestCheckClassNames:
    def test_distinct_and_sorted(self):
        assert check_class_names(["pos", "neg", "pos", "neutral"], "data") == ("neg", "neutral", "pos")

    def test_an_error_names_all_problems_with_options_to_copy(self):
        with pytest.raises(DatasetError, match=r"^reviews\.csv: .* found 3 that are not allowed") as refused:
            check_class_names(["it's\nnew", "fine", "x=y" * 100, OTHER_LABEL], "reviews.csv")
        options = str(refused.value).partition("pass ")[2]
        words = subprocess.run(["bash", "-c", f"printf '%s\\0' {options}"], capture_output=True, text=True, check=True)
        flags, values = words.stdout.split("\0")[:-1:2], words.stdout.split("\0")[1::2]
        assert flags == ["--rename-label"] * 3
        pairs = [value.rpartition("=") for value in values]
        assert [old for old, _, _ in pairs] == [OTHER_LABEL, "it's\nnew", "x=y" * 100]
        assert all(is_class_name(new) for _, _, new in pairs)

    @pytest.mark.parametrize("names", [["neg", "neg"], []])
    def test_fewer_than_two_classes_are_refused(self, names):
        with pytest.raises(DatasetError, match=r"reviews\.csv: expected at least two classes"):
            check_class_names(names, "reviews.csv")


def test_many_rename_options_are_cut():
    options = rename_options([f"label {number}" for number in range(30)], ["CLASS"] * 30)
    assert options.endswith(" … and 10 more")
    assert shlex.split(options)[:2] == ["--rename-label", "label 0=CLASS"]
