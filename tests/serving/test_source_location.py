"""Where the model is, from the settings alone; each contradiction is one sentence."""

import tarfile
from pathlib import Path

import pytest

from serving.source.location import HubModel, LocalArchive, S3Object, WebFile, location_of
from serving.source.settings import SourceSettings
from textclf.errors import ConfigError
from textclf.hub.names import HubName

DEFAULT = "/opt/ml/model"
SHA256 = "0" * 64


def location(**environ: str) -> object:
    settings = SourceSettings.from_environment(environ)
    return location_of(settings, environ.get("MODEL_PATH", ""), DEFAULT)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"MODEL_PATH": "my-models"}, None),
        ({"MODEL_PATH": "/etc/passwd"}, None),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "a/model.tar.gz"}, S3Object("models", "a/model.tar.gz")),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "k", "LOCAL": "False"}, S3Object("models", "k")),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "k", "LOCAL": "0"}, S3Object("models", "k")),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "my-models", "LOCAL": "True"}, None),
        ({"BUCKET_NAME": "models", "LOCAL": "true"}, None),
        ({"BUCKET_NAME": " ", "MODEL_PATH": "my-models"}, None),
        ({"MODEL_PATH": "s3://models/a b/c=1/model.tar.gz"}, S3Object("models", "a b/c=1/model.tar.gz")),
        ({"MODEL_PATH": "https://a.example/m.tar.gz?key=1"}, WebFile("https://a.example/m.tar.gz?key=1")),
        ({"MODEL_PATH": "http://127.0.0.1:1/m.tar.gz"}, WebFile("http://127.0.0.1:1/m.tar.gz")),
        ({"MODEL_PATH": "http://localhost/m.tar.gz"}, WebFile("http://localhost/m.tar.gz")),
        ({"MODEL_PATH": "http://[::1]:80/m.tar.gz"}, WebFile("http://[::1]:80/m.tar.gz")),
        ({"MODEL_PATH": "http://a.example/m", "MODEL_SHA256": SHA256}, WebFile("http://a.example/m")),
        ({"HUB_MODEL_NAME": "a/b", "MODEL_PATH": "k", "BUCKET_NAME": "models"}, HubModel(HubName("a/b"))),
        ({"HUB_MODEL_NAME": "a/b@v1", "TOKENIZER": "a/b", "LOCAL": "true"}, HubModel(HubName("a/b", "v1"))),
        ({"HUB_MODEL_NAME": "a/b", "TOKENIZER": "c"}, HubModel(HubName("a/b"), HubName("c"))),
    ],
)
def test_settings_that_name_a_place(environ, expected):
    assert location(**environ) == expected


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"BUCKET_NAME": "models"}, "BUCKET_NAME, MODEL_PATH: expected the key of a model.tar.gz"),
        (
            {"BUCKET_NAME": "models", "MODEL_PATH": "/opt/ml/model"},
            "got an absolute path, '/opt/ml/model'; unset BUCKET",
        ),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "a/b/"}, "got a folder, 'a/b/'"),
        ({"BUCKET_NAME": "models", "MODEL_PATH": "s3://models/k"}, "got an address, 's3://models/k'"),
        ({"BUCKET_NAME": "Models!", "MODEL_PATH": "k"}, "BUCKET_NAME: expected the name of an S3 bucket"),
        ({"LOCAL": "True", "MODEL_PATH": "s3://models/k"}, "LOCAL, MODEL_PATH: expected a path"),
        ({"LOCAL": "maybe"}, "LOCAL: expected on or off"),
        ({"SERVERLESS": "2"}, "SERVERLESS: expected on or off"),
        ({"MODEL_PATH": "a" * 5000}, "(File name too long); correct it"),
        ({"MODEL_PATH": "s3://models"}, "MODEL_PATH: expected s3://BUCKET/KEY"),
        ({"MODEL_PATH": "s3://models/folder/"}, "MODEL_PATH: expected s3://BUCKET/KEY"),
        ({"MODEL_PATH": "http://a.example/m"}, "MODEL_PATH: expected https://…, because anyone on the way can change"),
        ({"MODEL_PATH": "https:///m"}, "MODEL_PATH: expected https://HOST/PATH"),
        ({"MODEL_PATH": "gs://models/m"}, "got gs://…"),
        ({"MODEL_PATH": "file:///m.tar.gz"}, "give a file as its path alone"),
        ({"MODEL_SHA256": "abc"}, "MODEL_SHA256: expected 64 hex digits"),
        ({"MODEL_SHA256": SHA256, "MODEL_PATH": "my-models"}, "MODEL_SHA256, MODEL_PATH: expected an archive"),
        ({"MODEL_MAX_BYTES": "0"}, "MODEL_MAX_BYTES: expected a whole number"),
        ({"HUB_MODEL_NAME": "a/b/c"}, "HUB_MODEL_NAME: expected a model of the Hub as OWNER/NAME"),
        ({"HUB_MODEL_NAME": "a/b", "TOKENIZER": "c@"}, "TOKENIZER: expected a model of the Hub as OWNER/NAME"),
        ({"HUB_MODEL_NAME": "a/b", "MODEL_SHA256": SHA256}, "MODEL_SHA256, HUB_MODEL_NAME: expected an archive"),
        ({"TOKENIZER": "google-bert/bert-base-cased"}, "TOKENIZER: expected HUB_MODEL_NAME next to it"),
    ],
)
def test_missing_and_contradictory_settings(environ, says):
    with pytest.raises(ConfigError) as refused:
        location(**environ)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["https://user:hidden@a.example/m.tar.gz?X-Amz-Signature=hidden", "http://user:hidden@a.example/m?hidden"],
)
def test_secrets_in_an_address_are_not_shown(address):
    if address.startswith("https"):
        found = location(MODEL_PATH=address)
        assert str(found) == "https://a.example/m.tar.gz"
        assert "hidden" not in repr(found)
    else:
        with pytest.raises(ConfigError) as refused:
            location(MODEL_PATH=address)
        assert "hidden" not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        location(MODEL_PATH=address, BUCKET_NAME="models")
    assert "hidden" not in str(refused.value)


def test_an_archive_in_the_file_system(tmp_path):
    archive = tmp_path / "mounted" / "model.tar.gz"
    archive.parent.mkdir()
    tarfile.open(archive, "w:gz").close()
    assert location(MODEL_PATH=str(archive)) == location(MODEL_PATH=str(archive.parent)) == LocalArchive(archive)
    assert location(MODEL_PATH=str(archive), BUCKET_NAME="models", LOCAL="true") == LocalArchive(archive)
    (archive.parent / "versions").mkdir()
    assert location(MODEL_PATH=str(archive.parent)) is None, "a store is served, whatever is next to it"
    assert location(MODEL_PATH=str(Path(tmp_path / "absent.tar.gz"))) is None
