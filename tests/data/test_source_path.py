"""The name of a data set is a path."""

import pytest
from click.testing import CliRunner

import initializing
from textclf.data.source_path import source_path
from textclf.errors import DatasetError

_URL = "https://user:secret@host/reviews.csv?sig=secret"


def test_a_url_is_refused_without_its_secrets(tmp_path):
    with pytest.raises(DatasetError, match=r"https://host/reviews\.csv: expected the path .*--url") as refused:
        source_path(_URL, tmp_path)
    assert "secret" not in str(refused.value)


def test_a_report_refuses_a_url(tmp_path):
    result = CliRunner().invoke(initializing.main, ["report", _URL, "--data-dir", str(tmp_path)])
    assert (result.exit_code, result.stderr.partition(": expected")[0]) == (1, "error: https://host/reviews.csv")
