"""How label columns, as they occur in practice, become class names."""

import decimal
import unicodedata

import pytest

from textclf.errors import InputError
from textclf.label_column import (
    LabelChange,
    describe_changes,
    label_key,
    label_text,
    match_labels,
    normal_form,
    parse_label,
    read_labels,
)
from textclf.labels import OTHER_LABEL


def names_of(values):
    """Class names of a column of training data, without missing labels."""
    counts = {}
    for value in values:
        if (label := label_text(value)) is not None:
            counts[label] = counts.get(label, 0) + 1
    return sorted(set(read_labels(counts).names.values()))


class TestLabelText:
    @pytest.mark.parametrize(
        "value",
        [None, "", " \t", "\u200b", float("nan"), decimal.Decimal("nan"), "__label__"],
    )
    def test_missing(self, value):
        assert label_text(value) is None

    @pytest.mark.parametrize(
        ("value", "text"),
        [(1, "1"), (1.0, "1.0"), (True, "true"), (False, "false"), (1e20, "100000000000000000000"), (" a ", " a ")],
    )
    def test_types(self, value, text):
        assert label_text(value) == text

    @pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a"])
    def test_other_types_are_refused(self, value):
        with pytest.raises(InputError, match="expected a text, a number or a truth value"):
            label_text(value)


class TestNormalForm:
    @pytest.mark.parametrize(
        ("spellings", "form"),
        [
            (["0", "0.0", "0.", "0.000", "-0", "+0", "0.000000000000000000e+00", " 0 ", "__label__0"], "0"),
            (["1", "+1", "1.0", "1.000000000000000000e+00"], "1"),
            (["-1", "-1.0"], "-1"),
            (["100", "100.0", "1.0e+02"], "100"),
            (["2.5", "2.5e+00"], "2.5"),
            (["true", "TRUE", "True", "__label__True"], "true"),
            (["priv\u00e9", "prive\u0301", "priv\u00e9\u200b", "\ufeffpriv\u00e9", "priv\u00e9\u00a0"], "priv\u00e9"),
            (["new york", "new\u00a0york", "new  york", "new\tyork"], "new york"),
        ],
    )
    def test_equal_spellings(self, spellings, form):
        assert {normal_form(spelling) for spelling in spellings} == {form}

    @pytest.mark.parametrize(
        "label", ["01", "007", "3.10", "1.2.3", "1,0", "1e5", "yes", "Pos", "-", "1/2", "\U0001f468\u200d\U0001f469"]
    )
    def test_codes_versions_and_words_stay(self, label):
        assert normal_form(label) == label

    def test_line_breaks_stay_so_that_they_are_refused(self):
        assert normal_form("a\nb") == "a\nb"

    def test_the_form_of_a_form_is_the_form(self):
        for label in ["__label____label__1.0", "é\u200b", "TRUE ", " -0.0"]:
            assert label_key(normal_form(label)) == label_key(normal_form(normal_form(label)))


class TestReadLabels:
    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ([0, "0", 0.0, "0.0", 1, "1.0"], ["0", "1"]),
            ([1, 2, "1", "2.0"], ["1", "2"]),
            (["1", 2.0, 3, "4.0", 5], ["1", "2", "3", "4", "5"]),
            ([True, "TRUE", "true", "False", False], ["false", "true"]),
            (["yes", "No", "no", "YES", "yes"], ["no", "yes"]),
            (["Pos", "pos", "pos", "POS", "neg"], ["neg", "pos"]),
            ([1.0, float("nan"), None, "", 0.0], ["0", "1"]),
            (["billing/refund", "billing/invoice", "Billing/Refund"], ["billing/invoice", "billing/refund"]),
            (["хорошо", "Плохо", "плохо", "плохо"], ["плохо", "хорошо"]),
            (["正面", "負面"], ["正面", "負面"]),
            (["__label__a", "__label__b"], ["a", "b"]),
        ],
    )
    def test_columns(self, values, names):
        assert names_of(values) == names

    def test_csv_json_and_parquet_give_equal_labels(self):
        columns = [["0", "1", "0.0"], [0, 1, 0], [0.0, 1.0, 0.0]]
        assert [names_of(column) for column in columns] == [["0", "1"]] * 3
        columns = [["True", "False"], ["TRUE", "FALSE"], [True, False]]
        assert [names_of(column) for column in columns] == [["false", "true"]] * 3

    def test_the_most_frequent_spelling_names_the_class_and_small_letters_break_ties(self):
        counts = {"POS": 2, "Pos": 5, "pos": 5, "neg": 1}
        for order in (counts, dict(reversed(counts.items()))):
            column = read_labels(order)
            assert set(column.names.values()) == {"pos", "neg"}
            assert column.changes == (LabelChange("Pos", "pos", 5), LabelChange("POS", "pos", 2))

    def test_renames_may_name_the_raw_or_the_normalised_spelling(self):
        for old in ("TRUE", "true", "True "):
            column = read_labels({"TRUE": 3, "False": 2}, {old: "good"})
            assert column.names["TRUE"] == "good"
            assert column.renamed == {old}
            assert [change.read for change in column.changes] == ["False"]

    def test_an_exact_rename_comes_before_an_equal_one(self):
        column = read_labels({"US": 1, "us": 1, "Us": 1}, {"US": "country", "us": "we"})
        assert column.names["US"] == "country"
        assert column.names["us"] == "we"
        assert column.renamed == {"US", "us"}

    def test_a_rename_of_a_label_that_does_not_occur_is_not_used(self):
        assert read_labels({"a": 1, "b": 1}, {"c": "d"}).renamed == frozenset()

    def test_given_spellings_have_the_last_word(self):
        column = read_labels({"true": 9, "FALSE": 1, "0": 1}, spellings=["True", "False", "0.0"])
        assert set(column.names.values()) == {"True", "False", "0.0"}
        assert len(set(read_labels({"A": 2, "a": 1}, spellings=["A", "a"]).names.values())) == 1

    def test_spellings_of_unicode_are_one_class(self):
        label = "privé"
        forms = {unicodedata.normalize(form, label): 1 for form in ("NFC", "NFD")}
        assert set(read_labels(forms).names.values()) == {label}


