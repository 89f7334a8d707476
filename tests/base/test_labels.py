"""Which class names are allowed, their order, and what a person may type for one."""

import pytest

from textclf.errors import DatasetError, InputError
from textclf.labels import MAX_CLASS_NAME_CHARS, check_class_names, is_class_name, parse_label


class TestIsClassName:
    @pytest.mark.parametrize(
        "name",
        [
            "neg",
            "0",
            "C++",
            "C#",
            "sci_tech",
            "world news",
            "v1.2-beta",
            "größe",
            "負面",
            "हिन्दी",
            "cafe\u0301",
            "a" * MAX_CLASS_NAME_CHARS,
        ],
    )
    def test_allowed(self, name):
        assert is_class_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            " ",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "../up",
            " neg",
            "neg ",
            "a\tb",
            "a\nb",
            "a\0b",
            "a:b",
            "a,b",
            "$x",
            "unsup",
            "__MACOSX",
            "a" * (MAX_CLASS_NAME_CHARS + 1),
        ],
    )
    def test_refused(self, name):
        assert not is_class_name(name)

    def test_a_name_that_is_too_long_in_bytes_for_a_folder_is_refused(self, tmp_path):
        assert is_class_name("負" * 85)
        (tmp_path / ("負" * 85)).mkdir()
        assert not is_class_name("負" * 86)
        with pytest.raises(OSError, match="name too long"):
            (tmp_path / ("負" * 86)).mkdir()


class TestCheckClassNames:
    def test_distinct_and_sorted(self):
        assert check_class_names(["pos", "neg", "pos", "neutral"], "data") == ("neg", "neutral", "pos")

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["neg", "a/b"], r"reviews\.csv: the class name 'a/b' is not allowed"),
            (["neg", ".."], r"the class name '\.\.' is not allowed"),
            (["neg", "Neg", "pos"], "'Neg' and 'neg' differ only in case"),
            (["neg", "neg"], r"at least two classes, found \['neg'\]"),
            ([], "at least two classes, found none"),
        ],
    )
    def test_refused_with_the_source_named(self, names, message):
        with pytest.raises(DatasetError, match=message) as refused:
            check_class_names(names, "reviews.csv")
        assert str(refused.value).startswith("reviews.csv: ")


class TestParseLabel:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [("neg", "neg"), (" pos\n", "pos"), ("0", "neg"), ("1", "pos"), ("POS", "pos"), ("Neg", "neg")],
    )
    def test_two_classes(self, answer, expected):
        assert parse_label(answer, ["neg", "pos"]) == expected

    def test_a_class_called_1_is_that_class_and_not_the_second(self):
        assert parse_label("1", ["1", "2"]) == "1"

    @pytest.mark.parametrize(("answer", "names"), [("0", ["1", "2"]), ("0", ["-1", "1"]), ("1", ["0", "x"])])
    def test_no_id_stands_for_a_class_where_one_is_a_name(self, answer, names):
        with pytest.raises(InputError, match=f"expected one of {', '.join(names)} as the label"):
            parse_label(answer, names)

    def test_ids_are_not_labels_where_there_are_more_classes(self):
        with pytest.raises(InputError, match="expected one of a, b, c as the label, got '1'"):
            parse_label("1", ["a", "b", "c"])

    @pytest.mark.parametrize("answer", ["", "2", "-1", "positive", "neg pos"])
    def test_anything_else_is_refused(self, answer):
        with pytest.raises(InputError, match="expected one of neg, pos, 0 or 1"):
            parse_label(answer, ["neg", "pos"])
