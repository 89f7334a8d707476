"""Archives in the file system and on a web server: what may be in them, and how a start that is refused ends."""

import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest
from serving_stack import ROOT, free_port, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from serving.server import launcher
from serving.source.errors import FetchError, UnusableArchiveError
from serving.source.fetch import fetch_model
from serving.source.location import LocalArchive, WebFile
from serving.source.settings import SourceSettings
from textclf.files import sha256_of_file
from textclf.store.model_store import open_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("packed") / "model"
    write_version(store)
    return store


def packed(source: Path, archive: Path, name: str = ".") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, name)
    return archive


@pytest.mark.parametrize("form", ["store", "version", "folder", "folders", "zip"])
def test_forms_of_an_archive(model, tmp_path, form):
    archive = tmp_path / "model.tar.gz"
    version = open_model(model)
    if form == "zip":
        archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", model))
    else:
        source, name = {
            "store": (model, "."),
            "version": (version.path, "."),
            "folder": (model, "my-models"),
            "folders": (model, "opt/ml/model"),
        }[form]
        packed(source, archive, name)
    (tmp_path / "fetched").mkdir()
    found = fetch_model(LocalArchive(archive), SourceSettings(), tmp_path / "fetched")
    assert open_model(found.path).id == version.id
    open_model(found.path).verify()
    assert (found.origin.location, found.origin.sha256) == (str(archive), sha256_of_file(archive))
    assert archive.exists()


def test_a_damaged_file_of_a_version_is_found_before_the_server_starts(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    (weights,) = (tmp_path / "model").rglob("model.bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    archive = packed(tmp_path / "model", tmp_path / "model.tar.gz")
    (tmp_path / "fetched").mkdir()
    with pytest.raises(UnusableArchiveError, match=r"model\.tar\.gz: .*model\.bin: damaged"):
        fetch_model(LocalArchive(archive), SourceSettings(), tmp_path / "fetched")


def test_an_archive_with_another_hash_is_refused(model, tmp_path):
    archive = packed(model, tmp_path / "model.tar.gz")
    with pytest.raises(UnusableArchiveError, match=r"expected SHA-256 0000.*check the archive and MODEL_SHA256"):
        fetch_model(LocalArchive(archive), SourceSettings(model_sha256="0" * 64), tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_archive_that_may_not_be_read_is_named(model, tmp_path):
    archive = packed(model, tmp_path / "model.tar.gz")
    archive.chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(FetchError, match="can't be read"):
            fetch_model(LocalArchive(archive), SourceSettings(), tmp_path)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["model", "model.tar.gz"])
def test_a_model_below_a_folder_that_may_not_be_read_is_named(model, tmp_path, monkeypatch, capsys, name):
    # pytest's own folders are those of root alone.
    with tempfile.TemporaryDirectory(prefix="textclf-test-") as folder:
        private, temporary = Path(folder) / "private", Path(folder) / "tmp"
        shutil.copytree(model, private / "model")
        packed(model, private / "model.tar.gz")
        temporary.mkdir()
        for path, mode in ((Path(folder), 0o755), (private, 0o700), (temporary, 0o777)):
            path.chmod(mode)
        monkeypatch.chdir(folder)
        environ = {
            "MODEL_PATH": str(private / name),
            "PORT": str(free_port()),
            "TMPDIR": str(temporary),
            "NGINX": "off",
        }
        os.seteuid(65534)
        try:
            assert launcher.run({**environ, "PREDICTION_LOG_URL": "off"}) == 2
        finally:
            os.seteuid(0)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: MODEL_PATH: expected a model that user 65534 may read, got {private}"), error


def test_a_mounted_archive_over_the_limit_is_not_unpacked(model, tmp_path):
    archive = packed(model, tmp_path / "model.tar.gz")
    with pytest.raises(UnusableArchiveError, match=r"expected at most 10 bytes, got .*raise MODEL_MAX_BYTES"):
        fetch_model(LocalArchive(archive), SourceSettings(model_max_bytes=10), tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(model, tmp_path):
    """The address of a web server with model.tar.gz."""
    (tmp_path / "web").mkdir()
    packed(model, tmp_path / "web" / "model.tar.gz")
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_model_on_a_web_server(web, tmp_path):
    (tmp_path / "fetched").mkdir()
    found = fetch_model(WebFile(f"{web}/model.tar.gz?token=hidden"), SourceSettings(), tmp_path / "fetched")
    open_model(found.path).verify()
    assert (found.origin.location, found.origin.etag) == (f"{web}/model.tar.gz", None)
    assert not (tmp_path / "fetched" / "model.tar.gz").exists()
    with pytest.raises(UnusableArchiveError, match=r"expected at most 10 bytes, .*raise MODEL_MAX_BYTES"):
        fetch_model(WebFile(f"{web}/model.tar.gz"), SourceSettings(model_max_bytes=10), tmp_path)
    with pytest.raises(FetchError, match=r"absent: the server answered 404 .*; check MODEL_PATH"):
        fetch_model(WebFile(f"{web}/absent?token=hidden"), SourceSettings(), tmp_path)


def start(tmp_path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "serving" / "serve")]
    environ = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "TMPDIR": str(tmp_path), **environ}
    return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)


def test_kinds_of_refused_starts_have_statuses_of_their_own(tmp_path):
    (tmp_path / "bad.tar.gz").write_bytes(b"bad")
    for status, environ in (
        (2, {"LOCAL": "true", "MODEL_PATH": "s3://models/model.tar.gz"}),
        (3, {"MODEL_PATH": f"http://127.0.0.1:{free_port()}/model.tar.gz"}),
        (4, {"MODEL_PATH": "bad.tar.gz"}),
    ):
        result = start(tmp_path, **environ)
        assert result.returncode == status
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "Traceback" not in result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_the_model_is_fetched_ends_the_start_and_leaves_nothing(tmp_path, number, status):
    class Endless(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.flush()
            asked.set()
            over.wait(60)

    asked, over = threading.Event(), threading.Event()
    (tmp_path / "tmp").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/model.tar.gz"
        environ = {"MODEL_PATH": address, "TMPDIR": str(tmp_path / "tmp")}
        with running_stack(tmp_path, tmp_path, wait=False, **environ) as stack:
            wait_for(asked.is_set, 30)
            assert stack.stop(number) == status, stack.log
            assert "Traceback" not in stack.log
        over.set()
        server.shutdown()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_mounted_archive_is_served(model, tmp_path):
    need_nginx()
    packed(model, tmp_path / "model.tar.gz")
    environ = {"PREFIX": str(tmp_path), "MODEL_PATH": "", "MODEL_SERVER_WORKERS": "1", "TMPDIR": "/tmp"}
    (tmp_path / "model").mkdir()
    (tmp_path / "model.tar.gz").rename(tmp_path / "model" / "model.tar.gz")
    with running_stack(tmp_path, model, **environ) as stack:
        info = stack.request("GET", "/info").json
        assert info["source"]["location"] == str(tmp_path / "model" / "model.tar.gz")
        assert info["version"] == open_model(model).id
        assert stack.stop() == 0, stack.log
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.tar.gz"]


def test_a_model_in_a_folder_imports_nothing_for_archives_on_servers():
    code = (
        "import sys; import serving.server.launcher; "
        "print(*({'requests', 'boto3', 'botocore', 'flask', 'werkzeug'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "", result
