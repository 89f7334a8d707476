"""A model in S3, with moto's server in a process of its own: each failure is one line and one exit status."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto_server import CREDENTIALS, MotoServer, running_moto
from serving_stack import ROOT, free_port, need_nginx, running_stack
from tiny_engine import write_version

from serving.server import launcher
from serving.source.s3 import s3_client
from textclf.errors import ConfigError
from textclf.files import sha256_of_file

BUCKET = "models-of-tests"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("packed") / "model"
    write_version(store)
    return store


@pytest.fixture(scope="module")
def archive(model) -> Path:
    """What SageMaker packs: the content of the folder."""
    path = model.parent / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(model, ".")
    return path


@pytest.fixture(scope="module")
def s3(tmp_path_factory, archive):
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        client = server.client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.upload_file(str(archive), BUCKET, "sentiment/model.tar.gz")
        for name, content in BAD_ARCHIVES.items():
            client.put_object(Bucket=BUCKET, Key=name, Body=content(archive))
        yield server


def tar_of(*members: tuple[str, bytes, str], size: int = 0) -> bytes:
    """A tar with members of (name, type, target of a link), and a file of zeros of `size` bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        if size:
            info = tarfile.TarInfo("zeros")
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
    return packed.getvalue()


BAD_ARCHIVES = {
    "cut.tar.gz": lambda archive: archive.read_bytes()[:-2000],
    "text.tar.gz": lambda _: b"<html>not found</html>",
    "empty.tar.gz": lambda _: b"",
    "out.tar.gz": lambda _: tar_of(("../../evil", tarfile.REGTYPE, "")),
    "link.tar.gz": lambda _: tar_of(("versions", tarfile.SYMTYPE, "/etc")),
    "hard.tar.gz": lambda _: tar_of(("current", tarfile.LNKTYPE, "/etc/passwd")),
    "device.tar.gz": lambda _: tar_of(("null", tarfile.CHRTYPE, "")),
    "bomb.tar.gz": lambda _: tar_of(size=30_000_000),
    "other.tar.gz": lambda _: tar_of(("config.json", tarfile.REGTYPE, ""), ("model.safetensors", tarfile.REGTYPE, "")),
}


