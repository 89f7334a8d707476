"""Downloads against a real server on the loopback interface: cut, resumed, refused, never half-named."""

import contextlib
import hashlib
import http.server
import json
import logging
import resource
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from textclf.data.download import check_sha256, download
from textclf.errors import ConfigError, DatasetError

CONTENT = np.random.default_rng(7).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

download = partial(download, retry_wait=0.001)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.content; server.cuts holds after how many bytes each of the next answers ends."""

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects.pop(0))
            self.end_headers()
            with contextlib.suppress(OSError):
                while server.endless_bodies:
                    self.wfile.write(bytes(2**20))
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        content, start = server.content, 0
        ranged = self.headers.get("Range") if server.ranges else None
        if ranged and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(ranged.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.lengths:
            self.send_header("Content-Length", server.length or str(len(content) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if server.drips:
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1))
                    time.sleep(0.05)
            return
        end = start + server.cuts.pop(0) if server.cuts else len(content)
        self.wfile.write(content[start:end])
        server.sent += len(content[start:end])

    def log_message(self, *_):
        pass


CERTIFICATE = Path(__file__).parents[1] / "fixtures" / "tls" / "loopback.pem"


@contextmanager
def running(scheme="http"):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.etag, server.ranges, server.lengths = CONTENT, '"one"', True, True
        server.cuts, server.statuses, server.requests, server.sent = [], [], [], 0
        server.redirects, server.endless_bodies, server.drips = [], False, False
        server.length = ""
        server.url = f"{scheme}://127.0.0.1:{server.server_port}/data.tar.gz"
        if scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def tls_server(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with running("https") as server:
        yield server


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file_then_nothing_to_do(server, tmp_path):
    target = tmp_path / "deep" / "data.tar.gz"
    assert download(server.url, target, sha256=SHA256.upper()) == target
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["data.tar.gz"]
    assert download(server.url, target, sha256=SHA256) == target
    assert len(server.requests) == 1


def test_present_file_with_another_hash_is_refused_and_kept(server, tmp_path):
    target = tmp_path / "data"
    target.write_bytes(b"something else")
    with pytest.raises(DatasetError, match=r"expected sha256 .* delete the file"):
        download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == b"something else"
    assert server.requests == []


def test_cut_connection_is_resumed_within_the_call(server, tmp_path):
    server.cuts = [500_000, 400_000]
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert [request.get("Range") for request in server.requests] == [None, "bytes=500000-", "bytes=900000-"]
    assert server.requests[1]["If-Range"] == '"one"'
    assert server.sent == len(CONTENT)
    assert names(tmp_path) == ["data"]


def test_cut_download_is_resumed_by_a_later_call(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DatasetError, match=r"after the 400,000 bytes in .*data\.part"):
        download(server.url, tmp_path / "data")
    assert names(tmp_path) == ["data.part", "data.part.json"]
    assert (tmp_path / "data.part").read_bytes() == CONTENT[:400_000]
    download(server.url, tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert names(tmp_path) == ["data"]


def test_changed_file_starts_over(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DatasetError):
        download(server.url, tmp_path / "data")
    server.content, server.etag = CONTENT[::-1], '"two"'
    download(server.url, tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == CONTENT[::-1]


def test_part_of_another_url_is_not_continued(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DatasetError):
        download(server.url, tmp_path / "data")
    download(server.url.replace("data.tar", "other.tar"), tmp_path / "data", sha256=SHA256)
    assert "Range" not in server.requests[-1]


def test_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.cuts = [500_000]
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert (tmp_path / "data").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed_or_kept(server, tmp_path, etag):
    server.etag = etag
    server.cuts = [500_000] * 4
    with pytest.raises(DatasetError, match=r"500,000 of 1,500,000 bytes|ProtocolError|IncompleteRead"):
        download(server.url, tmp_path / "data")
    assert all("Range" not in request for request in server.requests)
    assert names(tmp_path) == []


def test_part_that_is_whole_already_is_finished(server, tmp_path):
    (tmp_path / "data.part").write_bytes(CONTENT)
    (tmp_path / "data.part.json").write_text(json.dumps({"source": server.url, "validator": '"one"'}))
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert server.sent == 0
    assert names(tmp_path) == ["data"]


def test_part_that_is_too_long_starts_over(server, tmp_path):
    (tmp_path / "data.part").write_bytes(CONTENT + b"more")
    (tmp_path / "data.part.json").write_text(json.dumps({"source": server.url, "validator": '"one"'}))
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize("note", ["", "[]", "{}", "null", '{"source": 1}'])
def test_part_with_a_useless_note_starts_over(server, tmp_path, note):
    (tmp_path / "data.part").write_bytes(b"not the beginning")
    (tmp_path / "data.part.json").write_text(note)
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert (tmp_path / "data").read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DatasetError, match=f"expected sha256 {'0' * 64}, got {SHA256}"):
        download(server.url, tmp_path / "data", sha256="0" * 64)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "remedy"), [(404, "check the address"), (403, "check the user"), (410, "address")])
def test_refusal_is_not_repeated(server, tmp_path, status, remedy):
    server.statuses = [status]
    with pytest.raises(DatasetError, match=f"answered {status} .*{remedy}"):
        download(server.url, tmp_path / "data")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_passing_trouble_is_waited_out(server, tmp_path):
    server.statuses = [503, 429]
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert len(server.requests) == 3


def test_lasting_trouble_ends(server, tmp_path):
    server.statuses = [500] * 9
    with pytest.raises(DatasetError, match=r"answered 500 .*, 4 times"):
        download(server.url, tmp_path / "data")
    assert len(server.requests) == 4


def test_refusal_keeps_what_can_be_resumed(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DatasetError):
        download(server.url, tmp_path / "data")
    server.statuses = [404]
    with pytest.raises(DatasetError):
        download(server.url, tmp_path / "data")
    assert names(tmp_path) == ["data.part", "data.part.json"]


def test_unreachable_host(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/data"
    with pytest.raises(DatasetError, match=r"the connection failed \(ConnectionError\), 4 times; check the address"):
        download(url, tmp_path / "data")
    assert names(tmp_path) == []


def test_secrets_are_never_shown(server, tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO)
    url = server.url.replace("http://", "http://anna:Secret1@") + "?token=Secret2#Secret3"
    server.cuts = [1000] * 4
    with pytest.raises(DatasetError) as cut:
        download(url, tmp_path / "data")
    server.statuses = [404]
    with pytest.raises(DatasetError) as refused:
        download(url, tmp_path / "data")
    with pytest.raises(DatasetError) as unreachable:
        download("http://anna:Secret1@127.0.0.1:1/data?token=Secret2", tmp_path / "other")
    seen = (
        "".join(str(error.value) for error in (cut, refused, unreachable)) + caplog.text + "".join(capfd.readouterr())
    )
    seen += (tmp_path / "data.part.json").read_text()
    assert "Secret" not in seen
    assert "127.0.0.1" in seen
    for error in (cut, refused, unreachable):
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__ or error.value.__context__ is None


# An untrusted server


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_above_the_limit_is_refused_and_leaves_nothing(server, tmp_path, lengths):
    server.lengths = lengths
    with pytest.raises(DatasetError, match=r"expected at most 1,000,000 bytes.*TEXTCLF_MAX_DOWNLOAD_BYTES"):
        download(server.url, tmp_path / "data", max_bytes=1_000_000)
    assert names(tmp_path) == []
    assert len(server.requests) == 1
    download(server.url, tmp_path / "data", max_bytes=len(CONTENT))
    assert (tmp_path / "data").read_bytes() == CONTENT


def test_a_resumed_file_counts_as_a_whole(server, tmp_path):
    server.cuts = [100_000] * 4
    with pytest.raises(DatasetError):
        download(server.url, tmp_path / "data")
    with pytest.raises(DatasetError, match="expected at most 1,400,000 bytes"):
        download(server.url, tmp_path / "data", max_bytes=1_400_000)
    assert names(tmp_path) == []


def test_the_limit_of_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTCLF_MAX_DOWNLOAD_BYTES", "1000")
    with pytest.raises(DatasetError, match="at most 1,000 bytes"):
        download(server.url, tmp_path / "data")
    (tmp_path / "local").write_bytes(bytes(1001))
    with pytest.raises(DatasetError, match="at most 1,000 bytes"):
        download((tmp_path / "local").as_uri(), tmp_path / "data")
    for text in ("1e9", "-1", "many"):
        monkeypatch.setenv("TEXTCLF_MAX_DOWNLOAD_BYTES", text)
        with pytest.raises(ConfigError, match="expected a number of bytes"):
            download(server.url, tmp_path / "data")
    monkeypatch.setenv("TEXTCLF_MAX_DOWNLOAD_BYTES", " ")
    download(server.url, tmp_path / "data", sha256=SHA256)


def test_a_connection_that_only_drips_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("textclf.data.download._SLOW_SECONDS", 0.2)
    server.drips = True
    began = time.monotonic()
    with pytest.raises(DatasetError, match="less than 1,000 bytes a second, 4 times"):
        download(server.url, tmp_path / "data")
    assert time.monotonic() - began < 10


def test_a_length_that_is_no_number_is_ignored(server, tmp_path):
    for length in ("²", "9" * 5000):
        server.length = length
        assert download(server.url, tmp_path / f"data{len(length)}", sha256=SHA256).read_bytes() == CONTENT


def test_redirects_are_followed_up_to_five(server, tmp_path):
    server.redirects = ["/other", server.url, "//" + server.url.partition("//")[2], "?x", "y"]
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert len(server.requests) == 6
    server.redirects = ["/again"] * 6
    with pytest.raises(DatasetError, match="at most 5 redirects"):
        download(server.url, tmp_path / "other")
    assert names(tmp_path) == ["data"]


def test_the_bodies_of_redirects_are_not_read(server, tmp_path):
    server.redirects, server.endless_bodies = ["/other"], True
    download(server.url, tmp_path / "data", sha256=SHA256)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "http://[::1", "javascript:x"])
def test_redirects_to_other_kinds_of_urls_are_refused(server, tmp_path, location):
    server.redirects = [location]
    with pytest.raises(DatasetError, match="expected a redirect to http or https"):
        download(server.url, tmp_path / "data")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_https_never_continues_with_http(tls_server, server, tmp_path):
    tls_server.redirects = ["/other"]
    download(tls_server.url, tmp_path / "data", sha256=SHA256)
    tls_server.redirects = [server.url]
    with pytest.raises(DatasetError, match="expected a redirect to https, got one to http;"):
        download(tls_server.url, tmp_path / "other")
    assert server.requests == []
    server.redirects = [tls_server.url]
    download(server.url, tmp_path / "other", sha256=SHA256)


def test_a_password_goes_to_its_own_server_only(server, tmp_path):
    with running() as other:
        server.redirects = ["/same", other.url]
        download(server.url.replace("http://", "http://anna:secret@"), tmp_path / "data", sha256=SHA256)
        assert ["Authorization" in request for request in (*server.requests, *other.requests)] == [True, True, False]


@pytest.mark.parametrize("url", ["", "data.tar.gz", "ftp://host/file", "http://", "http://[::1", "javascript:alert"])
def test_other_urls_are_refused(tmp_path, url):
    with pytest.raises(ConfigError, match="url: expected http"):
        download(url, tmp_path / "data")


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, SHA256 + "0"])
def test_malformed_checksum_is_refused_before_the_download(server, tmp_path, sha256):
    with pytest.raises(ConfigError, match="64 hex digits"):
        download(server.url, tmp_path / "data", sha256=sha256)
    assert server.requests == []


def test_check_sha256(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    check_sha256(tmp_path / "a", SHA256, "")
    with pytest.raises(DatasetError, match=r"do this$"):
        check_sha256(tmp_path / "a", "f" * 64, "do this")


def test_file_url(tmp_path):
    (tmp_path / "a b.tar").write_bytes(CONTENT)
    assert download((tmp_path / "a b.tar").as_uri(), tmp_path / "copy", sha256=SHA256).read_bytes() == CONTENT
    with pytest.raises(DatasetError, match=r"No such file.*; check the path"):
        download((tmp_path / "none").as_uri(), tmp_path / "other")
    assert names(tmp_path) == ["a b.tar", "copy"]


@contextmanager
def file_size_limit(size):
    """Writing beyond fails with an OSError, as it does on a full disk (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_a_part_that_can_be_resumed(server, tmp_path):
    with file_size_limit(600_000), pytest.raises(DatasetError, match=r"can't store .*File too large.*free some space"):
        download(server.url, tmp_path / "data")
    assert names(tmp_path) == ["data.part", "data.part.json"]
    download(server.url, tmp_path / "data", sha256=SHA256)
    assert names(tmp_path) == ["data"]
    assert "Range" in server.requests[-1]


def test_folder_that_is_a_file(server, tmp_path):
    (tmp_path / "datasets").write_text("")
    with pytest.raises(DatasetError, match="can't store"):
        download(server.url, tmp_path / "datasets" / "data")


def test_two_at_once_share_one_download(server, tmp_path):
    target = tmp_path / "data"
    threads = [threading.Thread(target=download, args=(server.url, target)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert names(tmp_path) == ["data"]
