"""The cost table of unsure predictions."""

import pytest

from textclf.errors import ConfigError
from textclf.evaluation.cost_table import CostTable

TABLE = 'unsure = 0.2\n[errors.neg]\npos = 5\n[errors."a b"]\nneg = 0\n'
NAMES = ("neg", "pos", "a b")


def test_a_table_is_read_from_a_file_and_from_its_own_json(tmp_path):
    (tmp_path / "costs.toml").write_text(TABLE, encoding="utf-8")
    found = CostTable.read(str(tmp_path / "costs.toml"))
    assert found == CostTable.read(found.to_json()) == CostTable(0.2, {"neg": {"pos": 5}, "a b": {"neg": 0}})
    # Rows are true classes, columns predicted ones; other errors cost 1.
    assert found.matrix(NAMES).tolist() == [[0, 5, 1], [1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unsure 0.2", "expected a TOML file"),
        ("[errors.neg]\npos = 5", "unsure: expected a cost above 0, found 'none'"),
        ("unsure = 0", "unsure: expected a cost above 0, found 0"),
        ("unsure = true", "unsure: expected a cost above 0, found True"),
        ("unsure = 1\nerror = 2", "found the unknown key error"),
        ("unsure = 1\nerrors = 2", "errors: expected"),
        ("unsure = 1\n[errors.neg]\npos = -1", "errors.neg.pos: expected a cost of at least 0, found -1"),
        ("unsure = 1\n[errors.neg]\nneg = 1", "errors.neg.neg: expected no cost, because it is right"),
        ("unsure = 1\n[errors.neg]\npos = inf", "errors.neg.pos: expected a cost of at least 0, found inf"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, text, message):
    (tmp_path / "costs.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^--costs .*costs\.toml: ") as error:
        CostTable.read(str(tmp_path / "costs.toml"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"unsure": 1}x', "costs: expected a JSON object, found other text"),
        ('{"a":' * 100_000, "costs: expected a JSON object, found other text"),
        ('{"unsure": 1' + "0" * 400 + "}", "costs: unsure: expected a cost above 0"),
    ],
)
def test_a_wrong_json_object_is_named(value, message):
    with pytest.raises(ConfigError) as error:
        CostTable.read(value)
    assert str(error.value).startswith(message)


def test_a_missing_file_and_an_unknown_class_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.toml: can't be read \(No such file"):
        CostTable.read(str(tmp_path / "missing.toml"))
    with pytest.raises(ConfigError, match=r"classes of the data \(neg, pos\), found neutral; correct the cost table"):
        CostTable(1.0, {"neg": {"neutral": 2}}).matrix(("neg", "pos"))