class TestMatchLabels:
    def test_exact_before_other_case(self):
        assert match_labels({"a": 1, "A": 1}, ["A", "a"]).names == {"a": "a", "A": "A"}
        assert match_labels({"NEG": 1}, ["neg", "pos"]).names == {"NEG": "neg"}

    @pytest.mark.parametrize("labels", [["0", "1"], ["0.0", "1.0"], ["0", "1", OTHER_LABEL]])
    def test_positions(self, labels):
        names = match_labels(dict.fromkeys(labels, 1), ["neg", "pos"]).names
        assert names == {label: OTHER_LABEL if label == OTHER_LABEL else ["neg", "pos"][float(label) == 1]
                         for label in labels}  # fmt: skip

    @pytest.mark.parametrize("labels", [["1", "5"], ["0", "1", "2"], ["1", "pos"], ["1"], ["1", OTHER_LABEL]])
    def test_numbers_are_positions_only_in_a_column_of_both(self, labels):
        assert "1" not in match_labels(dict.fromkeys(labels, 1), ["neg", "pos"]).names

    @pytest.mark.parametrize("names", [["1", "2"], ["-1", "1"], ["0.0", "x"], ["a", "b", "c"]])
    def test_positions_need_two_classes_with_other_names(self, names):
        assert not set(match_labels({"0": 1, "1": 1}, names).names.values()) - set(names)
        assert "1" in names or "1" not in match_labels({"1": 1}, names).names

    def test_a_class_name_comes_before_the_name_in_the_training_data(self):
        swapped = {"neg": "pos", "pos": "neg", "schlecht": "neg"}
        names = match_labels({"neg": 1, "Schlecht": 1}, ["neg", "pos"], other_names=swapped).names
        assert names == {"neg": "neg", "Schlecht": "neg"}

    def test_a_rename_comes_first(self):
        column = match_labels({"1": 2, "5": 2, "pos": 1}, ["neg", "pos"], {"1": "neg", "5.0": "POS"})
        assert column.names == {"1": "neg", "5": "pos", "pos": "pos"}
        assert column.renamed == {"1", "5.0"}

    def test_an_unknown_label_has_no_name(self):
        assert match_labels({"meh": 1}, ["neg", "pos"], {"meh": "so so"}).names == {}

    def test_a_missing_rename_of_the_training_data_is_no_label(self):
        assert match_labels({"x": 1}, ["a", "b"], other_names={"y": "a"}).names == {}


class TestParseLabel:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [("neg", "neg"), (" pos\n", "pos"), ("0", "neg"), ("1", "pos"), ("POS", "pos"), ("Neg", "neg")],
    )
    def test_two_classes(self, answer, expected):
        assert parse_label(answer, ["neg", "pos"]) == expected

    def test_a_class_called_1_is_that_class_and_not_the_second(self):
        assert parse_label("1", ["1", "2"]) == "1"
        assert parse_label("1.0", ["1", "2"]) == "1"

    @pytest.mark.parametrize(("answer", "names"), [("0", ["1", "2"]), ("0", ["-1", "1"]), ("1", ["0", "x"])])
    def test_no_id_stands_for_a_class_where_one_is_a_name(self, answer, names):
        with pytest.raises(InputError, match=f"expected one of {', '.join(names)} as the label"):
            parse_label(answer, names)

    def test_ids_are_not_labels_where_there_are_more_classes(self):
        with pytest.raises(InputError, match="expected one of a, b, c as the label, got '1'"):
            parse_label("1", ["a", "b", "c"])

    @pytest.mark.parametrize("answer", ["", "2", "-1", "positive", "neg pos", OTHER_LABEL])
    def test_anything_else_is_refused(self, answer):
        with pytest.raises(InputError, match="expected one of neg, pos, 0 or 1"):
            parse_label(answer, ["neg", "pos"])

    def test_positions_can_be_refused(self):
        with pytest.raises(InputError):
            parse_label("0", ["neg", "pos"], has_positions=False)


def test_changes_in_words():
    changes = [LabelChange("TRUE", "true", 1200), LabelChange('"a"', "a", 1)]
    assert describe_changes(changes) == '1,200 "TRUE" read as "true", 1 "\\"a\\"" read as "a"'
    assert describe_changes([LabelChange(str(i), "x", 1) for i in range(10)]).endswith(", and 2 more spellings")
    assert describe_changes([]) == ""


def test_a_difference_that_nobody_sees_is_shown_with_escapes():
    changes = [
        LabelChange("prive\u0301", "privé", 2),
        LabelChange("neg\u00a0", "neg", 1),
        LabelChange("Плохо", "плохо", 1),
    ]
    assert describe_changes(changes) == (
        r'2 "prive\u0301" read as "privé", 1 "neg\u00a0" read as "neg", 1 "Плохо" read as "плохо"'
    )


@pytest.mark.parametrize("blank", ["", " ", "\u200b", "__label__"])
def test_a_blank_new_name_is_refused(blank):
    with pytest.raises(InputError, match="found a blank one for 'a'"):
        read_labels({"a": 1, "b": 1}, {"a": blank})
    with pytest.raises(InputError, match="found a blank one for 'a'"):
        match_labels({"a": 1}, ("a", "b"), {"a": blank})
