"""Names of the Hub next to local paths."""

import pytest

from textclf.errors import ConfigError
from textclf.hub.names import HubName, hub_name_of


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", HubName("owner/name")),
        ("distilbert-base-uncased-finetuned-sst-2-english", HubName("distilbert-base-uncased-finetuned-sst-2-english")),
        ("owner/name@refs/pr/1", HubName("owner/name", "refs/pr/1")),
        ("owner/name@" + "0" * 40, HubName("owner/name", "0" * 40)),
        ("here/model", None),
        ("hf://here/model", HubName("here/model")),
        ("./owner/name", None),
        ("~/name", None),
        ("name/", None),
        ("owner/model.tar.gz", None),
        ("a/b/c", None),
        ("https://example.org/name", None),
    ],
)
def test_a_source_is_a_path_or_a_name(tmp_path, monkeypatch, source, expected):
    (tmp_path / "here" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_name_of(source, "SOURCE") == expected


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "a--b/c", "-a/b", "a/b@", "a/b@v 1", "a/b@v/../../c", "a/..", "a" * 97, "a/b\nc"]
)
def test_malformed_names_are_one_line(text):
    with pytest.raises(ConfigError) as refused:
        HubName.parse(text, "HUB_MODEL_NAME")
    assert str(refused.value).startswith("HUB_MODEL_NAME: expected a model of the Hub as OWNER/NAME")
    assert "\n" not in str(refused.value)


def test_only_a_full_hash_is_pinned():
    assert HubName("a/b", "0" * 40).is_pinned
    assert not HubName("a/b", "0" * 39).is_pinned
    assert str(HubName("a/b")) == "a/b"
    assert str(HubName("a/b", "v1")) == "a/b@v1"
