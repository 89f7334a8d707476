"""Public forms of URLs and handles."""

import pytest

from textclf.errors import ConfigError
from textclf.urls import public_handle, public_text, public_url


def test_public_url():
    assert public_url("https://a:b@host.org:81/path/x?y=z#f") == "https://host.org:81/path/x"


@pytest.mark.parametrize(
    ("handle", "shown"),
    [
        ("minilm-l6", "minilm-l6"),
        ("models/a@b?c", "models/a@b?c"),
        ("https://u:p@host/x.tar.gz?token=1", "https://host/x.tar.gz"),
        ("s3://u:p@host/x", "s3://…"),
    ],
)
def test_a_handle_is_shown_without_secrets(handle, shown):
    assert public_handle(handle) == shown


def test_other_urls_are_refused_without_quoting_them():
    with pytest.raises(ConfigError) as error:
        public_url("ftp://user:password@host/file")
    assert "password" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@host/x.csv?sig=1: no such file", "https://host/x.csv: no such file"),
        ("(/data/https:/u:p@host/x?sig=1#f), check it", "(/data/https:/host/x), check it"),
        ("found 's3://key:secret@bucket/a b', and http://a?b.", "found 's3://bucket/a b', and http://a."),
        ("see https://host/x.csv; a@b?c", "see https://host/x.csv; a@b?c"),
        ("expected postgresql://USER:PASSWORD@HOST", "expected postgresql://USER:PASSWORD@HOST"),
    ],
)
def test_a_message_is_shown_without_secrets(text, shown):
    assert public_text(text) == shown