@pytest.fixture
def aws(s3, tmp_path, monkeypatch) -> dict[str, str]:
    """The environment of a server that reads from the bucket; boto3 sees it too."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "PORT": str(free_port()),
        "NGINX": "off",
        "TMPDIR": str(tmp_path / "tmp"),
        "NEW_DATA_DIR": str(tmp_path / "new_data"),
        "PREDICTION_LOG_URL": "off",
        "BUCKET_NAME": BUCKET,
    }


def refused(capsys, environ: dict[str, str]) -> tuple[int, str]:
    """The status and the only line of a start that is refused; it leaves no file and shows no credentials."""
    status = launcher.run(environ)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert not any(secret in err for secret in CREDENTIALS.values())
    assert list(Path(environ["TMPDIR"]).iterdir()) == []
    return status, err


@pytest.mark.parametrize(
    ("key", "status", "says"),
    [
        ("absent/model.tar.gz", 3, f"s3://{BUCKET}/absent/model.tar.gz: there is no such key in the bucket"),
        ("cut.tar.gz", 4, "damaged, cut short or of an unknown kind"),
        ("text.tar.gz", 4, "damaged, cut short or of an unknown kind"),
        ("empty.tar.gz", 4, "damaged, cut short or of an unknown kind"),
        ("out.tar.gz", 4, "the member '../../evil' points out of the archive"),
        ("link.tar.gz", 4, "the member 'versions' is a link or a device"),
        ("hard.tar.gz", 4, "the member 'current' is a link or a device"),
        ("device.tar.gz", 4, "the member 'null' is a link or a device"),
        ("bomb.tar.gz", 4, "more than 20,000,000 bytes when unpacked, which is the limit; raise MODEL_MAX_BYTES"),
        ("other.tar.gz", 4, "expected a model store, a version's folder or a SavedModel in the archive, found config"),
    ],
)
def test_each_failure_is_one_line_and_one_status(aws, capsys, key, status, says):
    found, line = refused(capsys, {**aws, "MODEL_PATH": key, "MODEL_MAX_BYTES": "20000000"})
    assert found == status
    assert says in line
    assert f"s3://{BUCKET}/{key}" in line


def test_a_missing_bucket_is_named(aws, capsys):
    status, line = refused(capsys, {**aws, "BUCKET_NAME": "no-such-bucket", "MODEL_PATH": "model.tar.gz"})
    assert status == 3
    assert "s3://no-such-bucket/model.tar.gz: there is no such bucket" in line


def test_an_object_over_the_limit_is_not_read(aws, capsys):
    environ = {**aws, "MODEL_PATH": "sentiment/model.tar.gz", "MODEL_MAX_BYTES": "1000"}
    status, line = refused(capsys, environ)
    assert status == 4
    assert "expected at most 1,000 bytes, got " in line


def test_missing_permission_and_unknown_credentials_are_named(aws, s3, capsys, monkeypatch):
    iam = s3.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    environ = {**aws, "MODEL_PATH": "sentiment/model.tar.gz"}
    s3.enforce_permissions()
    try:
        status, line = refused(capsys, environ)
        assert (status, "the access key is unknown" in line) == (3, True), line
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        status, line = refused(capsys, environ)
        assert (status, "access is denied" in line) == (3, True), line
        assert key["AccessKeyId"] not in line
    finally:
        s3.allow_all()


def test_missing_credentials_are_named(aws, capsys, monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    status, line = refused(capsys, {**aws, "MODEL_PATH": "sentiment/model.tar.gz"})
    assert status == 3
    assert "expected AWS credentials, found none that can be used" in line


def test_a_server_that_does_not_respond_is_named_without_its_password(aws, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:hidden@127.0.0.1:{free_port()}")
    monkeypatch.setattr("serving.source.s3._ATTEMPTS", 1)
    status, line = refused(capsys, {**aws, "MODEL_PATH": "sentiment/model.tar.gz"})
    assert (status, "hidden" in line) == (3, False)
    assert "S3 can't be reached (" in line


def test_settings_that_boto3_refuses_are_one_line(aws, capsys, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    status, line = refused(capsys, {**aws, "MODEL_PATH": "sentiment/model.tar.gz"})
    assert (status, "check AWS_PROFILE" in line) == (2, True)


def test_without_boto3_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(
        ConfigError, match=r"needs the package boto3, found none; .* extra `aws`.*--build-arg EXTRAS=aws"
    ):
        s3_client()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="textclf-test-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("form", ["key", "address"])
def test_a_model_in_s3_is_served(s3: MotoServer, archive, tmp_path, short_folder, form):
    need_nginx()
    place = {"BUCKET_NAME": BUCKET, "MODEL_PATH": "sentiment/model.tar.gz"}
    if form == "address":
        place = {"MODEL_PATH": f"s3://{BUCKET}/sentiment/model.tar.gz", "MODEL_SHA256": sha256_of_file(archive)}
    environ = {**s3.environment, **place, "TMPDIR": str(short_folder), "MODEL_SERVER_WORKERS": "1"}
    with running_stack(tmp_path, archive, **environ) as stack:
        assert stack.request("POST", "/predict", {"text": "a great film"}).status == 200
        source = stack.request("GET", "/info").json["source"]
        etag = s3.client("s3").head_object(Bucket=BUCKET, Key="sentiment/model.tar.gz")["ETag"].strip('"')
        assert source == {
            "location": f"s3://{BUCKET}/sentiment/model.tar.gz",
            "sha256": sha256_of_file(archive),
            "etag": etag,
            "commit": None,
            "tokenizer": None,
            "tokenizer_commit": None,
        }
        assert not list(short_folder.rglob("model.tar.gz"))
        assert stack.stop() == 0, stack.log
        assert not any(secret in stack.log for secret in CREDENTIALS.values())
    assert list(short_folder.iterdir()) == []


_PEAK = """
import json, re, sys
from pathlib import Path
from serving.source.fetch import fetch_model
from serving.source.location import S3Object
from serving.source.settings import SourceSettings
found = fetch_model(S3Object(sys.argv[1], sys.argv[2]), SourceSettings(), Path(sys.argv[3]))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([str(found.path), int(peak[1])]))
"""


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_archive(s3, model, tmp_path):
    peaks = {}
    for size in (1_000_000, 200_000_000):
        with tarfile.open(tmp_path / "large.tar", "w") as tar:
            tar.add(model, ".")
            with open(tmp_path / "filler", "wb") as filler:
                filler.truncate(size)
            tar.add(tmp_path / "filler", "filler")
        s3.client("s3").upload_file(str(tmp_path / "large.tar"), BUCKET, f"{size}.tar")
        folder = tmp_path / str(size)
        folder.mkdir()
        command = [sys.executable, "-c", _PEAK, BUCKET, f"{size}.tar", str(folder)]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **s3.environment}
        result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        path, peaks[size] = json.loads(result.stdout)
        assert (Path(path) / "filler").stat().st_size == size
    small, large = peaks.values()
    assert large - small < 20_000, peaks  # KiB
